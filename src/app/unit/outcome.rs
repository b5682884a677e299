//! The end of a rollout, and the turn back: what the unit must remember before traffic moves.

use uuid::Uuid;

use super::advance::why_text;
use super::step::{Next, StepError};
use super::task::Shared;
use super::{Inner, Unit};
use crate::domain::id::RollbackId;
use crate::domain::plan::{PhaseId, Plan};
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
            Outcome::Aborted { .. } => events.extend(called_off(state, plan)),
            Outcome::RolledBack(_) | Outcome::Superseded => {}
        }
        // It is in the store, for the few who ask for it from now on.
        inner.plan = None;
        self.append(inner, &events).await?;
        self.world.telemetry.rollouts.with_label_values(&[plan.kind.name(), label]).inc();
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
    // What ran already and fails now is healed.
    if plan.from.as_ref() == Some(&bad) {
        return (Vec::new(), None);
    }
    let Some(good) = state.way_back(&bad) else {
        // The first version ever, or all that was verified is quarantined: there is nothing to go back to but what ran beside
        // it. That it is not remembered, since the state was lost, is no reason to stop it.
        let before = UnitEvent::EffectiveSet { revision: effective.revision.clone(), rendered: plan.from.clone() };
        return (vec![quarantined, before], None);
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

/// What is made true once a rollout was called off: what was verified and was not left for its faults since, or else what ran
/// before.
fn called_off(state: &UnitState, plan: &Plan) -> Option<UnitEvent> {
    let trusted = state.verified().find(|verified| !state.quarantine.contains_key(&verified.rendered));
    let (revision, rendered) = match trusted {
        Some(trusted) => (trusted.revision.clone(), Some(trusted.rendered.clone())),
        None => (leads_to(state)?.revision.clone(), plan.from.clone()),
    };
    Some(UnitEvent::EffectiveSet { revision, rendered })
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::domain::desired::Trigger;
    use crate::domain::digest::Digest;
    use crate::domain::plan::{FORMAT, PlanKind};

    fn digest(text: &str) -> Digest {
        Digest::from_text(format!("r1:{text}"))
    }

    /// A rollout of `new` that begins from what had all traffic last.
    fn plan(from: &str) -> Plan {
        Plan {
            format: FORMAT,
            unit: "hello/staging/default".parse().unwrap(),
            kind: PlanKind::Rollout,
            from: Some(digest(from)),
            to: Some(digest("new")),
            groups: BTreeMap::new(),
            stable: None,
            target: None,
            phases: Vec::new(),
            settle: Vec::new(),
            gradual: 0,
            analyses: BTreeMap::new(),
            differences: Vec::new(),
            approximations: Vec::new(),
            left_out: Vec::new(),
            predicted: Default::default(),
        }
    }

    fn state(verified: &[&str], left: &[&str]) -> UnitState {
        let passed = verified.iter().map(|text| UnitEvent::Verified {
            revision: (*text).into(),
            rendered: digest(text),
            restarts: 0,
            undo: Vec::new(),
        });
        let left = left.iter().map(|text| UnitEvent::Quarantined { rendered: digest(text), reason: "left".into() });
        let asked = UnitEvent::EffectiveSet { revision: "new".into(), rendered: Some(digest("new")) };
        let mut state = UnitState::default();
        for event in passed.chain(left).chain([asked]) {
            state.apply(&event, Timestamp::UNIX_EPOCH).unwrap();
        }
        state
    }

    /// What is quarantined by a failure of `new`, where the revert leads, and what is effective then.
    fn outcome(state: &UnitState, from: &str) -> (Vec<Digest>, Option<Digest>, Option<Digest>) {
        let failure =
            Failure { trigger: Trigger::Unhealthy, phase: PhaseId(0), reason: "it crashed".into(), analysis: None };
        let (events, decided) = decide(state, &plan(from), &failure);
        let (mut quarantined, mut back, mut effective) = (Vec::new(), None, None);
        for event in events {
            match event {
                UnitEvent::Quarantined { rendered, .. } => quarantined.push(rendered),
                UnitEvent::RollbackDecided { good, .. } => back = Some(good),
                UnitEvent::EffectiveSet { rendered, .. } => effective = rendered,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(decided.is_some(), back.is_some());
        (quarantined, back, effective)
    }

    #[test]
    fn a_failure_leads_back_to_what_was_verified_and_is_not_quarantined() {
        for (verified, left, from, good) in [
            (&["a"][..], &[][..], "a", "a"),
            (&["a", "b"], &[], "b", "b"),
            (&["a"], &[], "c", "a"),
            // An operator went back from b, c was pushed before a was reached and took over, and then came the new one.
            (&["a", "b"], &["b"], "c", "a"),
            // It was verified once, c took over, and it comes again.
            (&["a", "new"], &[], "c", "a"),
        ] {
            let back = (vec![digest("new")], Some(digest(good)), Some(digest(good)));
            assert_eq!(outcome(&state(verified, left), from), back, "{verified:?} without {left:?}");
        }
    }

    #[test]
    fn with_nothing_to_go_back_to_what_ran_before_stays() {
        for (verified, left) in [(&[][..], &[][..]), (&["b"], &["b"]), (&["a", "b"], &["a", "b"]), (&["new"], &[])] {
            let stays = (vec![digest("new")], None, Some(digest("c")));
            assert_eq!(outcome(&state(verified, left), "c"), stays, "{verified:?} without {left:?}");
        }
        // New instances of what runs.
        assert_eq!(outcome(&state(&["new"], &[]), "new"), (Vec::new(), None, None));
    }

    #[test]
    fn what_is_called_off_is_not_made_true_any_more() {
        for (verified, left, from, kept) in [
            (&["a", "b"][..], &[][..], Some("b"), Some("b")),
            (&["a", "b"], &["b"], Some("c"), Some("a")),
            (&["b"], &["b"], Some("c"), Some("c")),
            (&[], &[], Some("c"), Some("c")),
            (&[], &[], None, None),
        ] {
            let plan = Plan { from: from.map(digest), ..plan("c") };
            let Some(UnitEvent::EffectiveSet { rendered, .. }) = called_off(&state(verified, left), &plan) else {
                panic!("{verified:?} without {left:?}: nothing is set");
            };
            assert_eq!(rendered, kept.map(digest), "{verified:?} without {left:?} from {from:?}");
        }
    }
}
