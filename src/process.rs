//! What a long-running process owes its surroundings: it stops when told to, and tells what it does.

use std::io::{self, IsTerminal, Write};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::secrets::redact;

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

/// Sends the process' log to standard error: for people on a terminal, plain elsewhere. `TRIMTAB_LOG` chooses what is told.
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("TRIMTAB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(|| Clean).init();
}

/// Standard error behind the redactor. A record of the log is written by one call, whole.
struct Clean;

impl Write for Clean {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(&redact::of_process().bytes(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
