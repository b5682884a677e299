//! What a long-running process owes its surroundings: it stops when told to, and tells what it does.

use std::fs::{File, TryLockError};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

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

/// Takes the lock of a file, and tries again for up to two seconds: a child of its dead holder, caught between fork and
/// exec, holds it for a moment longer, and whoever starts a killed process again at once shall not be refused for that.
/// Blocks the thread meanwhile. `WouldBlock` when another process has it for good.
pub fn try_lock_soon(file: &File) -> Result<(), TryLockError> {
    for _ in 0..200 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
            other => return other,
        }
    }
    Err(TryLockError::WouldBlock)
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

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_lock_that_a_dead_holders_child_keeps_for_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let open = || File::options().create(true).truncate(false).write(true).open(&path).unwrap();
        let held = open();
        held.lock().unwrap();
        // The child has the same open file as its standard output, and so the lock, until it ends.
        let mut child = Command::new("sleep").arg("0.2").stdout(held).spawn().unwrap();
        assert!(matches!(open().try_lock(), Err(TryLockError::WouldBlock)));
        try_lock_soon(&open()).unwrap();
        child.wait().unwrap();
    }
}
