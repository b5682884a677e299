//! What a service tells systemd (sd_notify(3)): that it is ready, and that it leaves. Outside systemd it does nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service answers from now on: units that are ordered after it may start.
pub fn ready() {
    tell("READY=1");
}

/// The service leaves.
pub fn stopping() {
    tell("STOPPING=1");
}

/// The service reads its configuration again; [`ready`] says when that is done.
pub fn reloading() {
    // systemd wants to know when it was, by the clock that never jumps, so that it does not take an older message for this one.
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    let micros = now.map_or(0, |time| time.tv_sec() * 1_000_000 + time.tv_nsec() / 1_000);
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// The service makes progress.
pub fn alive() {
    tell("WATCHDOG=1");
}

/// How often systemd wants to be told that the service is [`alive`]; `None`: not at all.
pub fn watchdog() -> Option<Duration> {
    let micros: u64 = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    let ours = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
    (ours && micros > 0).then(|| Duration::from_micros(micros))
}

fn tell(message: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&path, message) {
        // Without the message systemd waits and then stops the service, so somebody will look for the reason.
        tracing::warn!(%error, message, "systemd could not be told");
    }
}

fn send(path: &OsStr, message: &str) -> io::Result<()> {
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let mut buffer = [0; 32];

        let receiver = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");

        let name = format!("trimtab-notify-{}", std::process::id());
        let receiver = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        send(format!("@{name}").as_ref(), "STOPPING=1").unwrap();
        let length = receiver.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"STOPPING=1");
    }

    #[test]
    fn nobody_there_is_an_error_and_no_panic() {
        assert!(send("/nowhere/notify".as_ref(), "READY=1").is_err());
        assert!(send("".as_ref(), "READY=1").is_err());
    }
}
