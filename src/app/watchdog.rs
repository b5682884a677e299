//! Whether the daemon makes progress: what takes longer than anything it does may take is stuck.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::operations::Daemon;
use crate::api::operations::Operations;
use crate::net::notify;

/// The longest that a step of a unit may take: it fetches artifacts, for half an hour at most.
const LONGEST_STEP: Duration = Duration::from_secs(3_000);

/// What is being done now, and since when.
#[derive(Default)]
pub struct Progress {
    under_way: Mutex<BTreeMap<String, (Instant, Duration)>>,
}

/// Something that is being done; it has ended when this is dropped.
pub struct Doing<'a> {
    progress: &'a Progress,
    what: String,
}

impl Progress {
    /// A step of a unit begins.
    pub fn step(&self, unit: &crate::domain::id::UnitId) -> Doing<'_> {
        self.begin(format!("a step of {unit}"), LONGEST_STEP)
    }

    /// Something begins that may take so long.
    pub fn begin(&self, what: String, limit: Duration) -> Doing<'_> {
        self.lock().insert(what.clone(), (Instant::now(), limit));
        Doing { progress: self, what }
    }

    /// What takes longer than it may.
    pub fn stuck(&self) -> Option<String> {
        let found = self.lock();
        let late = found.iter().find(|(_, (begun, limit))| begun.elapsed() > *limit);
        late.map(|(what, (begun, _))| format!("{what} is stuck since {} s", begun.elapsed().as_secs()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Instant, Duration)>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        self.progress.lock().remove(&self.what);
    }
}

/// Tells systemd that the daemon makes progress, for as long as it does. Where it does not, systemd kills it and starts it anew,
/// which loses nothing.
pub async fn run(daemon: Arc<Daemon>) {
    let Some(period) = notify::watchdog() else { return };
    loop {
        match daemon.healthy() {
            Ok(()) => notify::alive(),
            Err(reason) => tracing::error!(reason, "no progress: systemd is not told that the daemon is alive"),
        }
        tokio::time::sleep(period / 3).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_long_is_told_until_it_ends() {
        let progress = Progress::default();
        let quick = progress.begin("quick".into(), Duration::from_secs(3_600));
        assert_eq!(progress.stuck(), None);
        let slow = progress.begin("slow".into(), Duration::ZERO);
        std::thread::yield_now();
        assert!(progress.stuck().is_some_and(|what| what.starts_with("slow is stuck")));
        drop(slow);
        assert_eq!(progress.stuck(), None);
        drop(quick);
    }
}
