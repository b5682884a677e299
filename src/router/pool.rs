//! Connections to instances: idle ones are kept per endpoint and worker thread, so that a request finds one without
//! contention and without waking another thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::Poll;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use super::body::RequestBody;
use super::endpoint::Endpoint;
use super::signal::{Fired, lock};
use super::wire::Wire;
use crate::domain::route::Upstream;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// After this an idle connection is closed.
const IDLE: Duration = Duration::from_secs(60);
/// A request that can't be sent twice only takes a connection that was idle for less: servers close idle ones after some
/// seconds, and a request that crosses that close is lost.
const SURE: Duration = Duration::from_secs(1);
/// The most idle connections of one endpoint and thread.
const MAX_IDLE: usize = 1_024;
/// The largest head of an answer.
const MAX_HEAD: usize = 256 * 1024;
/// How often an instance that speaks HTTP/2 is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// The idle connections of one endpoint.
#[derive(Debug)]
pub struct Pool {
    idle: Vec<Shard>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Vec<Idle>>);

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

/// One end of a connection to an instance.
#[derive(Debug)]
pub enum Sender {
    /// For one request at a time.
    Http1(http1::SendRequest<RequestBody>),
    /// For many.
    Http2(http2::SendRequest<RequestBody>),
}

impl Sender {
    /// Sends a request and waits for the head of its answer.
    pub async fn send(
        &mut self,
        request: http::Request<RequestBody>,
    ) -> Result<http::Response<Incoming>, TrySendError<http::Request<RequestBody>>> {
        match self {
            Sender::Http1(sender) => sender.try_send_request(request).await,
            Sender::Http2(sender) => sender.try_send_request(request).await,
        }
    }

    /// Whether requests must be written as those of HTTP/2 are.
    pub fn is_http2(&self) -> bool {
        matches!(self, Sender::Http2(_))
    }

    fn is_closed(&self) -> bool {
        match self {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    fn is_ready(&self) -> bool {
        match self {
            Sender::Http1(sender) => sender.is_ready(),
            Sender::Http2(sender) => sender.is_ready(),
        }
    }
}

/// A connection that is ready for one request.
#[derive(Debug)]
pub struct Connection {
    /// Sends the request.
    pub sender: Sender,
    /// Whether it has served before, so that the peer may just be closing it.
    pub reused: bool,
}

impl Pool {
    /// A pool for so many worker threads.
    pub fn new(workers: usize) -> Self {
        Pool { idle: (0..workers.max(1)).map(|_| Shard::default()).collect() }
    }

    fn shard(&self, worker: usize) -> &Mutex<Vec<Idle>> {
        &self.idle[worker % self.idle.len()].0
    }

    /// Takes the connection that was used last and is ready.
    pub fn take(&self, worker: usize, replayable: bool) -> Option<Connection> {
        let mut idle = lock(self.shard(worker));
        // From the back: those lie there that were used last.
        let mut at = idle.len();
        while at > 0 {
            at -= 1;
            if idle[at].sender.is_closed() {
                idle.remove(at);
                continue;
            }
            if !replayable && idle[at].since.elapsed() >= SURE {
                return None;
            }
            // Not ready: the last request's body is still being sent.
            if idle[at].sender.is_ready() {
                if let Sender::Http2(sender) = &idle[at].sender {
                    let sender = Sender::Http2(sender.clone());
                    idle[at].since = Instant::now();
                    return Some(Connection { sender, reused: true });
                }
                return Some(Connection { sender: idle.remove(at).sender, reused: true });
            }
        }
        None
    }

    /// Puts a connection back after a whole answer.
    pub fn put(&self, worker: usize, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = lock(self.shard(worker));
        if idle.len() >= MAX_IDLE {
            idle.remove(0);
        }
        idle.push(Idle { sender, since: Instant::now() });
    }

    /// Closes what has been idle for long or was closed by the peer.
    pub fn expire(&self) {
        for shard in &self.idle {
            lock(&shard.0).retain(|idle| !idle.sender.is_closed() && idle.since.elapsed() < IDLE);
        }
    }

    /// Closes all idle connections.
    pub fn clear(&self) {
        for shard in &self.idle {
            lock(&shard.0).clear();
        }
    }
}

/// Why no connection could be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint's fault: it is down.
    #[error("{address} can't be reached: {source}")]
    Unreachable {
        /// The endpoint's address.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// This process's fault: no more descriptors or ports, say.
    #[error("no connection to {address} can be opened here: {source}")]
    Local {
        /// The endpoint's address.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
}

/// An idle connection or a new one. The connection's task runs on the worker that asks.
pub async fn connection(
    endpoint: &Arc<Endpoint>,
    upstream: Upstream,
    worker: usize,
    replayable: bool,
) -> Result<Connection, ConnectError> {
    if let Some(idle) = endpoint.pool.take(worker, replayable) {
        return Ok(idle);
    }
    let address = endpoint.at.address;
    let stream = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(source)) if is_local(&source) => return Err(ConnectError::Local { address, source }),
        Ok(Err(source)) => return Err(ConnectError::Unreachable { address, source }),
        Err(_) => {
            let source = io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {CONNECT_TIMEOUT:?}"));
            return Err(ConnectError::Unreachable { address, source });
        }
    };
    let unreachable = |source| ConnectError::Unreachable { address, source };
    stream.set_nodelay(true).map_err(unreachable)?;
    let failed = |error: hyper::Error| unreachable(io::Error::other(error));
    let cut = endpoint.cut.wait();
    let sender = match upstream {
        Upstream::Http1 => {
            let handshake = http1::Builder::new()
                .max_header_size(MAX_HEAD)
                .handshake(TokioIo::new(Wire::to_instance(stream)))
                .await;
            let (sender, connection) = handshake.map_err(failed)?;
            drive(connection.with_upgrades(), cut);
            Sender::Http1(sender)
        }
        Upstream::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .max_header_list_size(MAX_HEAD as u32)
                .keep_alive_interval(PING.0)
                .keep_alive_timeout(PING.1);
            let (sender, connection) =
                builder.handshake(TokioIo::new(Wire::to_instance(stream))).await.map_err(failed)?;
            drive(connection, cut);
            // Others may send over it from now on.
            endpoint.pool.put(worker, Sender::Http2(sender.clone()));
            Sender::Http2(sender)
        }
    };
    Ok(Connection { sender, reused: false })
}

/// Runs a connection until its end or until its instance is cut. Errors reach the request on the connection; one that is idle
/// is found closed by the next that looks for it.
fn drive<T>(mut connection: impl Future<Output = T> + Unpin + Send + 'static, mut cut: Fired) {
    tokio::spawn(std::future::poll_fn(move |context| {
        use std::pin::Pin;
        if Pin::new(&mut connection).poll(context).is_ready() || Pin::new(&mut cut).poll(context).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }));
}

/// Whether an error of `connect` says something of this process rather than of the other side.
fn is_local(error: &io::Error) -> bool {
    use nix::libc::{EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EADDRNOTAVAIL | EAGAIN | EMFILE | ENFILE | ENOBUFS | ENOMEM))
}
