//! The threads that serve clients. Each has its own runtime and its own idle connections to instances, so that a request
//! stays on one thread from its first byte to its last.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::client::{self, Builders};
use super::plane::Plane;

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
    /// How TLS is spoken there, if it is.
    pub tls: Option<Arc<ServerConfig>>,
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
    let builders = Arc::new(Builders::new(&plane.limits));
    while let Some(accepted) = accepted.recv().await {
        let (plane, builders, open) = (plane.clone(), builders.clone(), open.clone());
        tokio::spawn(async move { client::serve(&builders, accepted, number, plane, open).await });
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
