//! Whether the daemon makes progress: what takes longer than anything it does may take is stuck.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::operations::Daemon;
use crate::net;

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
    /// Something begins that may take so long.
    pub fn begin(&self, what: String, limit: Duration) -> Doing<'_> {
        self.lock().insert(what.clone(), (Instant::now(), limit));
        Doing { progress: self, what }
    }

    /// What is under way may take so long from now on.
    pub fn allow(&self, what: &str, limit: Duration) {
        if let Some(doing) = self.lock().get_mut(what) {
            *doing = (Instant::now(), limit);
        }
    }

    /// The task of a unit has ended although it should not: nothing is done for the unit any more.
    pub fn lost(&self, unit: &crate::domain::id::UnitId) {
        let what = format!("{unit}, whose task has broken off,");
        self.lock().insert(what, (Instant::now(), Duration::ZERO));
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

impl Daemon {
    /// Whether whatever is under way ends in time; why not.
    pub(super) fn makes_progress(&self) -> Result<(), String> {
        if self.shared.stale.is_cancelled() {
            return Err("another daemon has taken over; this one stops".into());
        }
        self.world.turns.progress.stuck().map_or(Ok(()), Err)
    }
}

/// A task that has to run for as long as the daemon does, with what it is for.
pub type Vital = (&'static str, AbortHandle);

/// Tells systemd that the daemon makes progress, for as long as it does. Where it does not, systemd kills it and starts it anew,
/// which loses nothing. What a restart can't mend, such as a full disk or a source that does not answer, is no reason.
pub async fn run(daemon: Arc<Daemon>, vital: Vec<Vital>) {
    let Some(period) = net::notify::watchdog() else { return };
    while !daemon.shared.stop.is_cancelled() {
        match daemon.makes_progress().and_then(|()| all_run(&vital)) {
            Ok(()) => net::notify::alive(),
            Err(reason) => tracing::error!(reason, "no progress: systemd is not told that the daemon is alive"),
        }
        tokio::time::sleep(period / 3).await;
    }
}

fn all_run(vital: &[Vital]) -> Result<(), String> {
    let ended = vital.iter().find(|(_, task)| task.is_finished());
    ended.map_or(Ok(()), |(what, _)| Err(format!("the task that {what} has ended")))
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
        progress.allow("slow", Duration::from_secs(3_600));
        assert_eq!(progress.stuck(), None);
        progress.allow("slow", Duration::ZERO);
        std::thread::yield_now();
        assert!(progress.stuck().is_some());
        drop(slow);
        assert_eq!(progress.stuck(), None);
        progress.allow("slow", Duration::ZERO);
        assert_eq!(progress.stuck(), None, "it is over");
        drop(quick);
    }

    #[tokio::test]
    async fn a_task_that_has_ended_is_told() {
        let lives = tokio::spawn(std::future::pending::<()>());
        let ends = tokio::spawn(async {});
        let vital = [("lives", lives.abort_handle()), ("ends", ends.abort_handle())];
        ends.await.unwrap();
        assert_eq!(all_run(&vital[..1]), Ok(()));
        assert!(all_run(&vital).is_err_and(|reason| reason.contains("that ends")));
    }
}
