//! What systemd and the router do for each other, with the test in systemd's place.

use std::io::IoSliceMut;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::Pid;

use super::bench::{Bench, read_until, send};
use super::upstream::Upstream;
use crate::support::{PATIENCE, Running};

/// The next message to systemd, with the socket that came along.
fn message(socket: &UnixDatagram) -> (String, Option<OwnedFd>) {
    let mut bytes = [0; 4096];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let received =
        recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    let length = received.bytes;
    let mut descriptor = None;
    for control in received.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            descriptor = numbers.first().map(|&number| own(number));
        }
    }
    (String::from_utf8_lossy(&bytes[..length]).into_owned(), descriptor)
}

#[expect(unsafe_code, reason = "descriptors come as bare numbers")]
fn own(number: std::os::fd::RawFd) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: the kernel has just made it for this process, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Messages up to one that begins so.
fn until(socket: &UnixDatagram, start: &str) -> (String, Option<OwnedFd>) {
    loop {
        let (text, descriptor) = message(socket);
        if text.starts_with(start) {
            return (text, descriptor);
        }
    }
}

#[tokio::test]
async fn sockets_stay_open_between_stop_and_start() {
    let mut bench = Bench::start().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    bench.process.kill();
    let mut command = bench.command();
    bench.process = Running::spawn(command.env("NOTIFY_SOCKET", &path));
    let (ready, _) = until(&systemd, "READY=1");
    assert!(ready.contains(&format!("MAINPID={}", bench.process.pid())), "{ready}");

    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let (stored, socket) = until(&systemd, "FDSTORE=1");
    let socket = socket.expect("the socket itself");
    let name = format!("FDNAME=listen-127.0.0.1_{}", bench.listen.port());
    assert!(stored.contains(&name), "{stored}");
    kill(Pid::from_raw(bench.process.pid() as i32), Signal::SIGTERM).unwrap();
    until(&systemd, "STOPPING=1");
    assert!(bench.process.0.wait().unwrap().success());

    // Nobody serves, and nobody is refused.
    let mut waiting = send(bench.listen, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let next = bench.command();
    let mut shell = std::process::Command::new("sh");
    // The shell gives the process its own number and the socket the place where systemd puts the first one.
    shell.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=x exec \"$0\" \"$@\" 3<&0 0</dev/null"]);
    shell.arg(next.get_program()).args(next.get_args()).env("NOTIFY_SOCKET", &path);
    shell.stdin(Stdio::from(socket)).stdout(Stdio::null()).stderr(Stdio::null());
    bench.process = Running::spawn(&mut shell);
    // It holds the socket for another start.
    drop(shell);
    until(&systemd, "READY=1");
    assert!(read_until(&mut waiting, "hello\n").starts_with("HTTP/1.1 200"));

    // Without a route for it systemd is told to let go, and then nobody listens.
    let delete = format!("/v1/routes/{}?epoch=1", trimtab::net::client::segment(super::bench::KEY));
    bench.admin.bytes(http::Method::DELETE, &delete, None::<&()>).await.unwrap();
    let (forgotten, _) = until(&systemd, "FDSTOREREMOVE=1");
    assert!(forgotten.contains(&name), "{forgotten}");
    assert!(TcpStream::connect(bench.listen).is_err());
}
