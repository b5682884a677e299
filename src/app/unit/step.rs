//! One step of a unit: look, let the gate decide what shall be true, then advance the rollout or plan one.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;
use uuid::Uuid;

use super::origin::unseen_origin;
use super::surroundings::asked_for;
use super::task::Shared;
use super::{Inner, Unit};
use crate::app::blobs::BlobError;
use crate::app::log::LogError;
use crate::app::observe::observe;
use crate::app::perform::{PerformError, prefetch};
use crate::app::standing;
use crate::domain::capabilities::Capabilities;
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{RolloutId, RunId};
use crate::domain::observed::{ObservedUnit, Seen};
use crate::domain::plan::{Plan, PlanKind};
use crate::domain::planner::{self, Blocked, Intent, PlanInput, Rendered, Stable};
use crate::domain::prediction::Prediction;
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::state::{Effective, UnitState};
use crate::domain::unit::{moving, repeat};
use crate::domain::workload::Place;
use crate::ports::journal::JournalError;
use crate::traces;

/// What comes after a step.
#[derive(Debug)]
pub enum Next {
    /// There may be more to do at once.
    Again,
    /// Nothing until it is woken, or until so much time has passed.
    Sleep(Option<Duration>),
}

/// Why a step was not completed. Nothing is lost: the next one begins with a look.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The journal.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A stored input.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An effect.
    #[error(transparent)]
    Perform(#[from] PerformError),
    /// Advancing without a rollout.
    #[error("no rollout is under way")]
    NoRollout,
    /// A plan that runs something for no group.
    #[error("the plan runs a hook and has no group that it is for")]
    NoGroup,
}

impl StepError {
    /// Another daemon has taken over: this one must stop.
    pub fn is_stale(&self) -> bool {
        match self {
            StepError::Perform(error) => error.is_stale(),
            StepError::Log(LogError::Journal(error)) | StepError::Blob(BlobError::Journal(error)) => {
                matches!(error, JournalError::Stale { .. } | JournalError::Conflict { .. })
            }
            _ => false,
        }
    }
}

/// After this, what was blocked is tried again even if nobody told of a change.
pub(super) const BLOCKED_RETRY: Duration = Duration::from_secs(5);

impl Unit {
    /// Looks and does at most one thing.
    ///
    /// # Errors
    ///
    /// Something outside failed; the next step begins with a look.
    pub async fn step(&self, shared: &Shared) -> Result<Next, StepError> {
        let mut inner = self.lock().await;
        let inner = &mut *inner;
        if inner.log.state().moving.is_some() {
            // Another name has what was this one's.
            return Ok(Next::Sleep(None));
        }
        if let Some(from) = inner.log.state().taking.clone() {
            let next = self.take_workload(inner, &from).await?;
            // The old name is free for something else.
            shared.hand_over.notify_one();
            return Ok(next);
        }
        if inner.moving.is_some() && moving::hindrance(inner.log.state()).is_none() {
            shared.hand_over.notify_one();
        }
        let runs = hook_runs(inner.log.state());
        let place = self.place(inner.log.state()).await;
        if place != Place::Host {
            self.world.turns.away(&self.id);
        }
        let mut observed = observe(&self.world, &self.id, &place, runs).await;
        self.look_at_hooks(inner, &mut observed).await?;
        inner.observed = Some(observed.clone());
        self.publish(inner, |glance| {
            (glance.waits, glance.blocked, glance.stuck) = (None, None, None);
            glance.place = place;
        });
        if self.adopt(inner, &observed).await? || self.pass_gate(inner, shared, &observed).await? {
            return Ok(Next::Again);
        }
        if self.is_suspended(inner.log.state(), shared) {
            return Ok(Next::Sleep(None));
        }
        if inner.log.state().running().is_some() {
            return self.advance(inner, shared, &observed).await;
        }
        self.plan_next(inner, shared, &observed).await
    }

    /// Shows why a step failed.
    pub async fn show_failure(&self, reason: &str) {
        let inner = self.lock().await;
        self.publish(&inner, |glance| glance.blocked = Some(reason.to_owned()));
    }

    /// Something that wakes the unit when it is called.
    pub(super) fn waker(&self) -> impl FnOnce() + Send + 'static {
        let wake = self.wake.clone();
        move || wake.notify_one()
    }

    /// Where the unit is: where what is made true is, or else what was, or else what is asked for. What is gone and was not asked for
    /// again stays where it was last.
    pub(in crate::app) async fn place(&self, state: &UnitState) -> Place {
        let Some(rendered) = state.present().or_else(|| asked_for(state)) else {
            return self.glance().place.clone();
        };
        // What is not stored any more was stored by a version that knew no other place, or is known by its successor.
        self.world.blobs.desired(rendered).await.map_or(Place::Host, |desired| desired.workload.place())
    }

    fn is_suspended(&self, state: &UnitState, shared: &Shared) -> bool {
        state.suspended.is_some() || shared.installation.environment_suspended(&self.id.environment).is_some()
    }

    /// Plans what is effective against what was seen, and starts a rollout where there is a difference.
    async fn plan_next(&self, inner: &mut Inner, shared: &Shared, observed: &ObservedUnit) -> Result<Next, StepError> {
        let known = inner.log.shared();
        let state = known.as_ref();
        if inner.converged.as_ref().is_some_and(|(before, seen)| Arc::ptr_eq(before, &known) && seen == observed) {
            return Ok(Next::Sleep(None));
        }
        let Some(effective) = state.effective.clone() else {
            if let Some(reason) = unseen_origin(state, observed).filter(|_| state.candidate.is_some()) {
                self.publish(inner, |glance| glance.blocked = Some(reason));
                return Ok(Next::Sleep(Some(BLOCKED_RETRY)));
            }
            if let Some(backup) = state.restored.filter(|_| state.candidate.is_none()) {
                let reason =
                    format!("its state is that of the backup of {backup}: nothing is done before Git was read");
                self.publish(inner, |glance| glance.blocked = Some(reason));
            }
            return Ok(Next::Sleep(None));
        };
        let span = traces::plan(&self.id, effective.rendered.as_ref());
        let planned = self.plan_for(state, effective.rendered.as_ref(), observed).instrument(span.clone()).await;
        let planned = match traces::noted(&span, planned) {
            // It went back to what ran before the state was lost.
            Err(StepError::Blob(error @ BlobError::Missing { .. })) => Err(error.to_string()),
            planned => planned?.map_err(|blocked| blocked.to_string()),
        };
        let plan = match planned {
            Ok(plan) => plan,
            Err(reason) => {
                self.publish(inner, |glance| glance.blocked = Some(reason));
                return Ok(Next::Sleep(Some(BLOCKED_RETRY)));
            }
        };
        if plan.is_empty() {
            let next = self.converged(inner, &effective).await?;
            match next {
                // A revert of something shared may have waited for this.
                Next::Again => shared.record_rollbacks.notify_one(),
                Next::Sleep(None) => inner.converged = Some((known, observed.clone())),
                Next::Sleep(Some(_)) => {}
            }
            return Ok(next);
        }
        // What is begun must be able to end, so nothing new is begun on the last of the room; that is left for what mends.
        let new = matches!(plan.kind, PlanKind::Install | PlanKind::Rollout | PlanKind::Adjust);
        if let Some(reason) = self.world.journal.short_of_room().filter(|_| new) {
            self.publish(inner, |glance| glance.blocked = Some(reason));
            return Ok(Next::Sleep(Some(BLOCKED_RETRY)));
        }
        if let Some(wait) = repeat::wait(state, &plan.digest(), self.world.now()) {
            let again = "the same plan has just ended and is still needed; it is tried again in a moment";
            let reason = standing::notes(observed).map_or_else(|| again.to_owned(), |told| format!("{told}; {again}"));
            self.publish(inner, |glance| glance.blocked = Some(reason));
            return Ok(Next::Sleep(Some(wait.duration())));
        }
        let digest = self.world.blobs.put_plan(self.world.epoch, &plan).await?;
        // Whatever is missing is missed before anything is touched. A group that runs and that nobody remembers needs
        // nothing: it is kept as it is until it is stopped.
        for (group, source) in &plan.groups {
            let runs = observed.groups.known().is_some_and(|seen| seen.iter().any(|seen| seen.group == *group));
            match prefetch(&self.world, &self.id, source).await {
                Err(PerformError::Blob(BlobError::Missing { .. })) if runs && plan.target.as_ref() != Some(group) => {}
                fetched => fetched?,
            }
        }
        let id = RolloutId(Uuid::now_v7().simple().to_string());
        let cause = standing::notes(observed).filter(|_| plan.kind == PlanKind::Heal);
        tracing::info!(unit = %self.id, rollout = %id, kind = ?plan.kind, cause, "starting");
        let (kind, to, fallback) = (plan.kind, plan.to.clone(), plan.fallback().cloned());
        let started = UnitEvent::RolloutStarted { id: id.clone(), plan: digest, kind, to, fallback, cause };
        self.append(inner, &[started]).await?;
        inner.plan = Some((id, Arc::new(plan)));
        self.publish(inner, |_| {});
        Ok(Next::Again)
    }

    /// Makes the plan from here to a desired state; `None` removes the unit.
    pub(crate) async fn plan_for(
        &self,
        state: &UnitState,
        rendered: Option<&Digest>,
        observed: &ObservedUnit,
    ) -> Result<Result<Plan, Blocked>, StepError> {
        let desired = match rendered {
            Some(rendered) => Some((self.world.blobs.desired(rendered).await?, rendered.clone())),
            None => None,
        };
        // What the cache of a connection tells is enough here: nothing is asked of the platform.
        self.plan_desired(state, desired, observed, &Prediction::default()).await
    }

    /// The same for a desired state that need not be stored, with its digest.
    pub(crate) async fn plan_desired(
        &self,
        state: &UnitState,
        desired: Option<(Arc<DesiredUnit>, Digest)>,
        observed: &ObservedUnit,
        prediction: &Prediction,
    ) -> Result<Result<Plan, Blocked>, StepError> {
        // Where a failure leads back to is what had all requests last; that may be newer than what was verified last.
        let verified = match &state.serving {
            Some(verified) => Some((self.world.blobs.desired(&verified.rendered).await?, verified)),
            None => None,
        };
        let wanted = desired.as_ref().map(|(desired, digest)| Rendered { desired, digest });
        let before = verified.as_ref().map(|(desired, _)| desired.as_ref());
        let capabilities = match self.capabilities(wanted.map(|wanted| wanted.desired), before).await {
            Ok(capabilities) => capabilities,
            Err(blocked) => return Ok(Err(blocked)),
        };
        let input = PlanInput {
            unit: &self.id,
            desired: wanted,
            stable: verified.as_ref().map(|(desired, verified)| Stable {
                rendered: Rendered { desired, digest: &verified.rendered },
                restarts: verified.restarts,
            }),
            restarts: state.restarts,
            observed,
            capabilities: &capabilities,
            prediction,
            intent: intent(state, wanted.map(|wanted| wanted.digest)),
        };
        Ok(planner::plan(&input))
    }

    /// What can be done for a desired state beside what was verified before it.
    async fn capabilities(
        &self,
        desired: Option<&DesiredUnit>,
        before: Option<&DesiredUnit>,
    ) -> Result<Capabilities, Blocked> {
        // What was never verified is removed by looking alone: it needs no capability but to stop.
        let Some(known) = desired.or(before) else { return Ok(Capabilities::NONE) };
        let platform = self.world.platforms.at(&known.workload.place());
        let platform = platform.map_err(|error| Blocked::Unsupported(error.to_string()))?;
        let can = async |desired: &DesiredUnit| match platform.capabilities(desired).await {
            Seen::Known(capabilities) => Ok(capabilities),
            Seen::Unknown(reason) => Err(Blocked::Unknown(reason)),
        };
        let asked = can(known).await?;
        match before.filter(|before| before.workload.place() == known.workload.place()) {
            Some(before) => Ok(asked.beside(&can(before).await?)),
            None => Ok(asked),
        }
    }

    /// Nothing differs: what is effective counts as verified, or as removed.
    async fn converged(&self, inner: &mut Inner, effective: &Effective) -> Result<Next, StepError> {
        let state = inner.log.state();
        let event = match &effective.rendered {
            Some(rendered) if state.last_verified.as_ref().is_none_or(|verified| verified.rendered != *rendered) => {
                UnitEvent::Verified {
                    revision: effective.revision.clone(),
                    rendered: rendered.clone(),
                    restarts: state.restarts,
                    undo: Vec::new(),
                }
            }
            None if state.last_verified.is_some() || state.begun.is_some() => UnitEvent::Removed {},
            _ => return Ok(Next::Sleep(None)),
        };
        self.append(inner, &[event]).await?;
        Ok(Next::Again)
    }
}

/// The runs of the rollout's hooks.
fn hook_runs(state: &UnitState) -> Vec<RunId> {
    let hooks = state.running().map(|rollout| rollout.hooks.values()).into_iter().flatten();
    hooks.map(|hook| hook.run.clone()).collect()
}

/// A rollback goes straight back; everything else goes by the strategy.
fn intent(state: &UnitState, wanted: Option<&Digest>) -> Intent {
    let Some(rollback) = &state.rollback else { return Intent::Forward };
    if wanted.is_none_or(|wanted| *wanted != rollback.good) {
        return Intent::Forward;
    }
    let left = state.last_verified.as_ref().filter(|verified| verified.rendered == rollback.bad);
    Intent::Rollback { undo: left.map(|verified| verified.undo.clone()).unwrap_or_default() }
}
