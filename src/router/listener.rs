//! The sockets that clients come in at: bound when a route first needs them, handed on over a restart, closed when none does.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::io::unix::AsyncFd;
use tokio::task::AbortHandle;

use super::notify;
use super::plane::Plane;
use super::worker::{Accepted, Workers};

/// How many connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 4_096;
/// How long a client may leave what was sent to it unread.
const STALLED: Duration = Duration::from_secs(300);
/// How long accepting rests when the process is out of descriptors.
const REST: Duration = Duration::from_millis(50);

/// Why an address can't be listened at.
#[derive(Debug, thiserror::Error)]
#[error("the router can't listen on {address}: {source}{}", hint(.source))]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The system's word.
    pub source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has it: stop that one, or choose another address",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; this machine does not have that address",
        _ => "",
    }
}

/// The listeners of a router.
#[derive(Debug)]
pub struct Listeners {
    plane: Arc<Plane>,
    workers: Arc<Workers>,
    open: BTreeMap<SocketAddr, Listening>,
    inherited: BTreeMap<SocketAddr, TcpListener>,
}

#[derive(Debug)]
struct Listening {
    socket: Arc<TcpListener>,
    accepting: AbortHandle,
}

impl Listeners {
    /// No listeners yet, but sockets that a predecessor had open.
    pub fn new(plane: Arc<Plane>, workers: Arc<Workers>, inherited: Vec<TcpListener>) -> Self {
        let address = |socket: TcpListener| socket.local_addr().ok().map(|address| (address, socket));
        Listeners {
            plane,
            workers,
            open: BTreeMap::new(),
            inherited: inherited.into_iter().filter_map(address).collect(),
        }
    }

    /// Whether an address is listened at.
    pub fn has(&self, address: SocketAddr) -> bool {
        self.open.contains_key(&address)
    }

    /// Listens at an address, if it is not yet. Needs a runtime, on which it accepts.
    pub fn ensure(&mut self, address: SocketAddr) -> Result<(), ListenError> {
        if self.has(address) {
            return Ok(());
        }
        let failed = |source| ListenError { address, source };
        let socket = match self.inherited.remove(&address) {
            Some(socket) => socket,
            None => bind(address, self.plane.limits.share_ports).map_err(failed)?,
        };
        socket.set_nonblocking(true).map_err(failed)?;
        let socket = Arc::new(socket);
        let ready = watched(socket.clone()).map_err(failed)?;
        let accepting = tokio::spawn(accept(ready, address, self.plane.clone(), self.workers.clone())).abort_handle();
        notify::store(address, &socket);
        tracing::info!(%address, "listening");
        self.open.insert(address, Listening { socket, accepting });
        Ok(())
    }

    /// Closes what is not needed, and what was inherited in vain.
    pub fn keep(&mut self, needed: impl Fn(SocketAddr) -> bool) {
        self.open.retain(|address, listening| {
            let keep = needed(*address);
            if !keep {
                listening.accepting.abort();
                notify::forget(*address);
                tracing::info!(%address, "no longer listening");
            }
            keep
        });
        for address in std::mem::take(&mut self.inherited).into_keys() {
            notify::forget(address);
        }
    }

    /// The open sockets, for a successor.
    pub fn sockets(&self) -> Vec<Arc<TcpListener>> {
        self.open.values().map(|listening| listening.socket.clone()).collect()
    }

    /// Accepts no more. A successor that has the sockets goes on; without one they are closed.
    pub fn stop(&mut self) {
        for listening in std::mem::take(&mut self.open).into_values() {
            listening.accepting.abort();
        }
    }
}

fn bind(address: SocketAddr, share: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port whose last connections are in TIME_WAIT can be bound again; one that is listened at can't.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    // These pass on to each connection that is accepted. A client that vanished, or that takes nothing of its answer for
    // minutes, must not hold a connection and an instance for ever.
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(STALLED))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// A listener that the runtime watches.
#[expect(unsafe_code, reason = "the runtime must be promised that the descriptor stays open")]
fn watched(socket: Arc<TcpListener>) -> io::Result<AsyncFd<Arc<TcpListener>>> {
    // SAFETY: the listener is owned by what is made here, keeps its one descriptor, and closes it only when dropped.
    unsafe { AsyncFd::register(socket) }.map_err(|error| error.into_parts().1)
}

/// Accepts until it is aborted. Nothing is lost by that: between a connection and its worker nothing waits.
async fn accept(ready: AsyncFd<Arc<TcpListener>>, listener: SocketAddr, plane: Arc<Plane>, workers: Arc<Workers>) {
    loop {
        // At the limit connections wait in the kernel's queue. The semaphore is never closed.
        let Ok(permit) = plane.permits.clone().acquire_owned().await else { return };
        let Ok(mut guard) = ready.readable().await else { return };
        match guard.try_io(|socket| socket.get_ref().accept()) {
            Err(_would_block) => {}
            Ok(Ok((stream, peer))) => {
                if stream.set_nonblocking(true).is_ok() {
                    let tls = plane.tls.at(listener);
                    workers.give(Accepted { stream, peer, listener, permit, tls });
                }
            }
            Ok(Err(error)) if is_exhausted(&error) => {
                tracing::warn!(%listener, %error, "no connection can be accepted for the moment");
                tokio::time::sleep(REST).await;
            }
            // The client went away before it was accepted.
            Ok(Err(error)) => tracing::debug!(%listener, %error, "a connection was lost before it was accepted"),
        }
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_inherit_their_settings() {
        let listener = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = Socket::from(listener.accept().unwrap().0);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_user_timeout().unwrap(), Some(STALLED));
    }

    #[test]
    fn an_address_in_use_is_named_with_a_remedy() {
        let first = bind("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = first.local_addr().unwrap();
        let source = bind(address, false).unwrap_err();
        let text = ListenError { address, source }.to_string();
        assert!(text.contains(&address.to_string()) && text.contains("another process has it"), "{text}");
    }
}
