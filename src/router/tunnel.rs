//! Connections that another protocol takes over (`Upgrade`, as WebSocket does): bytes both ways, in flight until either side
//! ends it or its instance is cut.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use super::admit::Ticket;
use super::client::Client;

/// How much is read at once, either way.
const BUFFER: usize = 16 * 1024;

/// A client's wish to speak another protocol.
#[derive(Debug)]
pub struct Wish {
    /// What it wants to speak.
    pub protocol: HeaderValue,
    client: OnUpgrade,
}

/// Takes the wish off a request, if it has one that can be granted. HTTP/2 is never spoken over an instance's connection by
/// a client's wish: its requests would pass by unseen.
pub fn wish<B>(request: &mut Request<B>) -> Option<Wish> {
    if request.version() != Version::HTTP_11 || request.method() != Method::GET || !names_upgrade(request.headers()) {
        return None;
    }
    let mut named = request.headers().get_all(header::UPGRADE).iter();
    let (protocol, None) = (named.next()?.clone(), named.next()) else { return None };
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    let text = protocol.as_bytes();
    if text.is_empty() || !text.iter().all(token) || text.to_ascii_lowercase().starts_with(b"h2") {
        return None;
    }
    if text.to_ascii_lowercase().starts_with(b"http") || text.to_ascii_lowercase().starts_with(b"tls") {
        return None;
    }
    Some(Wish { protocol, client: hyper::upgrade::on(request) })
}

/// Whether `Connection` names the upgrade.
pub fn names_upgrade(headers: &HeaderMap) -> bool {
    let mut options =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

/// Writes an upgrade into the head of a message of the router's own.
pub fn mark(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// Joins both sides, on the worker that served the request.
pub fn open(client: Arc<Client>, wish: Wish, instance: OnUpgrade, ticket: Ticket) {
    tokio::spawn(async move {
        let plane = &client.plane;
        plane.tunnels.fetch_add(1, Relaxed);
        let joined = async {
            let (client, instance) = tokio::try_join!(wish.client, instance)?;
            let (mut client, mut instance) = (TokioIo::new(client), TokioIo::new(instance));
            copy_bidirectional_with_sizes(&mut client, &mut instance, BUFFER, BUFFER).await?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        };
        tokio::select! {
            ended = joined => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection that was taken over broke off");
                }
            }
            () = ticket.endpoint.cut.wait() => {}
        }
        plane.tunnels.fetch_sub(1, Relaxed);
        drop(ticket);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(version: Version, lines: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::new(());
        *request.version_mut() = version;
        for (name, value) in lines {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn only_what_is_asked_for_properly_is_granted() {
        let asked = [("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")];
        assert_eq!(wish(&mut request(Version::HTTP_11, &asked)).unwrap().protocol, "websocket");
        let refused: [&[(&'static str, &'static str)]; 7] = [
            &[("upgrade", "websocket")],
            &[("connection", "upgrade")],
            &[("connection", "upgrade"), ("upgrade", "h2c")],
            &[("connection", "upgrade, http2-settings"), ("upgrade", "H2C")],
            &[("connection", "upgrade"), ("upgrade", "websocket, h2c")],
            &[("connection", "upgrade"), ("upgrade", "websocket"), ("upgrade", "h2c")],
            &[("connection", "upgrade"), ("upgrade", "TLS/1.0")],
        ];
        for lines in refused {
            assert!(wish(&mut request(Version::HTTP_11, lines)).is_none(), "{lines:?}");
        }
        assert!(wish(&mut request(Version::HTTP_10, &asked)).is_none());
        let mut post = request(Version::HTTP_11, &asked);
        *post.method_mut() = Method::POST;
        assert!(wish(&mut post).is_none());
    }
}
