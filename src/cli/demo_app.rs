//! `trimtab demo-app`: the small HTTP service that the demo and the end-to-end tests roll out. It misbehaves on request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::exit::Exit;
use crate::domain::span::Span;

const VERSION: HeaderName = HeaderName::from_static("x-version");
const INSTANCE: HeaderName = HeaderName::from_static("x-instance");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Runs the service of the demo: `GET /`, `GET /healthz`, `GET /slow?ms=N`, and `POST /`, which echoes. It leaves
/// with code 0 on SIGTERM once the requests in flight are answered.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The port to listen on
    #[arg(long, env = "PORT")]
    port: u16,
    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The version that it answers with
    #[arg(long, env = "TRIMTAB_VERSION", default_value = "unknown")]
    version: String,
    /// The word before its version
    #[arg(long, env = "GREETING", default_value = "hello")]
    greeting: String,
    /// The share of requests that fail with 500 (health checks do not), spread evenly
    #[arg(long, default_value_t = 0.0, value_parser = rate)]
    fail_rate: f64,
    /// How long every request takes (health checks do not)
    #[arg(long, default_value_t = Span::ZERO)]
    latency: Span,
    /// How long it waits before it listens
    #[arg(long, default_value_t = Span::ZERO)]
    start_delay: Span,
    /// Exit with code 1 this long after the start
    #[arg(long)]
    crash_after: Option<Span>,
    /// Answer health checks with 503 from this long after the start
    #[arg(long)]
    unhealthy_after: Option<Span>,
    /// Answer health checks with 503 from the start
    #[arg(long)]
    unhealthy: bool,
    /// Pass over SIGTERM, so that only SIGKILL ends it
    #[arg(long)]
    ignore_term: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("a share is a number from 0.0 to 1.0".into()),
    }
}

struct Service {
    args: Args,
    instance: String,
    begun: Instant,
    requests: AtomicU64,
}

impl Service {
    /// Of n requests exactly the whole part of n times the rate have failed.
    fn fails_now(&self) -> bool {
        let nth = self.requests.fetch_add(1, Ordering::Relaxed) as f64;
        ((nth + 1.0) * self.args.fail_rate).floor() > (nth * self.args.fail_rate).floor()
    }

    fn healthy(&self) -> bool {
        let turned = self.args.unhealthy_after.is_some_and(|after| self.begun.elapsed() >= after.duration());
        !self.args.unhealthy && !turned
    }
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    match super::block_on(serve(args)) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            eprintln!("demo-app: {error}");
            Exit::Failed.into()
        }
    }
}

async fn serve(args: Args) -> Result<(), String> {
    let mut term = signal(SignalKind::terminate()).map_err(|error| format!("no handler for SIGTERM: {error}"))?;
    if let Some(after) = args.crash_after {
        tokio::spawn(async move {
            tokio::time::sleep(after.duration()).await;
            eprintln!("demo-app: crashing, as asked for by --crash-after {after}");
            std::process::exit(1);
        });
    }
    let begun = Instant::now();
    let ignore_term = args.ignore_term;
    tokio::select! {
        () = tokio::time::sleep(args.start_delay.duration()) => {}
        _ = term.recv(), if !ignore_term => return Ok(()),
    }
    let address = SocketAddr::from((args.address, args.port));
    let listener = TcpListener::bind(address).await.map_err(|error| format!("can't listen on {address}: {error}"))?;
    println!("demo-app {} listens on {address}", args.version);
    let instance = std::env::var("TRIMTAB_INSTANCE").unwrap_or_else(|_| std::process::id().to_string());
    let service = Arc::new(Service { args, instance, begun, requests: AtomicU64::new(0) });
    let stopped = async move {
        if ignore_term {
            std::future::pending::<()>().await;
        }
        term.recv().await;
    };
    axum::serve(listener, router(service))
        .with_graceful_shutdown(stopped)
        .await
        .map_err(|error| format!("serving {address} failed: {error}"))
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/", get(hello).post(echo))
        .route("/slow", get(slow))
        .route("/upgrade", get(upgrade))
        .route_layer(middleware::from_fn_with_state(service.clone(), misbehave))
        .route("/healthz", get(healthz))
        .layer(middleware::from_fn_with_state(service.clone(), mark))
        .with_state(service)
}

async fn hello(State(service): State<Arc<Service>>) -> String {
    format!("{} from {}\n", service.args.greeting, service.args.version)
}

async fn echo(request: Request) -> Body {
    request.into_body()
}

/// Takes the connection over for whatever protocol the client wants (`Upgrade`): says the version, then what it hears.
async fn upgrade(State(service): State<Arc<Service>>, mut request: Request) -> Response {
    let Some(protocol) = request.headers().get(header::UPGRADE).cloned() else {
        return (StatusCode::UPGRADE_REQUIRED, "ask for it: Connection: Upgrade, Upgrade: websocket\n").into_response();
    };
    let taken = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(taken) = taken.await else { return };
        let (mut heard, mut said) = tokio::io::split(TokioIo::new(taken));
        if said.write_all(format!("{}\n", service.args.version).as_bytes()).await.is_ok() {
            // The client's end is its end.
            let _ = tokio::io::copy(&mut heard, &mut said).await;
        }
    });
    let headers = [(header::CONNECTION, HeaderValue::from_static("upgrade")), (header::UPGRADE, protocol)];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

#[derive(Deserialize)]
struct Slow {
    #[serde(default)]
    ms: u64,
}

async fn slow(State(service): State<Arc<Service>>, Query(Slow { ms }): Query<Slow>) -> String {
    tokio::time::sleep(std::time::Duration::from_millis(ms.min(600_000))).await;
    format!("hello from {} after {ms} ms\n", service.args.version)
}

async fn healthz(State(service): State<Arc<Service>>) -> (StatusCode, &'static str) {
    if service.healthy() {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy, as asked for\n")
    }
}

/// Applies latency and failures.
async fn misbehave(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    tokio::time::sleep(service.args.latency.duration()).await;
    if service.fails_now() {
        return (StatusCode::INTERNAL_SERVER_ERROR, "failed, as asked for by --fail-rate\n").into_response();
    }
    next.run(request).await
}

/// Says in headers who answered, and repeats the request's id.
async fn mark(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, text) in [(VERSION, &service.args.version), (INSTANCE, &service.instance)] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(fail_rate: f64) -> Service {
        let args = Args {
            port: 1,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            version: "1".into(),
            greeting: "hello".into(),
            fail_rate,
            latency: Span::ZERO,
            start_delay: Span::ZERO,
            crash_after: None,
            unhealthy_after: None,
            unhealthy: false,
            ignore_term: false,
        };
        Service { args, instance: "i".into(), begun: Instant::now(), requests: AtomicU64::new(0) }
    }

    #[test]
    fn failures_are_spread_evenly() {
        for (rate, expected) in [(0.0, 0), (0.05, 5), (0.5, 50), (1.0, 100)] {
            let service = service(rate);
            assert_eq!((0..100).filter(|_| service.fails_now()).count(), expected, "at {rate}");
        }
    }

    #[test]
    fn a_share_beyond_one_is_refused() {
        assert!(rate("1.01").is_err() && rate("-0.1").is_err() && rate("NaN").is_err());
        assert_eq!(rate("0.25"), Ok(0.25));
    }
}
