//! A client's connection while it is served: what its requests need to know of it, and when it is ended.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use http::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::plane::Plane;
use super::proxy;
use super::wire::{Spoken, Wire};
use super::worker::{Accepted, Limits};

/// Streams that a client of HTTP/2 may have open at once.
const MAX_STREAMS: u32 = 128;
/// Streams that a client opened and reset before they were looked at, after which its connection is ended.
const MAX_RESETS: usize = 20;
/// Requests that a client took back before they were answered, after which, if they are most of its requests, its connection
/// is ended.
const MAX_TAKEN_BACK: u32 = 100;
/// How much of answers is kept for a stream whose client does not take it.
const MAX_SEND_BUFFER: usize = 64 * 1024;
/// How often a client of HTTP/2 from which nothing comes is asked whether it is still there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// How long agreeing on TLS may take at most.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What is known of a client's connection. It counts as open for as long as this lives.
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
    /// Whether the connection is under TLS.
    pub secure: bool,
    /// What it speaks.
    pub spoken: Spoken,
    /// Whether its latest request was of HTTP/1.0.
    pub old: AtomicBool,
    requests: AtomicU32,
    taken_back: AtomicU32,
    open: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
        self.plane.connections.fetch_sub(1, Relaxed);
    }
}

impl Client {
    /// Counts a request; dropped before [`Request::answered`], it was taken back.
    pub fn request(&self) -> Request<'_> {
        self.requests.fetch_add(1, Relaxed);
        Request(self)
    }

    /// Whether it does little but take requests back, which costs instances more than it.
    fn abuses(&self) -> bool {
        let taken_back = self.taken_back.load(Relaxed);
        taken_back >= MAX_TAKEN_BACK && taken_back > self.requests.load(Relaxed) / 2
    }
}

/// A request that has no answer yet.
#[derive(Debug)]
pub struct Request<'a>(&'a Client);

impl Request<'_> {
    /// It has its answer.
    pub fn answered(self) {
        std::mem::forget(self);
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.taken_back.fetch_add(1, Relaxed);
    }
}

/// How connections are served; made once a worker.
#[derive(Clone, Debug)]
pub struct Builders {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Builders {
    /// With these limits.
    pub fn new(limits: &Limits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.max_header_size)
            .max_buf_size(limits.max_header_size.max(64 * 1024));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(limits.max_header_size).unwrap_or(u32::MAX))
            .max_concurrent_streams(MAX_STREAMS)
            .max_pending_accept_reset_streams(MAX_RESETS)
            .max_local_error_reset_streams(MAX_RESETS)
            .max_send_buf_size(MAX_SEND_BUFFER)
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1);
        Builders { http1, http2 }
    }
}

/// Serves a connection until its end.
pub async fn serve(builders: &Builders, accepted: Accepted, worker: usize, plane: Arc<Plane>, open: Arc<AtomicUsize>) {
    let Accepted { stream, peer, listener, permit, tls } = accepted;
    let secure = tls.is_some();
    // An address is visible ASCII.
    let address_text = HeaderValue::from_str(&peer.ip().to_canonical().to_string());
    let mut client = Client {
        plane,
        worker,
        listener,
        address_text: address_text.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
        secure,
        spoken: Spoken::Http1,
        old: AtomicBool::new(false),
        requests: AtomicU32::new(0),
        taken_back: AtomicU32::new(0),
        open,
        _permit: permit,
    };
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let reset = Arc::new(AtomicBool::new(false));
    let patience = client.plane.limits.header_timeout.min(if secure { HANDSHAKE } else { Duration::MAX });
    let opened = tokio::select! {
        opened = tokio::time::timeout(patience, Wire::open(stream, tls, reset.clone())) => opened,
        // Nothing was asked yet, so nothing is lost.
        () = client.plane.closing.wait() => return,
    };
    let Ok(Ok((wire, spoken))) = opened else {
        if secure {
            client.plane.tls.failed_handshakes.fetch_add(1, Relaxed);
        }
        return;
    };
    client.spoken = spoken;
    let client = Arc::new(client);
    match spoken {
        Spoken::Http1 => serve_http1(&builders.http1, wire, client, &reset).await,
        Spoken::Http2 => serve_http2(&builders.http2, wire, client).await,
    }
}

async fn serve_http1(builder: &http1::Builder, wire: Wire, client: Arc<Client>, reset: &AtomicBool) {
    let mut closing = client.plane.closing.wait();
    let served = client.clone();
    let service = service_fn(move |request| proxy::serve(served.clone(), request));
    let mut connection = builder.serve_connection(TokioIo::new(wire), service).with_upgrades();
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
        reset.store(true, Relaxed);
    }
}

/// Tells a client to go (GOAWAY) when the router leaves and when it has asked nothing for long; what it has asked is answered.
async fn serve_http2(builder: &http2::Builder<TokioExecutor>, wire: Wire, client: Arc<Client>) {
    let mut leaving = client.plane.leaving_signal.wait();
    let idle = client.plane.limits.header_timeout;
    let served = client.clone();
    let service = service_fn(move |request| proxy::serve(served.clone(), request));
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(wire), service));
    let mut look = std::pin::pin!(tokio::time::sleep(idle));
    let (mut told, mut seen) = (false, 0);
    let end = std::future::poll_fn(|context| {
        while look.as_mut().poll(context).is_ready() {
            look.as_mut().reset(Instant::now() + idle);
            let requests = client.requests.load(Relaxed);
            // What it asked goes on, however long it takes; only nothing new begins.
            if requests == seen && !told {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            seen = requests;
        }
        if !told && Pin::new(&mut leaving).poll(context).is_ready() {
            told = true;
            connection.as_mut().graceful_shutdown();
        }
        if client.abuses() {
            return Poll::Ready(None);
        }
        connection.as_mut().poll(context).map(Some)
    });
    match end.await {
        None => {
            tracing::warn!(client = ?client.address_text, "a client that takes back most of its requests is cut");
        }
        Some(Err(error)) => tracing::debug!(%error, "a connection of HTTP/2 ended"),
        Some(Ok(())) => {}
    }
}
