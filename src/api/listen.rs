//! The API and the webhooks over TCP: HTTP/1.1 with limits on everything that a stranger can make long, large or many, so that
//! whatever comes in there, the daemon's work and its Unix socket go on.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::auth::Peer;
use super::problem;
use super::server::connected;

/// What a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// So many connections at once.
    pub connections: usize,
    /// So many of them from one address (of IPv6: one /64).
    pub per_address: usize,
    /// How long the head of a request may take, and how long a connection may be idle.
    pub head_time: Duration,
    /// The most bytes that the head may have.
    pub head_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 512, per_address: 64, head_time: Duration::from_secs(10), head_bytes: 256 << 10 }
    }
}

/// How long a refusal may take to be sent.
const FAREWELL: Duration = Duration::from_secs(1);

const TOO_MANY: &str =
    "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const TOO_SLOW: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// The connections that are open.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<(usize, HashMap<IpAddr, usize>)>>);

impl Open {
    /// Counts a connection in, if it may be; it is counted out when the answer is dropped.
    fn enter(&self, address: IpAddr, limits: &Limits) -> Option<Entered> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, by_address) = &mut *open;
        let here = by_address.get(&address).copied().unwrap_or(0);
        if *all >= limits.connections || here >= limits.per_address {
            return None;
        }
        *all += 1;
        by_address.insert(address, here + 1);
        Some(Entered { open: self.clone(), address })
    }
}

struct Entered {
    open: Open,
    address: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, by_address) = &mut *open;
        *all -= 1;
        match by_address.get_mut(&self.address) {
            Some(here) if *here > 1 => *here -= 1,
            _ => {
                by_address.remove(&self.address);
            }
        }
    }
}

/// What counts as one sender: an IPv4 address, or the /64 that one holder of IPv6 addresses usually has.
pub fn sender(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Serves until `stop`; requests under way then have a moment to end.
pub async fn serve(listener: TcpListener, routes: Router, limits: Limits, stop: CancellationToken) {
    let open = Open::default();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                let Some(entered) = open.enter(sender(address), &limits) else {
                    tokio::spawn(dismiss(stream, TOO_MANY));
                    continue;
                };
                let (routes, stop) = (routes.clone(), stop.clone());
                tokio::spawn(async move {
                    connection(stream, address, routes, limits, stop).await;
                    drop(entered);
                });
            }
            // Out of descriptors, or the other side was gone already: the next one may fare better.
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn dismiss(mut stream: TcpStream, answer: &'static str) {
    let send = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await
    };
    let _ = tokio::time::timeout(FAREWELL, send).await;
}

async fn connection(stream: TcpStream, address: SocketAddr, routes: Router, limits: Limits, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let routes = routes.clone();
        Box::pin(async move {
            // The parser's own limit is that of its buffer, which the last read may pass.
            if head_bytes(&request) > limits.head_bytes {
                return Ok(problem::head_too_large(limits.head_bytes).into_response());
            }
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(connected(Peer::Address(address)));
            routes.oneshot(request).await
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = std::future::poll_fn(|context| connection.poll_without_shutdown(context)) => ended,
        // Whoever waits for changes is not waited for.
        () = async { stop.cancelled().await; tokio::time::sleep(FAREWELL).await } => return,
    };
    let timed_out = ended.as_ref().is_err_and(hyper::Error::is_timeout);
    let stream = connection.into_parts().io.into_inner();
    dismiss(stream, if timed_out { TOO_SLOW } else { "" }).await;
}

/// The size of a request's line and headers, as they are written.
fn head_bytes(request: &hyper::Request<Incoming>) -> usize {
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    headers.sum::<usize>() + request.uri().path_and_query().map_or(0, |path| path.as_str().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_in_and_out() {
        let limits = Limits { connections: 3, per_address: 2, ..Limits::default() };
        let open = Open::default();
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = open.enter(a, &limits).unwrap();
        let _second = open.enter(a, &limits).unwrap();
        assert!(open.enter(a, &limits).is_none(), "an address has its share");
        let third = open.enter(b, &limits).unwrap();
        assert!(open.enter(b, &limits).is_none(), "all have theirs");
        drop(first);
        drop(third);
        assert!(open.enter(a, &limits).is_some());
        assert_eq!(open.0.lock().unwrap().1.len(), 1, "addresses without connections are forgotten");
    }

    #[test]
    fn a_holder_of_many_addresses_is_one_sender() {
        let sender = |text: &str| sender(text.parse().unwrap());
        assert_eq!(sender("[2001:db8::1]:1"), sender("[2001:db8::ffff]:2"));
        assert_ne!(sender("[2001:db8::1]:1"), sender("[2001:db8:0:1::1]:1"));
        assert_eq!(sender("[::ffff:192.0.2.1]:1"), sender("192.0.2.1:9"));
    }
}
