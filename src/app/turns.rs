//! The turns of units: how many are at work at once, and how long a step of one may take.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::watchdog::{Doing, Progress};
use crate::domain::id::UnitId;

/// How many units of a daemon are at work at once.
pub const AT_ONCE: usize = 16;
/// The longest that a step on this machine may take: a handful of requests to supervisor and routers and of records, each of
/// which gives up after seconds.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest that a step elsewhere may take: it has many objects, and a server may ask for patience for each.
const LONGEST_AWAY: Duration = Duration::from_secs(3_000);
/// The longest that artifacts may take: they are fetched for half an hour at most, and unpacked.
const LONGEST_FETCH: Duration = Duration::from_secs(3_000);

/// What takes longer than this is being fetched.
const AT_HAND: Duration = Duration::from_millis(500);

/// See the module. Waiting costs nothing, and a thousand units do not start a thousand requests.
pub struct Turns {
    permits: Arc<Semaphore>,
    /// The permits of the units that have a turn; none while they fetch. A permit goes back with what holds it, however a step ends.
    held: Mutex<HashMap<UnitId, Option<OwnedSemaphorePermit>>>,
    /// What is being done now.
    pub progress: Progress,
}

/// The turn of a unit.
pub struct Turn<'a> {
    turns: &'a Turns,
    unit: UnitId,
    _doing: Doing<'a>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.held().remove(&self.unit);
    }
}

impl Turns {
    /// So many at once.
    pub fn new(at_once: usize) -> Self {
        Turns { permits: Arc::new(Semaphore::new(at_once)), held: Mutex::default(), progress: Progress::default() }
    }

    /// Nobody gets one any more.
    pub fn close(&self) {
        self.permits.close();
    }

    /// Waits for a turn; `None`: there are no more.
    pub async fn take(&self, unit: &UnitId) -> Option<Turn<'_>> {
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        self.held().insert(unit.clone(), Some(permit));
        Some(Turn { turns: self, unit: unit.clone(), _doing: self.progress.begin(step(unit), LONGEST) })
    }

    /// The step that this unit is in takes place elsewhere than on this machine.
    pub fn away(&self, unit: &UnitId) {
        self.progress.allow(&step(unit), LONGEST_AWAY);
    }

    /// Waits, within a turn, for artifacts, whose server may be slow. The others have the turn meanwhile.
    pub async fn fetch<T>(&self, unit: &UnitId, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        // What is there already is had at once, and the turn kept: who lets go of it waits for everybody.
        if let Ok(had) = tokio::time::timeout(AT_HAND, &mut work).await {
            return had;
        }
        self.progress.allow(&step(unit), LONGEST_FETCH);
        let lent = self.held().get_mut(unit).and_then(Option::take).is_some();
        let fetched = work.await;
        if lent && let Ok(permit) = self.permits.clone().acquire_owned().await {
            // Whose turn has ended meanwhile needs none.
            self.held().get_mut(unit).map(|held| held.replace(permit));
        }
        self.progress.allow(&step(unit), LONGEST);
        fetched
    }

    fn held(&self) -> MutexGuard<'_, HashMap<UnitId, Option<OwnedSemaphorePermit>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn step(unit: &UnitId) -> String {
    format!("a step of {unit}")
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn who_fetches_keeps_nobody_from_their_turn() {
        let turns = Turns::new(1);
        let (slow, quick): (UnitId, UnitId) =
            ("slow/dev/default".parse().unwrap(), "quick/dev/default".parse().unwrap());
        let first = turns.take(&slow).await.unwrap();
        let (fetched, fetching) = oneshot::channel::<()>();
        let mut work = Box::pin(turns.fetch(&slow, fetching));
        let second = tokio::select! {
            second = turns.take(&quick) => second.unwrap(),
            _ = &mut work => panic!("nothing was fetched"),
        };
        fetched.send(()).unwrap();
        assert!(futures_util::poll!(&mut work).is_pending(), "it is another's turn");
        drop(second);
        work.await.unwrap();
        assert!(futures_util::poll!(Box::pin(turns.take(&quick))).is_pending(), "it has its turn back");
        drop(first);
        assert!(turns.take(&quick).await.is_some());
        turns.close();
        assert!(turns.take(&quick).await.is_none());
    }

    #[tokio::test]
    async fn a_step_that_is_dropped_while_it_fetches_leaves_as_many_turns_as_there_were() {
        let turns = Turns::new(1);
        let unit: UnitId = "slow/dev/default".parse().unwrap();
        let step = async {
            let _turn = turns.take(&unit).await.unwrap();
            turns.fetch(&unit, std::future::pending::<()>()).await;
        };
        assert!(tokio::time::timeout(AT_HAND * 3, step).await.is_err());
        assert_eq!(turns.permits.available_permits(), 1);
        // Fetched, and waiting for a turn again.
        let other: UnitId = "quick/dev/default".parse().unwrap();
        let (fetched, fetching) = oneshot::channel::<()>();
        let mut step = Box::pin(async {
            let _turn = turns.take(&unit).await.unwrap();
            drop(turns.fetch(&unit, fetching).await);
        });
        let second = tokio::select! {
            second = async { tokio::task::yield_now().await; turns.take(&other).await } => second.unwrap(),
            () = &mut step => panic!("nothing was fetched"),
        };
        fetched.send(()).unwrap();
        assert!(futures_util::poll!(&mut step).is_pending());
        drop(step);
        drop(second);
        assert_eq!(turns.permits.available_permits(), 1);
    }
}
