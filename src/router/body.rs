//! Bodies on their way through, frame by frame: nothing is gathered, and each end is noticed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use super::admit::Ticket;
use super::pool::Sender;

/// How far a client has come with sending its body.
#[derive(Debug)]
pub struct Progress {
    start: Instant,
    last_millis: AtomicU64,
    done: AtomicBool,
    broken: AtomicBool,
}

impl Progress {
    fn new() -> Self {
        Progress {
            start: Instant::now(),
            last_millis: AtomicU64::new(0),
            done: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    fn note(&self, done: bool) {
        self.last_millis.store(self.start.elapsed().as_millis() as u64, Relaxed);
        if done {
            self.done.store(true, Relaxed);
        }
    }

    /// When the last part came.
    pub fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_millis.load(Relaxed))
    }

    /// Whether the client broke off.
    pub fn broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Whether all of it came.
    pub fn done(&self) -> bool {
        self.done.load(Relaxed)
    }
}

/// The body of a request to an instance.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// The client's, as it comes.
    Streaming(Incoming, Arc<Progress>),
}

impl RequestBody {
    /// The body of a client's request.
    pub fn new(incoming: Incoming) -> Self {
        if incoming.is_end_stream() {
            RequestBody::Empty
        } else {
            RequestBody::Streaming(incoming, Arc::new(Progress::new()))
        }
    }

    /// Whether there is none, so that the request can be sent again.
    pub fn is_empty(&self) -> bool {
        matches!(self, RequestBody::Empty)
    }

    /// How far the client has come, if it sends anything.
    pub fn progress(&self) -> Option<Arc<Progress>> {
        match self {
            RequestBody::Empty => None,
            RequestBody::Streaming(_, progress) => Some(progress.clone()),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Streaming(incoming, progress) => {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(context));
                match &frame {
                    Some(Err(_)) => progress.broken.store(true, Relaxed),
                    Some(Ok(_)) => progress.note(incoming.is_end_stream()),
                    None => progress.note(true),
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Streaming(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Streaming(incoming, _) => incoming.size_hint(),
        }
    }
}

/// The body of an answer to a client.
#[derive(Debug)]
pub enum ResponseBody {
    /// The router's own words.
    Own(Option<Bytes>),
    /// An instance's, as it comes. The request counts as in flight until its end, and then its connection can serve again.
    Streaming(Incoming, Option<Lease>),
}

/// What a request holds until its answer has ended: its registration, and the connection. Dropped before the end (the client
/// went away, the body broke off), the connection is closed with it.
#[derive(Debug)]
pub struct Lease {
    ticket: Ticket,
    sender: Sender,
}

impl Lease {
    /// Binds a connection to the request that it serves.
    pub fn new(ticket: Ticket, sender: Sender) -> Self {
        Lease { ticket, sender }
    }

    /// The answer has come in whole: the connection can serve again.
    pub fn complete(self) {
        let Lease { ticket, sender } = self;
        // One of HTTP/2 lies there already.
        if !ticket.endpoint.draining() && !sender.is_http2() {
            ticket.endpoint.pool.put(ticket.worker, sender);
        }
    }

    fn broken(self) {
        self.ticket.failed();
    }
}

impl ResponseBody {
    /// Text of the router's own.
    pub fn text(text: String) -> Self {
        ResponseBody::Own(Some(Bytes::from(text)))
    }

    /// An instance's body.
    pub fn streaming(incoming: Incoming, lease: Lease) -> Self {
        if incoming.is_end_stream() {
            lease.complete();
            return ResponseBody::Streaming(incoming, None);
        }
        ResponseBody::Streaming(incoming, Some(lease))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            ResponseBody::Own(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            ResponseBody::Streaming(incoming, lease) => {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(context));
                match &frame {
                    Some(Err(_)) => {
                        if let Some(lease) = lease.take() {
                            lease.broken();
                        }
                    }
                    None => {
                        if let Some(lease) = lease.take() {
                            lease.complete();
                        }
                    }
                    // Who knows that nothing follows does not ask again.
                    Some(Ok(_)) if incoming.is_end_stream() => {
                        if let Some(lease) = lease.take() {
                            lease.complete();
                        }
                    }
                    Some(Ok(_)) => {}
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Own(bytes) => bytes.is_none(),
            ResponseBody::Streaming(incoming, _) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Own(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            ResponseBody::Streaming(incoming, _) => incoming.size_hint(),
        }
    }
}
