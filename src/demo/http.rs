//! One GET, for the first answer and for what the router says of itself.

use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long one attempt may take.
const LIMIT: Duration = Duration::from_secs(2);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The version that answered, as its header says.
    pub version: Option<String>,
    /// The body.
    pub body: String,
}

/// Asks once; why not, in words.
pub async fn get(address: SocketAddr, host: &str, path: &str) -> Result<Answer, String> {
    tokio::time::timeout(LIMIT, exchange(address, host, path))
        .await
        .unwrap_or_else(|_| Err(format!("no answer from {address} within {LIMIT:?}")))
}

async fn exchange(address: SocketAddr, host: &str, path: &str) -> Result<Answer, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| format!("{address}: {error}"))?;
    tokio::spawn(connection);
    let request = http::Request::builder()
        .uri(path)
        .header(http::header::HOST, host)
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| format!("{address}: {error}"))?;
    let status = response.status().as_u16();
    let version = response.headers().get("x-version").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = response.into_body().collect().await.map_err(|error| format!("{address}: {error}"))?.to_bytes();
    Ok(Answer { status, version, body: String::from_utf8_lossy(&body).into_owned() })
}
