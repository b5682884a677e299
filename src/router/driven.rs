//! A connection of HTTP/1.1 to an instance, and who runs it.
//!
//! Most requests have no body and ask for no other protocol: for them the connection runs within the task of the request that it
//! serves, so that nothing is handed from one task to another and back. Otherwise it gets a task of its own and keeps it, since
//! it must go on by itself while the request's body comes in and after another protocol took over.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::task::coop::unconstrained;

use super::body::RequestBody;
use super::signal::Fired;
use super::wire::Wire;

/// A connection that serves one request at a time.
#[derive(Debug)]
pub struct Driven {
    sender: http1::SendRequest<RequestBody>,
    /// Nothing where it has a task of its own, and once it has ended.
    here: Option<Box<Here>>,
}

/// What runs within the task of a request.
#[derive(Debug)]
struct Here {
    connection: http1::Connection<TokioIo<Wire>, RequestBody>,
    cut: Fired,
}

impl Driven {
    /// A connection that runs where it is used, until its instance is cut.
    pub fn new(
        sender: http1::SendRequest<RequestBody>,
        connection: http1::Connection<TokioIo<Wire>, RequestBody>,
        cut: Fired,
    ) -> Self {
        Driven { sender, here: Some(Box::new(Here { connection, cut })) }
    }

    /// Sends a request and waits for the head of its answer. Dropped before, the connection must be dropped as well.
    ///
    /// `switches` says that the instance is asked to speak another protocol.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
        switches: bool,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        if (switches || !request.body().is_empty())
            && let Some(here) = self.here.take()
        {
            let Here { connection, cut } = *here;
            run(connection.with_upgrades(), cut);
        }
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        std::future::poll_fn(|context| {
            if self.here.is_none() {
                return answer.as_mut().poll(context);
            }
            self.drive(context);
            // It comes about only while the connection is driven or when that is dropped, so nobody needs to be woken for it.
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// The next part of an answer's body, driving the connection where that is done here.
    pub fn poll_frame(
        &mut self,
        body: &mut Incoming,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.here.is_none() {
            return Pin::new(body).poll_frame(context);
        }
        // As for the head: parts come only from the connection.
        let mut silent = Context::from_waker(Waker::noop());
        let mut next = pin!(unconstrained(std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context))));
        if let Poll::Ready(frame) = next.as_mut().poll(&mut silent) {
            return Poll::Ready(frame);
        }
        self.drive(context);
        next.poll(&mut silent)
    }

    /// Lets it see what came in meanwhile, an end above all, and forget the task that it ran in.
    pub fn look(&mut self) {
        let looked = unconstrained(std::future::poll_fn(|context| {
            self.drive(context);
            Poll::Ready(())
        }));
        let _ = pin!(looked).poll(&mut Context::from_waker(Waker::noop()));
    }

    /// Whether it has ended, as far as was seen.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether it can take a request: the one before is done with.
    pub fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(here) = &mut self.here
            && (Pin::new(&mut here.connection).poll(context).is_ready()
                || Pin::new(&mut here.cut).poll(context).is_ready())
        {
            // Who waits for an answer or for more of one is told by this.
            self.here = None;
        }
    }
}

/// Runs a connection in a task of its own until its end or until its instance is cut. Errors reach the request on the
/// connection; one that is idle is found closed by the next that looks for it.
pub fn run<T>(mut connection: impl Future<Output = T> + Unpin + Send + 'static, mut cut: Fired) {
    tokio::spawn(std::future::poll_fn(move |context| {
        if Pin::new(&mut connection).poll(context).is_ready() || Pin::new(&mut cut).poll(context).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }));
}
