//! Requests to one API server: how they are sent, how their failures are told, and what is tried again.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::connect::{self, Connection, Reached};
use super::refusal::{ApiError, UNREADABLE, refusal};

/// How long one answer may take. A watch is no answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer, in bytes: five hundred objects of the usual size, or one of the largest.
const MOST_BYTES: usize = 64 << 20;
/// How often a request that the server was too busy for is sent again.
const TRIES: u32 = 6;
/// The longest pause before that, where the server does not say when.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A failing connection is made anew so often.
const RENEWED: Duration = Duration::from_secs(3);

/// Only the metadata of an object, whatever the request did.
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The same of a list.
pub const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// All of it.
pub const JSON: &str = "application/json";
/// A server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";
/// A patch of steps.
pub const STEPS: &str = "application/json-patch+json";
/// A patch that lays a part of an object over it.
pub const MERGE: &str = "application/merge-patch+json";

/// A request.
#[derive(Clone, Debug)]
pub struct Call {
    method: Method,
    path: String,
    accept: &'static str,
    body: Option<(&'static str, Vec<u8>)>,
    account: Option<String>,
}

impl Call {
    /// One without a body. `path` is all after the host, its query included.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Call { method, path: path.into(), accept: JSON, body: None, account: None }
    }

    /// Reads.
    pub fn get(path: impl Into<String>) -> Self {
        Call::new(Method::GET, path)
    }

    /// With a body.
    #[must_use]
    pub fn with(mut self, kind: &'static str, body: &Value) -> Self {
        self.body = Some((kind, body.to_string().into_bytes()));
        self
    }

    /// With another form of the answer.
    #[must_use]
    pub fn accept(mut self, accept: &'static str) -> Self {
        self.accept = accept;
        self
    }

    /// As a service account, `NAMESPACE/NAME`.
    #[must_use]
    pub fn account(mut self, account: Option<&str>) -> Self {
        self.account = account.map(str::to_owned);
        self
    }

    fn request(&self) -> Result<Request<Body>, ApiError> {
        let mut request = Request::builder().method(&self.method).uri(&self.path).header(ACCEPT, self.accept);
        if let Some((kind, _)) = &self.body {
            request = request.header(CONTENT_TYPE, *kind);
        }
        if let Some((namespace, name)) = self.account.as_deref().and_then(|account| account.split_once('/')) {
            request = request.header("Impersonate-User", format!("system:serviceaccount:{namespace}:{name}"));
        }
        let body = self.body.as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
        request
            .body(body.into())
            .map_err(|error| ApiError::Unreachable(format!("{} can't be asked for: {error}", self.path)))
    }
}

/// One API server.
#[derive(Clone)]
pub struct Server {
    line: Arc<Line>,
    permits: Arc<Semaphore>,
}

/// The way to a server, made anew from its files where it fails: certificates and tokens are renewed in them.
struct Line {
    connection: Connection,
    reached: RwLock<Reached>,
    renewed: tokio::sync::Mutex<Instant>,
}

impl Server {
    /// Reads how it is reached; connects to nothing yet.
    ///
    /// # Errors
    ///
    /// What can't be used, and what to do.
    pub async fn reached_by(connection: &Connection) -> Result<Self, String> {
        let reached = RwLock::new(connect::reach(connection).await?);
        let line = Line { connection: connection.clone(), reached, renewed: tokio::sync::Mutex::new(Instant::now()) };
        Ok(Server { line: Arc::new(line), permits: Arc::new(Semaphore::new(connection.at_once.max(1))) })
    }

    /// Sends a request until the server is not too busy for it, and reads the answer.
    pub async fn call(&self, call: &Call) -> Result<Value, ApiError> {
        let mut tried = 1;
        loop {
            let error = match self.once(call).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let ApiError::Refused(refusal) = &error else { return Err(error) };
            let tries = match refusal.code {
                429 | 502..=504 => TRIES,
                500 if refusal.reason != UNREADABLE => 3,
                _ => 1,
            };
            if tried >= tries {
                return Err(error);
            }
            let own = (Duration::from_millis(100) * 2_u32.pow(tried)).min(LONGEST_PAUSE);
            let pause = error.retry_after().unwrap_or(own);
            tokio::time::sleep(pause.mul_f64(rand::random_range(1.0..1.2))).await;
            tried += 1;
        }
    }

    /// Sends a request whose answer is no JSON.
    pub async fn text(&self, call: &Call) -> Result<String, ApiError> {
        let _permit = self.permits.acquire().await.map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let answer = tokio::time::timeout(TIMEOUT, async {
            let body = Limited::new(self.open(call).await?.into_body(), MOST_BYTES).collect().await;
            let bytes =
                body.map_err(|error| ApiError::Unreachable(format!("the answer broke off: {error}")))?.to_bytes();
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        });
        answer.await.unwrap_or_else(|_| Err(ApiError::Unreachable(format!("it does not answer within {TIMEOUT:?}"))))
    }

    async fn once(&self, call: &Call) -> Result<Value, ApiError> {
        let _permit = self.permits.acquire().await.map_err(|error| ApiError::Unreachable(error.to_string()))?;
        let answer = tokio::time::timeout(TIMEOUT, async { self.read(self.send(call).await?).await }).await;
        answer.unwrap_or_else(|_| Err(ApiError::Unreachable(format!("it does not answer within {TIMEOUT:?}"))))
    }

    /// Sends a request whose answer goes on; only its beginning has a time limit.
    pub async fn open(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let opened = async {
            let response = self.send(call).await?;
            match response.status().is_success() {
                true => Ok(response),
                false => Err(self.read(response).await.err().unwrap_or(ApiError::Unreachable("no answer".into()))),
            }
        };
        let opened = tokio::time::timeout(TIMEOUT, opened).await;
        opened.unwrap_or_else(|_| Err(ApiError::Unreachable(format!("it does not answer within {TIMEOUT:?}"))))
    }

    async fn send(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let sent = self.line.reached().client.send(call.request()?).await;
        let unknown = sent.as_ref().is_ok_and(|answer| answer.status() == StatusCode::UNAUTHORIZED);
        // Of what got no answer it is not known whether it was carried out: whoever asked looks first.
        let renewed = (unknown || sent.is_err()) && self.line.renew().await;
        let sent = match unknown && renewed {
            true => self.line.reached().client.send(call.request()?).await,
            false => sent,
        };
        sent.map_err(|error| ApiError::Unreachable(self.line.reached().way.unreached(&error)))
    }

    async fn read(&self, response: Response<Body>) -> Result<Value, ApiError> {
        read(response).await.map_err(|error| match error {
            ApiError::Refused(mut refusal) if refusal.code == StatusCode::UNAUTHORIZED.as_u16() => {
                refusal.message = self.line.reached().way.unauthorized();
                ApiError::Refused(refusal)
            }
            error => error,
        })
    }
}

impl Line {
    fn reached(&self) -> Reached {
        self.reached.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the client anew, unless that was done a moment ago. Whether it was done.
    async fn renew(&self) -> bool {
        let mut renewed = self.renewed.lock().await;
        if renewed.elapsed() < RENEWED {
            return false;
        }
        *renewed = Instant::now();
        let Ok(reached) = connect::reach(&self.connection).await else { return false };
        *self.reached.write().unwrap_or_else(PoisonError::into_inner) = reached;
        true
    }
}

async fn read(response: Response<Body>) -> Result<Value, ApiError> {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
    let bytes = body.map_err(|error| ApiError::Unreachable(format!("the answer broke off: {error}")))?.to_bytes();
    if status.is_success() {
        return serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::Unreachable(format!("the answer is no JSON: {error}")));
    }
    Err(ApiError::Refused(Box::new(refusal(status, &bytes, retry_after.map(Duration::from_secs)))))
}
