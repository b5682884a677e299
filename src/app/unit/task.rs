//! The actor's loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Unit;
use super::step::Next;
use crate::app::config::Config;
use crate::app::installation::Installation;
use crate::app::registry::Registry;
use crate::domain::id::{RollbackId, UnitId};
use crate::domain::installation::InstallationEvent;

/// What all units share while they run.
pub struct Shared {
    /// The configuration.
    pub settings: Config,
    /// All units.
    pub registry: Arc<Registry>,
    /// What concerns the installation as a whole.
    pub installation: Arc<Installation>,
    /// There may be a rollback to record in Git.
    pub record_rollbacks: Notify,
    /// A rollout has ended: there may be artifacts that nobody needs any more.
    pub left_over: Notify,
    /// How many units may be at work at once: waiting costs nothing, and a thousand units do not start a thousand requests.
    pub permits: Semaphore,
    /// Ends all units after the step that they are in.
    pub stop: CancellationToken,
    /// Ends the whole process: another daemon has taken over.
    pub stale: CancellationToken,
}

impl Shared {
    /// Notes an automatic rollback for the storm guard. The unit's own record was made before; a failure here only makes the
    /// guard more lenient, and is told.
    pub async fn rolled_back(&self, unit: &UnitId, id: &RollbackId) {
        let event = InstallationEvent::RolledBack { unit: unit.clone(), id: id.clone() };
        if let Err(error) = self.installation.append(event).await {
            tracing::error!(%unit, %error, "the rollback is not counted");
        }
    }
}

/// The longest time between two looks at a unit with a rollout under way, whatever nobody told.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// After a failure that may pass by itself.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The longest time between two tries.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Runs a unit until it is told to stop. A step that was begun is finished.
pub async fn run(unit: Arc<Unit>, shared: Arc<Shared>) {
    let mut retry = FIRST_RETRY;
    loop {
        if shared.stop.is_cancelled() {
            return;
        }
        let next = {
            let Ok(_permit) = shared.permits.acquire().await else { return };
            unit.step(&shared).await
        };
        let sleep = match next {
            Ok(Next::Again) => {
                retry = FIRST_RETRY;
                continue;
            }
            Ok(Next::Sleep(limit)) => {
                retry = FIRST_RETRY;
                limit
            }
            Err(error) if error.is_stale() => {
                tracing::error!(unit = %unit.id(), %error, "this daemon was taken over and stops");
                shared.stale.cancel();
                return;
            }
            Err(error) => {
                tracing::warn!(unit = %unit.id(), %error, "trying again in {retry:?}");
                unit.show_failure(&error.to_string()).await;
                let wait = retry;
                retry = (retry * 2).min(LONGEST_RETRY);
                Some(wait)
            }
        };
        let timer = async {
            match sleep {
                Some(limit) => tokio::time::sleep(limit.min(LONGEST_SLEEP)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = unit.wake.notified() => {}
            () = timer => {}
        }
    }
}
