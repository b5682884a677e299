//! Requests to one API server: how they are sent, how their failures are told, and what is tried again.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use serde_json::Value;
use tokio::sync::Semaphore;

/// How long one answer may take. A watch is no answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer, in bytes: five hundred objects of the usual size, or one of the largest.
const MOST_BYTES: usize = 64 << 20;
/// How often a request that the server was too busy for is sent again.
const TRIES: u32 = 6;
/// The longest pause before that, where the server does not say when.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// The longest pause that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// What a server could make no sense of.
const UNREADABLE: &str = "Unreadable";

/// Only the metadata of an object, whatever the request did.
pub const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
/// The same of a list.
pub const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// All of it.
pub const JSON: &str = "application/json";
/// A server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";
/// A patch that lays a part of an object over it.
pub const MERGE: &str = "application/merge-patch+json";

/// Why a request did not do what it should.
#[derive(Clone, Debug)]
pub enum ApiError {
    /// No answer, or half of one: whether it was carried out is not known.
    Unreachable(String),
    /// The server's no.
    Refused(Box<Refusal>),
}

/// The server's no.
#[derive(Clone, Debug, Default)]
pub struct Refusal {
    /// The HTTP status.
    pub code: u16,
    /// `NotFound`, `Conflict`, `Invalid`, ...
    pub reason: String,
    /// Its words; they may repeat what was sent.
    pub message: String,
    /// Each wrong field: its name, the kind of mistake, the server's words.
    pub causes: Vec<Cause>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

/// A wrong field.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    /// Which.
    pub field: String,
    /// `FieldValueInvalid`, `FieldManagerConflict`, ...
    pub reason: String,
    /// The server's words.
    pub message: String,
}

impl ApiError {
    /// The HTTP status of the server's no.
    pub fn code(&self) -> Option<u16> {
        match self {
            ApiError::Unreachable(_) => None,
            ApiError::Refused(refusal) => Some(refusal.code),
        }
    }

    /// When the server wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            ApiError::Unreachable(_) => None,
            ApiError::Refused(refusal) => refusal.retry_after.map(|asked| asked.min(LONGEST_ASKED)),
        }
    }

    /// Whether the same request may succeed later.
    pub fn passes(&self) -> bool {
        match self {
            ApiError::Unreachable(_) => true,
            ApiError::Refused(refusal) => {
                // A namespace that is being deleted takes nothing new until it is gone.
                let ending = refusal.causes.iter().any(|cause| cause.reason == "NamespaceTerminating");
                ending || (refusal.reason != UNREADABLE && matches!(refusal.code, 408 | 409 | 429 | 500..=599))
            }
        }
    }

    /// The same without anything that may repeat what was sent.
    #[must_use]
    pub fn without_words(self) -> Self {
        let ApiError::Refused(mut refusal) = self else { return self };
        let named = refusal.causes.iter().filter(|cause| !cause.field.is_empty());
        let fields: Vec<String> = named.map(|cause| format!("{}: {}", cause.field, cause.reason)).collect();
        let colon = if fields.is_empty() { "" } else { ": " };
        refusal.message = format!(
            "{} ({}){colon}{}; its words may repeat a secret value and are left out",
            refusal.reason,
            refusal.code,
            fields.join("; ")
        );
        refusal.causes.iter_mut().for_each(|cause| cause.message.clear());
        ApiError::Refused(refusal)
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ApiError::Unreachable(why) => f.write_str(why),
            ApiError::Refused(refusal) if refusal.message.is_empty() => {
                write!(f, "{} ({})", refusal.reason, refusal.code)
            }
            ApiError::Refused(refusal) => f.write_str(&refusal.message),
        }
    }
}

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
    client: kube::Client,
    permits: Arc<Semaphore>,
}

impl Server {
    /// Behind a client, with so many requests at once. Watches are not counted.
    pub fn new(client: kube::Client, at_once: usize) -> Self {
        Server { client, permits: Arc::new(Semaphore::new(at_once)) }
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
        let answer = tokio::time::timeout(TIMEOUT, async { read(self.send(call).await?).await }).await;
        answer.unwrap_or_else(|_| Err(ApiError::Unreachable(format!("it does not answer within {TIMEOUT:?}"))))
    }

    /// Sends a request whose answer goes on; only its beginning has a time limit.
    pub async fn open(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        let opened = async {
            let response = self.send(call).await?;
            match response.status().is_success() {
                true => Ok(response),
                false => Err(read(response).await.err().unwrap_or(ApiError::Unreachable("no answer".into()))),
            }
        };
        let opened = tokio::time::timeout(TIMEOUT, opened).await;
        opened.unwrap_or_else(|_| Err(ApiError::Unreachable(format!("it does not answer within {TIMEOUT:?}"))))
    }

    async fn send(&self, call: &Call) -> Result<Response<Body>, ApiError> {
        self.client.send(call.request()?).await.map_err(|error| ApiError::Unreachable(root(&error)))
    }
}

/// The innermost cause, and where it is not the same the outermost.
fn root(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
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

/// What a server says when it refuses; what is not its own form (a proxy's page) is told by its code alone.
pub fn refusal(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Refusal {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let causes = answer.pointer("/details/causes").and_then(Value::as_array);
    let cause = |cause: &Value| Cause {
        field: text(cause, "field"),
        reason: text(cause, "reason"),
        message: text(cause, "message"),
    };
    let reason = match text(&answer, "reason") {
        // An API server gives no reason for what it can't make sense of; it will not later either.
        none if none.is_empty() && text(&answer, "kind") == "Status" => UNREADABLE.to_owned(),
        none if none.is_empty() => status.canonical_reason().unwrap_or("an error").to_owned(),
        reason => reason,
    };
    Refusal {
        code: status.as_u16(),
        reason,
        message: text(&answer, "message"),
        causes: causes.into_iter().flatten().map(cause).collect(),
        retry_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: u16, body: &Value) -> ApiError {
        let status = StatusCode::from_u16(code).expect("a status");
        ApiError::Refused(Box::new(refusal(status, body.to_string().as_bytes(), None)))
    }

    #[test]
    fn what_may_pass_is_known_from_what_will_not() {
        let status = |reason: &str| serde_json::json!({ "kind": "Status", "message": "m", "reason": reason });
        let ending = serde_json::json!({ "kind": "Status", "reason": "Forbidden",
            "details": { "causes": [{ "reason": "NamespaceTerminating", "field": "metadata.namespace" }] } });
        for (code, body, passes) in [
            (429, status("TooManyRequests"), true),
            (503, Value::Null, true),
            (500, status("InternalError"), true),
            (500, Value::Null, true),
            (500, status(""), false),
            (403, status("Forbidden"), false),
            (403, ending, true),
            (422, status("Invalid"), false),
        ] {
            assert_eq!(told(code, &body).passes(), passes, "{code} {body}");
        }
    }

    #[test]
    fn without_its_words_only_the_names_of_fields_are_left() {
        let cause =
            serde_json::json!({ "field": "data[a]", "reason": "FieldValueInvalid", "message": "hunter2 is wrong" });
        let body = serde_json::json!({ "kind": "Status", "reason": "Invalid", "message": "hunter2", "details": { "causes": [cause] } });
        let error = told(422, &body).without_words();
        let left_out = "its words may repeat a secret value and are left out";
        assert_eq!(error.to_string(), format!("Invalid (422): data[a]: FieldValueInvalid; {left_out}"));
        assert!(!format!("{error:?}").contains("hunter2"));
        let policy = serde_json::json!({ "kind": "Status", "reason": "Invalid", "message": "hunter2", "details": { "causes": [{ "message": "hunter2" }] } });
        let error = told(422, &policy).without_words();
        assert_eq!(error.to_string(), format!("Invalid (422); {left_out}"));
    }
}
