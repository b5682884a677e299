//! What runs workloads.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::{
    capabilities::Capabilities,
    desired::DesiredUnit,
    digest::Digest,
    id::{Epoch, GroupId, RunId, UnitId},
    observed::{ObservedGroup, ObservedRun, Seen},
    prediction::Prediction,
};
use crate::ports::scripts::RunRequest;
use crate::ports::traffic::Traffic;
use crate::secrets::value::SecretValues;

/// Why a platform did not do what it was asked to.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PlatformError {
    /// It can't be reached. Whether the request was carried out is not known.
    #[error("{platform} can't be reached: {reason}")]
    Unreachable {
        /// Which platform.
        platform: String,
        /// The system's word.
        reason: String,
    },
    /// A holder with a higher epoch acts; this one must stop.
    #[error("{platform} refused epoch {epoch}: another daemon has taken over")]
    Stale {
        /// Which platform.
        platform: String,
        /// The epoch that was refused.
        epoch: Epoch,
    },
    /// The request can't be carried out as things are; somebody has to change something, here or elsewhere.
    #[error("{platform} refused: {reason}")]
    Refused {
        /// Which platform.
        platform: String,
        /// Its word.
        reason: String,
    },
    /// What is asked for is wrong in itself; waiting changes nothing.
    #[error("{platform} refused: {reason}")]
    Wrong {
        /// Which platform.
        platform: String,
        /// Its word.
        reason: String,
    },
    /// It failed; trying again may help.
    #[error("{platform} failed: {reason}")]
    Failed {
        /// Which platform.
        platform: String,
        /// Its word.
        reason: String,
    },
}

/// Lines of logs as they come, each piece one or more whole lines `instance stream line`. An error is the last item.
pub type LogStream = futures_util::stream::BoxStream<'static, Result<String, PlatformError>>;

/// One platform connection: the target of an environment.
///
/// **Flow.** The executor observes, decides in the domain, performs one action, observes again.
/// **Guarantees.** Every effect is absolute and idempotent: repeating it is harmless. An effect that was acknowledged is durable.
/// **Assumptions.** The epoch comes from the store; a platform that has seen a higher one refuses ([`PlatformError::Stale`]).
/// **Errors.** An observation that fails is `Seen::Unknown`, never an empty list.
#[async_trait]
pub trait Platform: Send + Sync {
    /// What can be done for a unit here; unknown where the platform would have to tell and does not.
    async fn capabilities(&self, desired: &DesiredUnit) -> Seen<Capabilities>;

    /// What Git's head asks for here, all of it: what one unit gives up and another takes is not removed in between. A hint.
    fn expects(&self, all: &[Arc<DesiredUnit>]) {
        let _ = all;
    }

    /// The data planes that come with it, where it brings its own.
    fn traffic(&self) -> Option<&dyn Traffic> {
        None
    }

    /// The groups of one unit, retiring ones included, of this installation only.
    async fn observe(&self, unit: &UnitId) -> Seen<Vec<ObservedGroup>>;

    /// All units of this installation that have groups here, for adoption and for finding what Git no longer names.
    async fn units(&self) -> Seen<Vec<UnitId>>;

    /// What would come of a desired state here, where the platform changes on its own what it is told, or may refuse it. Changes
    /// nothing. What can't be told is [`Outcome::Unpredictable`](crate::domain::prediction::Outcome::Unpredictable), never
    /// left out; no value of a secret is in it. A platform that makes just what it is told has nothing to predict.
    async fn predict(&self, request: Predict<'_>) -> Prediction {
        let _ = request;
        Prediction::default()
    }

    /// Makes a group have so many instances. `artifact` is the complete folder that the workload's artifact names.
    async fn ensure_group(&self, epoch: Epoch, request: &EnsureGroup) -> Result<(), PlatformError>;

    /// Makes a group of a unit that was renamed one of the unit that it is called now, its instances untouched. One that is
    /// that already is no error.
    async fn take_over(&self, epoch: Epoch, from: &UnitId, request: &EnsureGroup) -> Result<(), PlatformError> {
        let _ = epoch;
        let reason = format!("it can't rename {from} to {}", request.desired.unit);
        Err(PlatformError::Refused { platform: "this platform".into(), reason })
    }

    /// Removes a group: its instances are stopped gracefully. Does not wait for them.
    async fn retire_group(&self, epoch: Epoch, unit: &UnitId, group: &GroupId) -> Result<(), PlatformError>;

    /// Starts a run unless its id is known already.
    async fn start_run(&self, epoch: Epoch, request: &RunRequest) -> Result<(), PlatformError>;

    /// What became of a run, with its capped output.
    async fn run(&self, id: &RunId) -> (Seen<ObservedRun>, String);

    /// Kills a run's whole tree. One that is not there, or has ended, is no error.
    async fn kill_run(&self, epoch: Epoch, id: &RunId) -> Result<(), PlatformError>;

    /// Makes the object of a hook that the workload brings along, unless it was made for this run already.
    async fn start_hook(&self, epoch: Epoch, request: &HookRequest) -> Result<(), PlatformError> {
        let _ = epoch;
        let reason = format!("{} brings hooks along, which it knows nothing of", request.unit);
        Err(PlatformError::Refused { platform: "this platform".into(), reason })
    }

    /// What became of a hook's run; no values of secrets are needed for that.
    async fn hook(&self, request: &HookRequest) -> Seen<ObservedRun> {
        let _ = request;
        Seen::Known(ObservedRun::NotStarted)
    }

    /// The last lines of the instances' logs, newest last, each `instance stream line`.
    async fn logs(
        &self,
        unit: &UnitId,
        group: &GroupId,
        instance: Option<&str>,
        tail: u32,
    ) -> Result<String, PlatformError>;

    /// The last lines of a group's instances, then those that come, until the group is gone. A group that is not there is
    /// refused.
    async fn follow_logs(
        &self,
        unit: &UnitId,
        group: &GroupId,
        instance: Option<&str>,
        tail: u32,
    ) -> Result<LogStream, PlatformError>;

    /// What the stream of a group's lines is called. Groups that replace each other in place have one, which goes on through all
    /// of them: their instances can't be told apart.
    fn log_stream(&self, unit: &UnitId, group: &GroupId) -> String {
        let _ = unit;
        group.to_string()
    }

    /// A number that changes whenever something observable may have changed: a hint to look again, nothing more.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The units that may have changed since this was asked last; `None`: it can't tell, so all may have.
    fn changed_units(&self) -> Option<BTreeSet<UnitId>> {
        None
    }

    /// The units whose last effect failed for something that has come since, and that were not told of yet: trying again at once may
    /// help. A hint; [`changes`](Self::changes) tells when there are any.
    fn eased_units(&self) -> BTreeSet<UnitId> {
        BTreeSet::new()
    }

    /// Whether it answers, and what it can't do, for `trimtab check`.
    async fn check(&self) -> Result<Vec<String>, PlatformError>;

    /// The highest epoch it has seen: whoever claims a lower one (its store was lost, or is an old copy) would be refused.
    async fn epoch(&self) -> Result<Epoch, PlatformError> {
        Ok(Epoch(0))
    }
}

/// What is to be predicted.
#[derive(Clone, Copy, Debug)]
pub struct Predict<'a> {
    /// What shall be.
    pub desired: &'a DesiredUnit,
    /// What was made true last, where that is known.
    pub before: Option<&'a DesiredUnit>,
    /// The operator's restarts.
    pub restarts: u32,
}

/// A hook that the workload brings along, and its run.
#[derive(Clone, Debug)]
pub struct HookRequest {
    /// Its run: repeating the request finds the first.
    pub run: RunId,
    /// For whom.
    pub unit: UnitId,
    /// What brings it along.
    pub desired: Arc<DesiredUnit>,
    /// The rendered digest of that.
    pub rendered: Digest,
    /// The operator's restarts that the group it runs for counts in its id.
    pub restarts: u32,
    /// Its place among the workload's hooks.
    pub number: u32,
    /// The values of the workload's secrets, by name.
    pub secrets: SecretValues,
}

/// A group as it shall be.
#[derive(Clone, Debug)]
pub struct EnsureGroup {
    /// What its instances are made from.
    pub desired: DesiredUnit,
    /// Its rendered digest.
    pub rendered: Digest,
    /// Its id.
    pub group: GroupId,
    /// The operator's restarts counted in its id.
    pub restarts: u32,
    /// How many instances.
    pub replicas: u32,
    /// The folder with the artifact, complete and unchanging.
    pub artifact: Option<PathBuf>,
    /// The values of its secrets, by name; none where the group is there already and has them.
    pub secrets: SecretValues,
}
