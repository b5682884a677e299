//! How a new router takes over from a running one without a connection being refused: it asks on `handover.sock` in the
//! state directory, gets every descriptor that makes a router (listeners, admin socket, locks), serves, and says so; only then
//! does the old one stop accepting, finish what is in flight, and leave. If the new one dies before it has said so, the old one
//! goes on as if nothing had been.
//!
//! On the wire: a line of JSON from the new ([`Request`]), one from the old ([`Offer`]), then for each descriptor in the offer
//! one byte that carries it (`SCM_RIGHTS`), then a line from the new ([`Taken`]). After that the connection is for [`super::succession`].

use std::fs::File;
use std::io::{self, BufRead, BufReader, IoSlice, IoSliceMut, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize};

/// The version of the conversation.
const VERSION: u32 = 1;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest line.
const MAX_LINE: u64 = 64 * 1024;
/// The most descriptors.
const MAX_DESCRIPTORS: usize = 20_000;

/// Everything that makes a process the router of its state directory.
#[derive(Debug)]
pub struct Estate {
    /// The socket of the admin protocol.
    pub admin: UnixListener,
    /// Its path.
    pub admin_path: PathBuf,
    /// The lock beside it.
    pub admin_lock: File,
    /// The lock of the state directory.
    pub state_lock: File,
    /// The socket that a successor asks at.
    pub handover: UnixListener,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    version: u32,
    pid: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    version: u32,
    pid: u32,
    admin_path: PathBuf,
    descriptors: Vec<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Admin,
    AdminLock,
    StateLock,
    Handover,
    Listener,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Taken {
    taken: bool,
}

/// The path of the handover socket.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("handover.sock")
}

/// What a new router was given, and the open conversation. Dropped without [`Self::confirm`], the old one goes on.
#[derive(Debug)]
pub struct Received {
    /// What makes it the router.
    pub estate: Estate,
    /// The listening sockets.
    pub listeners: Vec<TcpListener>,
    /// The old one's process id.
    pub predecessor: u32,
    conversation: UnixStream,
}

impl Received {
    /// Tells the old router that this one serves now. The connection stays, see [`super::succession`].
    pub fn confirm(self) -> io::Result<(Estate, UnixStream)> {
        let mut conversation = self.conversation;
        write_line(&mut conversation, &Taken { taken: true })?;
        Ok((self.estate, conversation))
    }
}

/// Asks a running router to hand over. `Ok(None)` when none answers there.
pub fn take_over(state_dir: &Path) -> io::Result<Option<Received>> {
    let mut conversation = match UnixStream::connect(path(state_dir)) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    conversation.set_read_timeout(Some(PATIENCE))?;
    conversation.set_write_timeout(Some(PATIENCE))?;
    write_line(&mut conversation, &Request { version: VERSION, pid: std::process::id() })?;
    let offer: Offer = read_line(&mut conversation)?;
    if offer.descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::Error::other("the running router offers too many descriptors"));
    }
    let mut parts = Parts::default();
    for kind in offer.descriptors {
        let (_, mut descriptors) = receive(conversation.as_raw_fd(), 1)?;
        let descriptor = descriptors.pop().ok_or_else(|| io::Error::other("the running router broke off"))?;
        parts.add(kind, descriptor);
    }
    parts.finish(offer.admin_path, offer.pid, conversation).map(Some)
}

#[derive(Default)]
struct Parts {
    admin: Option<OwnedFd>,
    admin_lock: Option<OwnedFd>,
    state_lock: Option<OwnedFd>,
    handover: Option<OwnedFd>,
    listeners: Vec<TcpListener>,
}

impl Parts {
    fn add(&mut self, kind: Kind, descriptor: OwnedFd) {
        match kind {
            Kind::Admin => self.admin = Some(descriptor),
            Kind::AdminLock => self.admin_lock = Some(descriptor),
            Kind::StateLock => self.state_lock = Some(descriptor),
            Kind::Handover => self.handover = Some(descriptor),
            Kind::Listener => self.listeners.extend(super::notify::listening(descriptor)),
        }
    }

    fn finish(self, admin_path: PathBuf, predecessor: u32, conversation: UnixStream) -> io::Result<Received> {
        let missing = || io::Error::other("the running router did not offer all that is needed");
        let estate = Estate {
            admin: self.admin.ok_or_else(missing)?.into(),
            admin_path,
            admin_lock: self.admin_lock.ok_or_else(missing)?.into(),
            state_lock: self.state_lock.ok_or_else(missing)?.into(),
            handover: self.handover.ok_or_else(missing)?.into(),
        };
        Ok(Received { estate, listeners: self.listeners, predecessor, conversation })
    }
}

/// A successor that asks, before it was given anything.
#[derive(Debug)]
pub struct Asked {
    conversation: UnixStream,
    /// Its process id.
    pub successor: u32,
}

impl Asked {
    /// Hears what was asked on a connection that was accepted on the handover socket.
    pub fn hear(conversation: UnixStream) -> io::Result<Self> {
        conversation.set_nonblocking(false)?;
        conversation.set_read_timeout(Some(PATIENCE))?;
        conversation.set_write_timeout(Some(PATIENCE))?;
        let mut asked = Asked { conversation, successor: 0 };
        let request: Request = read_line(&mut asked.conversation)?;
        asked.successor = request.pid;
        Ok(asked)
    }

    /// Gives all it needs and waits until it serves. `Ok` says that it does, and is the connection to it.
    pub fn give(mut self, estate: &Estate, listeners: &[impl AsFd]) -> io::Result<UnixStream> {
        let mut descriptors: Vec<(Kind, BorrowedFd<'_>)> = vec![
            (Kind::Admin, estate.admin.as_fd()),
            (Kind::AdminLock, estate.admin_lock.as_fd()),
            (Kind::StateLock, estate.state_lock.as_fd()),
            (Kind::Handover, estate.handover.as_fd()),
        ];
        descriptors.extend(listeners.iter().map(|listener| (Kind::Listener, listener.as_fd())));
        let offer = Offer {
            version: VERSION,
            pid: std::process::id(),
            admin_path: estate.admin_path.clone(),
            descriptors: descriptors.iter().map(|(kind, _)| *kind).collect(),
        };
        write_line(&mut self.conversation, &offer)?;
        for (_, descriptor) in descriptors {
            let rights = [descriptor.as_raw_fd()];
            let control = [ControlMessage::ScmRights(&rights)];
            let fd = self.conversation.as_raw_fd();
            sendmsg::<()>(fd, &[IoSlice::new(b"+")], &control, MsgFlags::MSG_NOSIGNAL, None)?;
        }
        let taken: Taken = read_line(&mut self.conversation)?;
        if taken.taken { Ok(self.conversation) } else { Err(io::Error::other("the successor gave up")) }
    }
}

fn write_line(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads one line and not a byte more, because descriptors ride on the bytes that follow.
fn read_line<T: for<'de> Deserialize<'de>>(stream: &mut UnixStream) -> io::Result<T> {
    let mut line = Vec::new();
    BufReader::with_capacity(1, stream.take(MAX_LINE)).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other router broke off"));
    }
    Ok(serde_json::from_slice(&line)?)
}

/// Receives a message of at most so many bytes with the descriptors it carries.
#[expect(unsafe_code, reason = "descriptors come as bare numbers")]
pub(super) fn receive(socket: RawFd, size: usize) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0; size];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(socket, &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let length = message.bytes;
    let mut descriptors = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(received) = control {
            // SAFETY: the kernel has just made these descriptors for this process; nobody else owns them.
            descriptors.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    bytes.truncate(length);
    Ok((bytes, descriptors))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estate(dir: &Path) -> Estate {
        let file = |name: &str| File::create(dir.join(name)).unwrap();
        Estate {
            admin: UnixListener::bind(dir.join("admin")).unwrap(),
            admin_path: dir.join("admin"),
            admin_lock: file("a"),
            state_lock: file("b"),
            handover: UnixListener::bind(path(dir)).unwrap(),
        }
    }

    #[test]
    fn hands_all_over_and_learns_that_it_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        let estate = estate(dir.path());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::scope(|scope| {
            let old = scope.spawn(|| {
                let (stream, _) = estate.handover.accept().unwrap();
                Asked::hear(stream).unwrap().give(&estate, &[&listener])
            });
            let received = take_over(dir.path()).unwrap().expect("someone answers");
            assert_eq!(received.predecessor, std::process::id());
            assert_eq!(received.listeners[0].local_addr().unwrap(), address);
            let (taken, _) = received.confirm().unwrap();
            assert_eq!(taken.admin_path, dir.path().join("admin"));
            old.join().unwrap().expect("it was taken");
        });
    }

    #[test]
    fn a_successor_that_dies_leaves_the_old_one_in_charge() {
        let dir = tempfile::tempdir().unwrap();
        let estate = estate(dir.path());
        std::thread::scope(|scope| {
            let old = scope.spawn(|| {
                let (stream, _) = estate.handover.accept().unwrap();
                Asked::hear(stream).unwrap().give(&estate, &[] as &[TcpListener])
            });
            drop(take_over(dir.path()).unwrap());
            assert!(old.join().unwrap().is_err());
        });
    }

    #[test]
    fn nobody_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(take_over(dir.path()).unwrap().is_none());
        drop(UnixListener::bind(path(dir.path())).unwrap());
        assert!(take_over(dir.path()).unwrap().is_none(), "a socket file that was left behind");
    }
}
