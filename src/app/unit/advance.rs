//! One move of a rollout: written down before it, done, written down after it.

use std::time::Duration;

use jiff::Timestamp;
use tracing::Instrument;

use super::glance::Waits;
use super::step::{Next, StepError};
use super::task::Shared;
use super::{Inner, Unit};
use crate::app::perform::perform;
use crate::domain::action::Action;
use crate::domain::observed::ObservedUnit;
use crate::domain::plan::Plan;
use crate::domain::rollout::ahead::{Ahead, ahead};
use crate::domain::rollout::event::{RolloutEvent, Why};
use crate::domain::rollout::next_move::{Move, MoveFacts};
use crate::domain::unit::event::UnitEvent;
use crate::traces;

impl Unit {
    /// Makes the next move of the rollout under way.
    pub(super) async fn advance(
        &self,
        inner: &mut Inner,
        shared: &Shared,
        observed: &ObservedUnit,
    ) -> Result<Next, StepError> {
        let plan = self.rollout_plan(inner).await?;
        let now = self.world.now();
        let state = inner.log.state();
        let Some(rollout) = state.running() else { return Ok(Next::Again) };
        let recent = shared.installation.recent_rollbacks(&self.id.environment, now);
        let facts = MoveFacts {
            now,
            asked: self.asked(),
            superseded: self.superseded(state, &plan),
            recent_rollbacks: &recent,
            rollback_cap: shared.settings.rollback.per_hour,
        };
        let Ahead { records, next } = ahead(&plan, rollout, observed, &facts);
        let Some(name) = name(&next).or_else(|| (!records.is_empty()).then_some("record")) else {
            return self.make(inner, shared, &plan, Vec::new(), next, now).await;
        };
        let revision = state.effective.as_ref().map(|effective| &effective.revision);
        let span = traces::step(&self.id, &rollout.id, name, revision);
        let work = async {
            let before = records.into_iter().map(UnitEvent::Rollout).collect();
            self.make(inner, shared, &plan, before, next, now).await
        };
        traces::noted(&span, work.instrument(span.clone()).await)
    }

    /// What comes before a move is durable before it; before an effect, together with its beginning.
    async fn make(
        &self,
        inner: &mut Inner,
        shared: &Shared,
        plan: &Plan,
        before: Vec<UnitEvent>,
        next: Move,
        now: Timestamp,
    ) -> Result<Next, StepError> {
        if !before.is_empty() && !matches!(next, Move::Perform(_)) {
            self.append(inner, &before).await?;
        }
        match next {
            Move::Perform(action) => self.perform(inner, before, action).await,
            Move::Record(RolloutEvent::Ended { outcome }) => self.finish(inner, shared, plan, outcome).await,
            Move::Record(event) => self.record(inner, event).await,
            Move::StartRun { call, run, attempt } => self.start_hook(inner, plan, &call, run, attempt).await,
            Move::BeginAnalysis { key, name } => self.begin_analysis(inner, plan, key, &name).await,
            Move::Measure { key, name, baseline } => self.measure(inner, plan, key, &name, baseline).await,
            Move::CheckStable { name, baseline, .. } => self.check_stable(inner, plan, &name, baseline).await,
            Move::Settle { phase, why } => self.settle(inner, shared, plan, phase, why).await,
            // Its end is recorded: there is none under way any more.
            Move::Done(_) => Ok(Next::Again),
            Move::Wait { until, reason } => {
                self.publish(inner, |glance| glance.waits = Some(Waits { reason, until, tries_again: false }));
                Ok(Next::Sleep(until.map(|until| wait_until(now, until))))
            }
            Move::TryAgain { at, reason } => {
                self.publish(inner, |glance| {
                    glance.waits = Some(Waits { reason, until: Some(at), tries_again: true });
                });
                Ok(Next::Sleep(Some(wait_until(now, at))))
            }
            Move::Stuck(reason) => {
                self.publish(inner, |glance| glance.stuck = Some(reason));
                Ok(Next::Sleep(None))
            }
        }
    }

    /// What is wanted now instead of what the rollout leads to, if that changed under it.
    fn superseded(
        &self,
        state: &crate::domain::unit::state::UnitState,
        plan: &Plan,
    ) -> Option<Option<crate::domain::digest::Digest>> {
        state.running().filter(|rollout| rollout.is_forward())?;
        let effective = state.effective.as_ref()?;
        // A restart that was asked for meanwhile makes another group of the same desired state.
        let restarted = plan.target.as_ref().and_then(|target| plan.groups.get(target)).is_some_and(|source| {
            Some(&source.rendered) == effective.rendered.as_ref() && source.restarts != state.restarts
        });
        (effective.rendered != plan.to || restarted).then(|| effective.rendered.clone())
    }

    pub(super) async fn record(&self, inner: &mut Inner, event: RolloutEvent) -> Result<Next, StepError> {
        self.append(inner, &[UnitEvent::Rollout(event)]).await?;
        Ok(Next::Again)
    }

    /// `Started` is durable before the effect, together with what comes before it, and `Succeeded` after it; a failure is durable
    /// too, so that the saga sees how often it was tried.
    async fn perform(&self, inner: &mut Inner, mut before: Vec<UnitEvent>, action: Action) -> Result<Next, StepError> {
        let (kind, place) = (kind(&action), self.place(inner.log.state()).await);
        tracing::info!(unit = %self.id, "{action}");
        before.push(UnitEvent::Rollout(RolloutEvent::ActionStarted { action: action.clone() }));
        self.append(inner, &before).await?;
        let rollout = inner.log.state().running().map(|rollout| rollout.id.clone());
        let span = traces::action(&self.id, rollout.as_ref(), kind, &action);
        let result =
            traces::noted(&span, perform(&self.world, &self.id, &place, &action).instrument(span.clone()).await);
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        self.world.telemetry.actions.with_label_values(&[kind, outcome]).inc();
        match result {
            Ok(()) => self.record(inner, RolloutEvent::ActionSucceeded {}).await,
            Err(error) if error.is_stale() => Err(StepError::Perform(error)),
            Err(error) => {
                tracing::warn!(unit = %self.id, %error, "{action} failed");
                let for_good = error.is_for_good();
                self.record(inner, RolloutEvent::ActionFailed { reason: error.to_string(), for_good }).await
            }
        }
    }

    /// The plan of the rollout under way, from the store where it is not at hand.
    pub(super) async fn rollout_plan(&self, inner: &mut Inner) -> Result<std::sync::Arc<Plan>, StepError> {
        let Some((id, digest)) = inner.log.state().running().map(|rollout| (rollout.id.clone(), rollout.plan.clone()))
        else {
            return Err(StepError::NoRollout);
        };
        if let Some((known, plan)) = &inner.plan
            && *known == id
        {
            return Ok(plan.clone());
        }
        let plan = std::sync::Arc::new(self.world.blobs.plan(&digest).await?);
        inner.plan = Some((id, plan.clone()));
        Ok(plan)
    }
}

/// For the traces; `None`: it only waits.
fn name(next: &Move) -> Option<&'static str> {
    Some(match next {
        Move::Perform(_) => "perform",
        Move::StartRun { .. } => "startRun",
        Move::Record(RolloutEvent::Ended { .. }) => "end",
        Move::Record(RolloutEvent::PhaseEntered { .. }) => "enterPhase",
        Move::Record(_) => "record",
        Move::BeginAnalysis { .. } => "beginAnalysis",
        Move::Measure { .. } => "measure",
        Move::CheckStable { .. } => "checkStable",
        Move::Settle { .. } => "settle",
        Move::Wait { .. } | Move::TryAgain { .. } | Move::Stuck(_) | Move::Done(_) => return None,
    })
}

/// For the metrics and traces.
fn kind(action: &Action) -> &'static str {
    match action {
        Action::EnsureGroup { .. } => "ensure_group",
        Action::SetTraffic { .. } => "set_traffic",
        Action::RemoveTraffic { .. } => "remove_traffic",
        Action::RetireGroup { .. } => "retire_group",
    }
}

/// The time from one instant to another; none where it has passed.
pub(super) fn wait_until(now: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// Why a rollout turned back, for people.
pub fn why_text(why: &Why) -> String {
    match why {
        Why::Failed(failure) => failure.reason.clone(),
        Why::Aborted { by, reason } if reason.is_empty() => format!("{by} called it off"),
        Why::Aborted { by, reason } => format!("{by} called it off: {reason}"),
        Why::Superseded { .. } => "something else is wanted by now".into(),
    }
}
