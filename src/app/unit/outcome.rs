//! The end of a rollout, and the turn back: what the unit must remember before traffic moves.

use uuid::Uuid;

use super::advance::why_text;
use super::step::{Next, StepError};
use super::task::Shared;
use super::{Inner, Unit};
use crate::domain::id::RollbackId;
use crate::domain::plan::{PhaseId, Plan, PlanKind};
use crate::domain::rollout::event::{Failure, Outcome, RolloutEvent, Why};
use crate::domain::rollout::undo_of;
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::state::{Effective, UnitState};

impl Unit {
    /// Turns a rollout back. A failure quarantines the state and decides the rollback, in the same record: after a crash
    /// there is never the one without the other.
    pub(super) async fn settle(
        &self,
        inner: &mut Inner,
        shared: &Shared,
        plan: &Plan,
        phase: PhaseId,
        why: Why,
    ) -> Result<Next, StepError> {
        tracing::warn!(unit = %self.id, reason = why_text(&why), "turning back");
        let mut events = Vec::new();
        let mut decided = None;
        if let Why::Failed(failure) = &why {
            (events, decided) = decide(inner.log.state(), plan, failure);
        }
        events.push(UnitEvent::Rollout(RolloutEvent::SettleBegun { phase, why }));
        self.append(inner, &events).await?;
        if let Some(id) = decided {
            self.world.telemetry.automatic_rollbacks.inc();
            shared.rolled_back(&self.id, &id).await;
            shared.record_rollbacks.notify_one();
        }
        Ok(Next::Again)
    }

    /// Writes down how a rollout ended and what that means for the unit.
    pub(super) async fn finish(
        &self,
        inner: &mut Inner,
        shared: &Shared,
        plan: &Plan,
        outcome: Outcome,
    ) -> Result<Next, StepError> {
        let state = inner.log.state();
        let label = outcome_label(&outcome);
        tracing::info!(unit = %self.id, kind = ?plan.kind, outcome = label, "ended");
        let mut events = vec![UnitEvent::Rollout(RolloutEvent::Ended { outcome: outcome.clone() })];
        match &outcome {
            Outcome::Verified => events.extend(verified(state, plan)),
            Outcome::Aborted { .. } => {
                let stable = state.last_verified.as_ref();
                events.extend(stable.map(|stable| UnitEvent::EffectiveSet {
                    revision: stable.revision.clone(),
                    rendered: Some(stable.rendered.clone()),
                }));
            }
            Outcome::RolledBack(_) | Outcome::Superseded => {}
        }
        // It is in the store, for the few who ask for it from now on.
        inner.plan = None;
        self.append(inner, &events).await?;
        self.world.telemetry.rollouts.with_label_values(&[kind_label(plan.kind), label]).inc();
        inner.pending = None;
        shared.left_over.notify_one();
        // A revert of something shared may have waited for how this ends.
        shared.record_rollbacks.notify_one();
        shared.registry.wake_dependents(&self.id);
        Ok(Next::Again)
    }
}

/// What the rollout under way leads to: what is effective may already be something newer.
fn leads_to(state: &UnitState) -> Option<&Effective> {
    state.target.as_ref().map(|(target, _)| target).or(state.effective.as_ref())
}

/// What a failure means: the state is quarantined, and where something verified ran before, the way back is decided.
fn decide(state: &UnitState, plan: &Plan, failure: &Failure) -> (Vec<UnitEvent>, Option<RollbackId>) {
    let Some(bad) = plan.to.clone() else { return (Vec::new(), None) };
    let Some(effective) = leads_to(state) else { return (Vec::new(), None) };
    let quarantined = UnitEvent::Quarantined { rendered: bad.clone(), reason: failure.reason.clone() };
    let Some(good) = state.last_verified.as_ref().filter(|good| good.rendered != bad) else {
        // The first version ever, or one that was verified and fails now: there is nothing to go back to but what ran
        // beside it. That it is not remembered, since the state was lost, is no reason to stop it.
        let stable = plan.stable.as_ref().and_then(|stable| plan.groups.get(stable));
        let beside = stable.map(|source| source.rendered.clone()).filter(|rendered| *rendered != bad);
        let before = UnitEvent::EffectiveSet { revision: effective.revision.clone(), rendered: beside };
        return (if state.last_verified.is_none() { vec![quarantined, before] } else { Vec::new() }, None);
    };
    let id = RollbackId(Uuid::now_v7().to_string());
    let events = vec![
        quarantined,
        UnitEvent::RollbackDecided {
            id: id.clone(),
            trigger: Some(failure.trigger),
            reason: failure.reason.clone(),
            bad,
            bad_revision: effective.revision.clone(),
            good: good.rendered.clone(),
            good_revision: good.revision.clone(),
        },
        UnitEvent::EffectiveSet { revision: good.revision.clone(), rendered: Some(good.rendered.clone()) },
    ];
    (events, Some(id))
}

fn verified(state: &UnitState, plan: &Plan) -> Option<UnitEvent> {
    let Some(rendered) = plan.to.clone() else { return Some(UnitEvent::Removed {}) };
    let revision = leads_to(state)?.revision.clone();
    let restarts = plan.target.as_ref().and_then(|target| plan.groups.get(target)).map_or(0, |source| source.restarts);
    let undo = state.running().map(|rollout| undo_of(plan, rollout)).unwrap_or_default();
    Some(UnitEvent::Verified { revision, rendered, restarts, undo })
}

/// For people and metrics.
pub fn outcome_label(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Verified => "verified",
        Outcome::RolledBack(_) => "rolledBack",
        Outcome::Aborted { .. } => "aborted",
        Outcome::Superseded => "superseded",
    }
}

/// For people and metrics.
pub fn kind_label(kind: PlanKind) -> &'static str {
    match kind {
        PlanKind::Install => "install",
        PlanKind::Rollout => "rollout",
        PlanKind::Adjust => "adjust",
        PlanKind::Heal => "heal",
        PlanKind::Rollback => "rollback",
        PlanKind::Remove => "remove",
    }
}
