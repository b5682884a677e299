//! What a long-running process owes its surroundings: it stops when told to, and tells what it does.

use std::fs::{File, TryLockError};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::secrets::redact;
use crate::traces::TARGET;
use crate::traces::export::Spans;

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

/// The signal that asks a process to read its configuration again (SIGHUP). From this call on it no longer ends the process.
pub fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup()).ok()
}

/// Changes what is told while the process runs.
#[derive(Clone)]
pub struct LogLevel {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogLevel {
    /// Tells what `level` says from now on, unless the environment says otherwise.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn set(&self, level: Option<&str>) -> Result<(), String> {
        self.filter.reload(filter(level)?).map_err(|error| error.to_string())
    }
}

/// Sends the process' log to standard error, as JSON where that is asked for, and spans to `spans` where they are exported.
///
/// # Errors
///
/// `level` is none.
pub fn log_to_stderr(json: bool, level: Option<&str>, spans: Option<Spans>) -> Result<LogLevel, String> {
    let (filter, handle) = reload::Layer::new(filter(level)?);
    let lines: Spans = if json {
        Box::new(fmt::layer().json().flatten_event(true).with_writer(|| Clean).with_filter(filter))
    } else {
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Box::new(fmt::layer().with_ansi(colours).with_writer(|| Clean).with_filter(filter))
    };
    let layers: Vec<Spans> = std::iter::once(lines).chain(spans).collect();
    tracing_subscriber::registry().with(layers).init();
    Ok(LogLevel { filter: handle })
}

/// What the environment says, else `level`, else `info`. Spans of traces are no part of the log.
fn filter(level: Option<&str>) -> Result<EnvFilter, String> {
    let filter = match (EnvFilter::try_from_env("TRIMTAB_LOG"), level) {
        (Ok(filter), _) => filter,
        (Err(_), None) => EnvFilter::new("info"),
        (Err(_), Some(level)) => {
            EnvFilter::try_new(level).map_err(|error| format!("[log] level {level:?}: {error}; use \"info\""))?
        }
    };
    let without = format!("{TARGET}=off").parse().map_err(|error| format!("{TARGET}: {error}"))?;
    Ok(filter.add_directive(without))
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
