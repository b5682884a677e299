//! The actor's loop.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Unit;
use super::step::Next;
use crate::app::config::Config;
use crate::app::installation::Installation;
use crate::app::registry::Registry;
use crate::app::reload::ConfigError;
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
    /// A unit that was renamed may be ready to be taken over.
    pub hand_over: Notify,
    /// Why the configuration in the file is not the one in force.
    pub config_error: ConfigError,
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

/// What a unit's task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Another turn at once.
    Again,
    /// One when it is woken, or after so long.
    Wait(Option<Duration>),
    /// None any more: this daemon was taken over.
    Stop,
}

/// Runs a unit until it is told to stop. A step that was begun is finished.
pub async fn run(unit: Arc<Unit>, shared: Arc<Shared>) {
    let mut retry = None;
    loop {
        if shared.stop.is_cancelled() {
            return;
        }
        let next = {
            let Some(_turn) = unit.world.turns.take(unit.id()).await else { return };
            // A step needs many kilobytes while it lasts, and a unit that sleeps none of them.
            Box::pin(turn(&unit, &shared, &mut retry)).await
        };
        let limit = match next {
            Turn::Again => continue,
            Turn::Stop => return,
            Turn::Wait(limit) => limit,
        };
        let timer = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
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

/// One step of a unit, and when the next is due. `retry` is how long it waited after the last failure, if that was one.
pub async fn turn(unit: &Unit, shared: &Shared, retry: &mut Option<Duration>) -> Turn {
    match unit.step(shared).await {
        Ok(next) => {
            *retry = None;
            match next {
                Next::Again => Turn::Again,
                Next::Sleep(limit) => Turn::Wait(limit.map(|limit| limit.min(LONGEST_SLEEP))),
            }
        }
        Err(error) if error.is_stale() => {
            tracing::error!(unit = %unit.id(), %error, "this daemon was taken over and stops");
            shared.stale.cancel();
            Turn::Stop
        }
        Err(error) => {
            let wait = retry.map_or(FIRST_RETRY, |last| (last * 2).min(LONGEST_RETRY));
            tracing::warn!(unit = %unit.id(), %error, "trying again in {wait:?}");
            unit.show_failure(&error.to_string()).await;
            *retry = Some(wait);
            Turn::Wait(Some(wait))
        }
    }
}
