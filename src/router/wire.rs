//! A client's connection, plain or under TLS, as bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How HTTP/2 without TLS begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How soon it is looked again for the rest of a preface that came in parts.
const AGAIN: Duration = Duration::from_millis(5);

/// Parts that together are no longer than this are copied into one.
const SMALL: usize = 2_048;

/// What a client and the router agreed to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2.
    Http2,
}

/// The bytes of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    /// Set before it is dropped: it ends with a reset.
    reset: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    /// Agrees with the client on what is spoken. `reset` says, when the wire is dropped, whether its end is to be a reset.
    ///
    /// # Errors
    /// The client went away, or spoke no TLS where it should have.
    pub async fn open(
        stream: TcpStream,
        tls: Option<Arc<ServerConfig>>,
        reset: Arc<AtomicBool>,
    ) -> io::Result<(Self, Spoken)> {
        let (stream, spoken) = match tls {
            None => {
                let spoken = listen(&stream).await?;
                (Stream::Plain(stream), spoken)
            }
            Some(config) => {
                let stream = TlsAcceptor::from(config).accept(stream).await?;
                let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                (Stream::Tls(Box::new(stream)), if h2 { Spoken::Http2 } else { Spoken::Http1 })
            }
        };
        Ok((Wire { stream, reset }, spoken))
    }

    /// A connection that the router made itself.
    pub fn to_instance(stream: TcpStream) -> Self {
        Wire { stream: Stream::Plain(stream), reset: Arc::default() }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Writes parts. One that is alone, and small ones copied together, go out by `send`, which costs the kernel less than a list of
/// parts does.
fn write_parts(
    stream: Pin<&mut TcpStream>,
    context: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = parts {
        return stream.poll_write(context, only);
    }
    let mut together = [0; SMALL];
    let mut length = 0;
    for part in parts {
        match together.get_mut(length..length + part.len()) {
            Some(room) => room.copy_from_slice(part),
            None => return stream.poll_write_vectored(context, parts),
        }
        length += part.len();
    }
    stream.poll_write(context, &together[..length])
}

/// Looks, without taking anything, whether the client begins as one of HTTP/2 does.
async fn listen(stream: &TcpStream) -> io::Result<Spoken> {
    let mut first = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut first).await?;
        if length == PREFACE.len() && first == PREFACE {
            return Ok(Spoken::Http2);
        }
        // Nothing more comes after an end; and what differs is of HTTP/1.
        if length == 0 || !PREFACE.starts_with(&first[..length]) {
            return Ok(Spoken::Http1);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Relaxed) {
            // A connection that is gone already needs no reset.
            let _ = self.tcp().set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => write_parts(Pin::new(stream), context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
