//! What a long-running process owes its surroundings: it stops when told to, and says when it is ready.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use std::io::IsTerminal;

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Completes when the process is told to stop (SIGTERM, SIGINT). Where signals can't be listened to, never: the default
/// then ends the process.
pub async fn terminated() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Tells systemd that the process is ready, where it asked to be told (`NOTIFY_SOCKET`, see sd_notify(3)).
pub fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let bytes = path.as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1\nSTATUS=ready\n", &address));
    if let Err(error) = sent {
        tracing::warn!(%error, "systemd was not told that this is ready");
    }
}

/// Sends the process' log to standard error: for people on a terminal, plain elsewhere. `TRIMTAB_LOG` chooses what is told.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TRIMTAB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}
