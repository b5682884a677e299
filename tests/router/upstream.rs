//! Instances for the router to send requests to, each on a thread of its own, that can be killed like a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode};
use socket2::Socket;
use tokio::sync::{Notify, oneshot};
use trimtab::protocol::router::Endpoint;

use super::bench::reserve;

/// How often each id was served, over all instances that share it.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<BTreeMap<String, u32>>>);

impl Ledger {
    /// How often an id was served.
    pub fn count(&self, id: &str) -> u32 {
        self.0.lock().unwrap().get(id).copied().unwrap_or(0)
    }

    fn serve(&self, headers: &HeaderMap) {
        if let Some(id) = headers.get("x-request-id") {
            *self.0.lock().unwrap().entry(id.to_str().unwrap().to_owned()).or_default() += 1;
        }
    }
}

/// What a test sees and steers of an instance.
#[derive(Default)]
pub struct Watch {
    /// Requests that are being served or hang.
    pub serving: AtomicU32,
    /// Requests served, health checks apart.
    pub served: AtomicU64,
    /// Lets one hanging request, or one part of `/drip`, go on.
    pub go: Notify,
    /// The status of `/healthz`.
    pub health: AtomicU32,
}

/// A running instance.
pub struct Upstream {
    pub address: SocketAddr,
    pub watch: Arc<Watch>,
    id: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    reserved: Option<Socket>,
}

#[derive(Clone)]
struct Service {
    version: String,
    ledger: Ledger,
    watch: Arc<Watch>,
}

impl Upstream {
    pub fn start(version: &str) -> Upstream {
        Upstream::with_ledger(version, &Ledger::default())
    }

    pub fn with_ledger(version: &str, ledger: &Ledger) -> Upstream {
        let (reserved, address) = reserve();
        let mut upstream = Upstream::start_at(version, ledger, address);
        upstream.reserved = Some(reserved);
        upstream
    }

    /// One at the address of another that was killed.
    pub fn start_at(version: &str, ledger: &Ledger, address: SocketAddr) -> Upstream {
        let socket = std::net::TcpListener::bind(address).unwrap();
        socket.set_nonblocking(true).unwrap();
        let watch = Arc::new(Watch { health: AtomicU32::new(200), ..Watch::default() });
        let service = Service { version: version.into(), ledger: ledger.clone(), watch: watch.clone() };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(socket).unwrap();
                let app = Router::new().fallback(serve).with_state(service);
                tokio::select! {
                    _ = axum::serve(listener, app) => {}
                    _ = stopped => {}
                }
            });
        });
        Upstream {
            address,
            watch,
            id: format!("{version}-{}", address.port()),
            stop: Some(stop),
            thread: Some(thread),
            reserved: None,
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint { id: self.id.clone(), address: self.address }
    }

    /// Ends it as a kill would: every connection breaks. Returns when its port is closed.
    pub fn kill(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub fn served(&self) -> u64 {
        self.watch.served.load(Ordering::SeqCst)
    }

    pub fn serving(&self) -> u32 {
        self.watch.serving.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Counts a request for as long as it lives, however it ends.
struct Serving(Arc<Watch>);

impl Serving {
    fn new(watch: &Arc<Watch>) -> Self {
        watch.serving.fetch_add(1, Ordering::SeqCst);
        Serving(watch.clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(State(service): State<Service>, request: Request) -> Response {
    if request.uri().path() == "/healthz" {
        let status = service.watch.health.load(Ordering::SeqCst) as u16;
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let serving = Serving::new(&service.watch);
    service.watch.served.fetch_add(1, Ordering::SeqCst);
    service.ledger.serve(request.headers());
    let id = request.headers().get("x-request-id").cloned();
    let mut response = answer(&service, request, serving).await;
    response.headers_mut().insert("x-version", HeaderValue::from_str(&service.version).unwrap());
    if let Some(id) = id {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

async fn answer(service: &Service, request: Request, serving: Serving) -> Response {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        // The head as it arrived, a line each.
        "/head" => {
            let lines = request.headers().iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
            let lines: String = lines.collect();
            format!("{} {:?}\n{lines}", request.uri(), request.version()).into_response()
        }
        // Answers when the test says so, and not before.
        "/hang" => {
            service.watch.go.notified().await;
            "went on\n".into_response()
        }
        // A body of three parts, each when the test says so.
        "/drip" => {
            let watch = service.watch.clone();
            let parts = futures_util::stream::unfold((0, serving), move |(part, serving)| {
                let watch = watch.clone();
                async move {
                    if part == 3 {
                        return None;
                    }
                    watch.go.notified().await;
                    Some((Ok::<_, std::io::Error>(Bytes::from(format!("part {part}\n"))), (part + 1, serving)))
                }
            });
            Body::from_stream(parts).into_response()
        }
        // Breaks off after the first part; with a length, or in chunks.
        "/truncated" | "/truncated-chunks" => {
            let parts = [Ok(Bytes::from("first part")), Err(std::io::Error::other("broken on purpose"))];
            let parts = futures_util::stream::iter(parts);
            // The first part must be on its way before the connection breaks.
            let parts = futures_util::StreamExt::then(parts, |part| async {
                if part.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                part
            });
            let mut response = Body::from_stream(parts).into_response();
            if path == "/truncated" {
                response.headers_mut().insert("content-length", HeaderValue::from_static("100"));
            }
            response
        }
        "/nothing" => StatusCode::NO_CONTENT.into_response(),
        "/hop" => {
            let mut response = "body".into_response();
            for (name, value) in
                [("connection", "x-secret"), ("x-secret", "1"), ("keep-alive", "timeout=5"), ("x-kept", "1")]
            {
                response.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            response
        }
        // Echoes without waiting for the end of the request.
        _ => {
            let body = request.into_body();
            if hyper::body::Body::is_end_stream(&body) { "hello\n".into_response() } else { body.into_response() }
        }
    }
}
