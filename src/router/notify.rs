//! What the router tells systemd (sd_notify(3)): that it is ready, that it stops, and its listening sockets, which systemd
//! keeps open over a restart and hands to the next start (sd_pid_notify_with_fds(3), `FileDescriptorStoreMax=`). Outside
//! systemd all of it does nothing.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::libc;
use nix::sys::socket::{AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, sendmsg, socket};

/// The first descriptor that is passed (sd_listen_fds(3)).
const FIRST_FD: RawFd = 3;

/// The router serves.
pub fn ready() {
    // The process id matters after a reload, when a successor takes the place of the main process.
    tell(&format!("READY=1\nMAINPID={}", std::process::id()), None);
}

/// The router is leaving.
pub fn stopping() {
    tell("STOPPING=1", None);
}

/// Systemd keeps a listening socket open.
pub fn store(address: SocketAddr, socket: &TcpListener) {
    tell(&format!("FDSTORE=1\nFDNAME={}", name(address)), Some(socket.as_raw_fd()));
}

/// Systemd need not keep it any longer.
pub fn forget(address: SocketAddr) {
    tell(&format!("FDSTOREREMOVE=1\nFDNAME={}", name(address)), None);
}

/// The name of a listener's socket; a colon is not allowed in one.
fn name(address: SocketAddr) -> String {
    format!("listen-{}", address.to_string().replace(':', "_"))
}

fn tell(message: &str, descriptor: Option<RawFd>) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(path.as_encoded_bytes(), message, descriptor) {
        tracing::warn!(%error, message, "systemd could not be told");
    }
}

fn send(path: &[u8], message: &str, descriptor: Option<RawFd>) -> io::Result<()> {
    let address = match path {
        [b'@', name @ ..] => UnixAddr::new_abstract(name)?,
        path => UnixAddr::new(path)?,
    };
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let descriptors: Vec<RawFd> = descriptor.into_iter().collect();
    let rights = [ControlMessage::ScmRights(&descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(message.as_bytes())], control, MsgFlags::MSG_NOSIGNAL, Some(&address))?;
    Ok(())
}

/// The listening sockets that systemd kept. Call it once, at the start, before anything else opens descriptors.
pub fn inherited() -> Vec<TcpListener> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").unwrap_or(0).min(10_000) as RawFd;
    (FIRST_FD..FIRST_FD + count).filter_map(adopt).collect()
}

/// Takes a passed descriptor if it is a listening TCP socket; any other is closed.
#[expect(unsafe_code, reason = "descriptors come as bare numbers")]
fn adopt(descriptor: RawFd) -> Option<TcpListener> {
    // SAFETY: fcntl only looks the number up and sets a flag on it.
    if unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return None;
    }
    // SAFETY: it is open, as fcntl has shown, and by the protocol of LISTEN_FDS nobody else in this process owns it.
    let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
    listening(owned)
}

/// A descriptor as a listener, if it is a TCP socket that listens.
pub(super) fn listening(descriptor: OwnedFd) -> Option<TcpListener> {
    let socket = socket2::Socket::from(descriptor);
    let is_tcp = socket.local_addr().ok().and_then(|address| address.as_socket()).is_some();
    (is_tcp && socket.is_listener().unwrap_or(false)).then(|| socket.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn names_have_no_colon() {
        assert_eq!(name("[::1]:80".parse().unwrap()), "listen-[__1]_80");
    }

    #[test]
    fn a_message_arrives_with_its_socket() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        send(path.as_os_str().as_encoded_bytes(), "FDSTORE=1\nFDNAME=x", Some(socket.as_raw_fd())).unwrap();
        drop(socket);
        let (text, descriptors) = super::super::handover::receive(receiver.as_raw_fd(), 100).unwrap();
        assert_eq!(text, b"FDSTORE=1\nFDNAME=x");
        let kept: Vec<_> = descriptors.into_iter().filter_map(listening).collect();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].local_addr().unwrap(), address);
        std::net::TcpStream::connect(address).expect("the socket still listens");
    }
}
