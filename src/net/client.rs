//! The client half: one connection a request, so that a peer that was restarted is simply the next one reached.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

/// A longer answer is refused; bodies that are read as they come ([`Client::open`]) have no limit.
const LARGEST_ANSWER: usize = 256 << 20;

/// A client of one Unix socket.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    timeout: Duration,
}

/// Why a request failed. `Unreachable` says that nothing was sent; after the others the request may have been carried out.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers on the socket.
    #[error("nobody answers on {socket}: {source}; is the process that serves it running?")]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// The connection broke or the answer could not be read.
    #[error("{method} {path} on {socket} broke off: {reason}")]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// The request's method.
        method: Method,
        /// The request's path.
        path: String,
        /// What happened.
        reason: String,
    },
    /// It took too long.
    #[error("{method} {path} on {socket} was not answered within {limit:?}")]
    Timeout {
        /// The socket.
        socket: PathBuf,
        /// The request's method.
        method: Method,
        /// The request's path.
        path: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The peer answered with an error.
    #[error("{method} {path} was answered with {status}: {body}")]
    Refused {
        /// The request's method.
        method: Method,
        /// The request's path.
        path: String,
        /// The answer's status.
        status: StatusCode,
        /// The answer's body as text.
        body: String,
    },
}

impl ClientError {
    /// The body of a refusal, read as a type.
    pub fn refusal<T: DeserializeOwned>(&self) -> Option<T> {
        match self {
            ClientError::Refused { body, .. } => serde_json::from_str(body).ok(),
            _ => None,
        }
    }
}

impl Client {
    /// A client of the socket at a path; a request may take 10 seconds.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Client { socket: socket.into(), timeout: Duration::from_secs(10) }
    }

    /// The same client with another limit on how long a request may take.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request and reads the answer as JSON.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync + ?Sized)>,
    ) -> Result<T, ClientError> {
        let bytes = self.bytes(method.clone(), path, body).await?;
        // An answer without content reads as `null`, which `()` and `Option` take.
        let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(text).map_err(|error| self.broken(&method, path, error))
    }

    /// Reads a JSON answer to a GET.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.json(Method::GET, path, None::<&()>).await
    }

    /// Sends a request and reads the answer's body.
    pub async fn bytes(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync + ?Sized)>,
    ) -> Result<Bytes, ClientError> {
        let exchange = async {
            let response = self.open(method.clone(), path, body).await?;
            let collected = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
            Ok(collected.map_err(|error| self.broken(&method, path, error))?.to_bytes())
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| {
            Err(ClientError::Timeout {
                socket: self.socket.clone(),
                method: method.clone(),
                path: path.to_owned(),
                limit: self.timeout,
            })
        })
    }

    /// Sends a request and returns the answer as soon as its head is there, for bodies that are read as they come.
    /// No time limit applies.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync + ?Sized)>,
    ) -> Result<http::Response<Incoming>, ClientError> {
        self.open_with(method, path, body, &[]).await
    }

    /// [`Client::open`] with more headers.
    pub async fn open_with(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync + ?Sized)>,
        headers: &[(HeaderName, &str)],
    ) -> Result<http::Response<Incoming>, ClientError> {
        let unreachable = |source| ClientError::Unreachable { socket: self.socket.clone(), source };
        let stream = UnixStream::connect(&self.socket).await.map_err(unreachable)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(&method, path, error))?;
        tokio::spawn(connection);
        let bytes = match body {
            Some(body) => Bytes::from(serde_json::to_vec(body).map_err(|error| self.broken(&method, path, error))?),
            None => Bytes::new(),
        };
        let mut request = http::Request::builder()
            .method(method.clone())
            .uri(path)
            .header(http::header::HOST, "localhost")
            .header(http::header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(bytes)).map_err(|error| self.broken(&method, path, error))?;
        let response = sender.send_request(request).await.map_err(|error| self.broken(&method, path, error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let refusal = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
        let body = refusal.map_err(|error| self.broken(&method, path, error))?;
        Err(ClientError::Refused {
            method,
            path: path.to_owned(),
            status,
            body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        })
    }

    fn broken(&self, method: &Method, path: &str, reason: impl std::fmt::Display) -> ClientError {
        ClientError::Broken {
            socket: self.socket.clone(),
            method: method.clone(),
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// Percent-encodes one segment of a path.
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
