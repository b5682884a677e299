//! The threads that serve clients. Each has its own runtime and its own idle connections to instances, so that a request
//! stays on one thread from its first byte to its last.

use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::plane::Plane;
use super::proxy;

/// A connection that was accepted, on its way to a worker.
#[derive(Debug)]
pub struct Accepted {
    /// The connection, non-blocking.
    pub stream: TcpStream,
    /// The client's address.
    pub peer: SocketAddr,
    /// The listener's address, as the routes name it.
    pub listener: SocketAddr,
    /// Its share of the connections that may be open.
    pub permit: OwnedSemaphorePermit,
}

/// What is known of a client's connection while it is served.
#[derive(Debug)]
pub struct Client {
    /// The router.
    pub plane: Arc<Plane>,
    /// The worker's number.
    pub worker: usize,
    /// Where the client came in.
    pub listener: SocketAddr,
    /// The client's address, for `X-Forwarded-For`.
    pub address_text: HeaderValue,
    /// Whether its latest request was of HTTP/1.0.
    pub old: AtomicBool,
}

/// The workers. Dropped, they end with what they serve.
#[derive(Debug)]
pub struct Workers {
    plane: Arc<Plane>,
    workers: Vec<Worker>,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    sender: mpsc::UnboundedSender<Accepted>,
    open: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts the threads.
    pub fn start(plane: &Arc<Plane>) -> std::io::Result<Self> {
        let start = |number| {
            // Unbounded, but what is in it holds a permit, and those are bounded.
            let (sender, accepted) = mpsc::unbounded_channel();
            let open = Arc::new(AtomicUsize::new(0));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (plane, counted) = (plane.clone(), open.clone());
            std::thread::Builder::new()
                .name(format!("router-{number}"))
                .spawn(move || runtime.block_on(work(number, plane, accepted, counted)))?;
            Ok(Worker { sender, open })
        };
        let workers = (0..plane.limits.workers).map(start).collect::<std::io::Result<_>>()?;
        Ok(Workers { plane: plane.clone(), workers, turn: AtomicUsize::new(0) })
    }

    /// Gives a connection to the worker with the fewest.
    pub fn give(&self, accepted: Accepted) {
        let turn = self.turn.fetch_add(1, Relaxed);
        let count = self.workers.len();
        let order = (0..count).map(|step| &self.workers[(turn + step) % count]);
        if let Some(worker) = order.min_by_key(|worker| worker.open.load(Relaxed)) {
            worker.open.fetch_add(1, Relaxed);
            self.plane.connections.fetch_add(1, Relaxed);
            // A worker ends only when this sender is dropped.
            let _ = worker.sender.send(accepted);
        }
    }
}

async fn work(
    number: usize,
    plane: Arc<Plane>,
    mut accepted: mpsc::UnboundedReceiver<Accepted>,
    open: Arc<AtomicUsize>,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(plane.limits.header_timeout)
        .max_header_size(plane.limits.max_header_size)
        .max_buf_size(plane.limits.max_header_size.max(64 * 1024))
        .max_headers(128);
    while let Some(Accepted { stream, peer, listener, permit }) = accepted.recv().await {
        let (plane, builder, open) = (plane.clone(), builder.clone(), open.clone());
        tokio::spawn(async move {
            serve(&builder, stream, peer, listener, number, plane.clone()).await;
            open.fetch_sub(1, Relaxed);
            plane.connections.fetch_sub(1, Relaxed);
            drop(permit);
        });
    }
}

async fn serve(
    builder: &http1::Builder,
    stream: TcpStream,
    peer: SocketAddr,
    listener: SocketAddr,
    worker: usize,
    plane: Arc<Plane>,
) {
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    // An address is visible ASCII.
    let Ok(address_text) = HeaderValue::from_str(&peer.ip().to_canonical().to_string()) else { return };
    let mut closing = plane.closing.wait();
    let client = Arc::new(Client { plane, worker, listener, address_text, old: AtomicBool::new(false) });
    let served = client.clone();
    let service = service_fn(move |request| proxy::serve(served.clone(), request));
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut told = false;
    let result = std::future::poll_fn(|context| {
        if !told && Pin::new(&mut closing).poll(context).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        Pin::new(&mut connection).poll(context)
    })
    .await;
    // An error is the client's doing or was counted where it arose. To a client of HTTP/1.0 the end of the connection is the
    // end of the body: only a reset says that an answer broke off.
    if result.is_err_and(|error| error.is_user()) && client.old.load(Relaxed) {
        let _ = connection.into_parts().io.into_inner().set_zero_linger();
    }
}

/// What a router allows.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Other routers on this machine may listen at the same addresses: the kernel spreads connections over them.
    pub share_ports: bool,
    /// Worker threads.
    pub workers: usize,
    /// Client connections that may be open; more wait to be accepted.
    pub max_connections: usize,
    /// The largest head of a request, in bytes.
    pub max_header_size: usize,
    /// How long a request's head may take to come in, and how long a connection may be idle.
    pub header_timeout: Duration,
    /// How long what is in flight may go on when the router leaves.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            share_ports: false,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            max_connections: 10_000,
            max_header_size: 64 * 1024,
            header_timeout: Duration::from_secs(60),
            drain: Duration::from_secs(30),
        }
    }
}
