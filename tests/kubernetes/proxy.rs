//! A proxy before an API server that answers in its place where a test says so, and tells what it was asked.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use super::kubectl::kubectl;

/// Something that was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How.
    pub method: Method,
    /// What: the path with its query.
    pub path: String,
    /// When.
    pub at: Instant,
}

impl Asked {
    /// Whether it changes an object whose path ends so.
    pub fn patches(&self, object: &str) -> bool {
        self.method == Method::PATCH && self.path.split('?').next().is_some_and(|path| path.ends_with(object))
    }

    /// Whether it follows changes of what the path names.
    pub fn watches(&self, what: &str) -> bool {
        self.path.contains("watch=true") && self.path.contains(what)
    }
}

/// What the proxy answers itself.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A failure, as an API server or something before it tells it, and in how many seconds to ask again.
    Failure(u16, Option<u32>),
    /// This text with 200.
    Text(String),
    /// Nothing, once the server has done what was asked.
    Lost,
    /// What the server answers, so much later.
    Late(Duration),
    /// What the server answers once it is asked, which is when this is true.
    Held(watch::Receiver<bool>),
    /// What the server answers to another path.
    Instead(String),
}

type Rule = Box<dyn FnMut(&Asked) -> Option<Answer> + Send>;

struct Shared {
    client: reqwest::Client,
    server: String,
    token: String,
    rule: Mutex<Option<Rule>>,
    asked: Mutex<Vec<Asked>>,
    cuts: watch::Sender<u64>,
}

/// Ends with this.
pub struct Proxy {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
    dir: TempDir,
}

impl Proxy {
    /// Before the API server of a kubeconfig.
    pub async fn before(kubeconfig: &Path) -> Proxy {
        let config = kubectl(kubeconfig, &["config", "view", "--raw", "--output", "json"], "").unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let shared = Arc::new(Shared {
            client: reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build().unwrap(),
            server: text("/clusters/0/cluster/server"),
            token: text("/users/0/user/token"),
            rule: Mutex::default(),
            asked: Mutex::default(),
            cuts: watch::Sender::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = tempfile::Builder::new().prefix("trimtab-proxy-").tempdir().unwrap();
        let own = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": format!("http://{}", listener.local_addr().unwrap()) } }],
            "users": [{ "name": "proxy", "user": {} }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "proxy" } }],
        });
        std::fs::write(dir.path().join("kubeconfig"), own.to_string()).unwrap();
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Proxy { shared, task, dir }
    }

    /// How to reach it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// From now on this decides what is not passed on. It must not block: no other request is passed on meanwhile.
    pub fn answer(&self, rule: impl FnMut(&Asked) -> Option<Answer> + Send + 'static) {
        *self.shared.rule.lock().unwrap() = Some(Box::new(rule));
    }

    /// Passes on everything again.
    pub fn pass_on(&self) {
        *self.shared.rule.lock().unwrap() = None;
    }

    /// Ends all answers that go on, as a server does that is stopped.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|count| *count += 1);
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let asked = Asked { method: parts.method, path, at: Instant::now() };
    shared.asked.lock().unwrap().push(asked.clone());
    let answer = shared.rule.lock().unwrap().as_mut().and_then(|rule| rule(&asked));
    let path = match &answer {
        Some(Answer::Failure(code, after)) => return failure(*code, *after),
        Some(Answer::Text(text)) => return Response::new(Body::from(text.clone())),
        Some(Answer::Instead(path)) => path,
        Some(Answer::Lost | Answer::Late(_) | Answer::Held(_)) | None => &asked.path,
    };
    if let Some(Answer::Held(goes)) = &answer {
        // A test that ended waits for nothing.
        let _ = goes.clone().wait_for(|goes| *goes).await;
    }
    let mut cuts = shared.cuts.subscribe();
    let mut headers = parts.headers;
    headers.remove("host");
    headers.insert("authorization", format!("Bearer {}", shared.token).parse().unwrap());
    let url = format!("{}{path}", shared.server);
    let sent =
        shared.client.request(asked.method, url).headers(headers).body(to_bytes(body, usize::MAX).await.unwrap());
    let Ok(real) = sent.send().await else { return failure(502, None) };
    match answer {
        Some(Answer::Late(pause)) => tokio::time::sleep(pause).await,
        Some(Answer::Lost) => {
            let broken = futures_util::stream::iter([Err::<String, _>(std::io::Error::other("lost"))]);
            return Response::new(Body::from_stream(broken));
        }
        _ => {}
    }
    let (status, mut headers) = (real.status(), real.headers().clone());
    headers.remove("transfer-encoding");
    headers.remove("content-length");
    let ends = async move { cuts.changed().await };
    let mut response = Response::new(Body::from_stream(real.bytes_stream().take_until(Box::pin(ends))));
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    response
}

/// As an API server tells a failure.
fn failure(code: u16, after: Option<u32>) -> Response {
    let status = StatusCode::from_u16(code).unwrap();
    let reason = match code {
        410 => "Expired",
        429 => "TooManyRequests",
        500 => "InternalError",
        _ => "ServiceUnavailable",
    };
    let body = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("the proxy says {code}") });
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    if let Some(after) = after {
        response.headers_mut().insert("retry-after", after.to_string().parse().unwrap());
    }
    response
}
