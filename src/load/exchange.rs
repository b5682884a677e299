//! One request and its answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use futures_util::stream;
use http::{Method, Request, Response, header};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{Loss, Plan};

/// In how many parts a slow body is sent.
const PARTS: usize = 5;

/// What one request looks like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub fresh: bool,
    pub post: bool,
    pub slow: bool,
}

/// A whole answer of the service.
#[derive(Debug)]
pub(super) struct Answer {
    pub version: String,
    pub status: u16,
}

/// What became of a request; a loss with its reason.
pub(super) type Outcome = Result<Answer, (Loss, String)>;

type Body = UnsyncBoxBody<Bytes, Infallible>;
type Sender = SendRequest<Body>;

/// Connections that wait for the next request.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<Vec<Sender>>);

impl Connections {
    fn take(&self) -> Option<Sender> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|sender| !sender.is_closed());
        // The one that has waited longest, so that all of them are in use over a switch.
        let ready = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.remove(ready))
    }

    fn put(&self, sender: Sender) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }
}

/// Sends a request and reads its answer to the end.
pub(super) async fn run(plan: &Plan, shape: Shape, id: &str, connections: &Connections) -> Outcome {
    let content = if shape.post { content(id, plan.body) } else { Bytes::new() };
    let mut request = request(plan, shape, id, content.clone());
    let kept = if shape.fresh { None } else { connections.take() };
    let mut reused = kept.is_some();
    let mut sender = match kept {
        Some(sender) => sender,
        None => connect(plan.target).await?,
    };
    let response = loop {
        match sender.try_send_request(request).await {
            Ok(response) => break response,
            Err(mut error) => match error.take_message() {
                // The kept connection had been closed and nothing was sent: any client takes another one.
                Some(back) if reused => {
                    request = back;
                    reused = false;
                    sender = connect(plan.target).await?;
                }
                _ => return Err((Loss::Reset, chain(&error.into_error()))),
            },
        }
    };
    let answer = read(response, id, shape.post.then_some(content)).await?;
    if !shape.fresh {
        connections.put(sender);
    }
    Ok(answer)
}

async fn connect(target: SocketAddr) -> Result<Sender, (Loss, String)> {
    let stream = TcpStream::connect(target).await.map_err(|error| (Loss::Refused, error.to_string()))?;
    // Small requests must not wait for each other; without it only latency is worse.
    let _ = stream.set_nodelay(true);
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| (Loss::Refused, chain(&error)))?;
    tokio::spawn(connection);
    Ok(sender)
}

/// A body that no other request has.
fn content(id: &str, size: usize) -> Bytes {
    id.bytes().cycle().take(size).collect()
}

fn request(plan: &Plan, shape: Shape, id: &str, content: Bytes) -> Request<Body> {
    let body: Body = if shape.slow {
        let part = content.len().div_ceil(PARTS).max(1);
        let pause = plan.slow_for / PARTS as u32;
        let parts: Vec<Bytes> =
            (0..content.len()).step_by(part).map(|at| content.slice(at..(at + part).min(content.len()))).collect();
        let frames = stream::unfold(parts.into_iter(), move |mut parts| async move {
            let part = parts.next()?;
            tokio::time::sleep(pause).await;
            Some((Ok(Frame::data(part)), parts))
        });
        StreamBody::new(frames).boxed_unsync()
    } else {
        http_body_util::Full::new(content).boxed_unsync()
    };
    let mut request = Request::new(body);
    *request.method_mut() = if shape.post { Method::POST } else { Method::GET };
    let headers = request.headers_mut();
    // Names and paths of a plan come from tests and the demo; what is no header is left out and shows in the answer.
    for (name, value) in [("host", plan.host.as_str()), ("x-request-id", id)] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    if shape.fresh {
        headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    if let Ok(path) = plan.path.parse() {
        *request.uri_mut() = path;
    }
    request
}

async fn read(response: Response<Incoming>, id: &str, sent: Option<Bytes>) -> Outcome {
    let text = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (status, version, answered) = (response.status().as_u16(), text("x-version"), text("x-request-id"));
    let body = response.into_body().collect().await.map_err(|error| (Loss::Truncated, chain(&error)))?.to_bytes();
    let Some(version) = version else {
        let start: String = String::from_utf8_lossy(&body).chars().take(120).collect();
        return Err((Loss::Unserved, format!("{status}: {}", start.trim_end())));
    };
    if answered.as_deref() != Some(id) {
        return Err((Loss::Wrong, format!("the answer of {version} has id {answered:?}")));
    }
    if status < 400
        && let Some(sent) = sent
        && sent != body
    {
        return Err((Loss::Wrong, format!("{version} echoed {} other bytes than the {} sent", body.len(), sent.len())));
    }
    Ok(Answer { version, status })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
