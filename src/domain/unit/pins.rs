//! What must stay stored for a unit: a rollout resumes and a rollback works with Git down and history rewritten.

use std::collections::BTreeSet;

use super::state::{UnitState, Verified, Wants};
use crate::domain::digest::Digest;
use crate::domain::plan::Plan;

/// The desired states and plans that a unit's state names.
pub fn pins(state: &UnitState) -> BTreeSet<Digest> {
    let mut pins = BTreeSet::new();
    if let Some(Wants::Run { rendered, .. }) = state.candidate.as_ref().map(|candidate| &candidate.wants) {
        pins.insert(rendered.clone());
    }
    pins.extend(state.effective.as_ref().and_then(|effective| effective.rendered.clone()));
    pins.extend(state.target.as_ref().and_then(|(target, _)| target.rendered.clone()));
    pins.extend(state.begun.iter().chain(&state.aborted).chain(&state.adopted).cloned());
    pins.extend(state.quarantine.keys().cloned());
    pins.extend(state.rollback.iter().flat_map(|rollback| [rollback.bad.clone(), rollback.good.clone()]));
    pins.extend(state.rollout.iter().map(|rollout| rollout.plan.clone()));
    pins.extend(state.history.iter().map(|past| past.plan.clone()));
    for verified in [&state.last_verified, &state.serving].into_iter().flatten() {
        pin_verified(verified, &mut pins);
    }
    pins
}

fn pin_verified(verified: &Verified, pins: &mut BTreeSet<Digest>) {
    pins.insert(verified.rendered.clone());
    if let Some(before) = &verified.before {
        pin_verified(before, pins);
    }
}

/// The desired states that a plan under way needs: those of its groups and of its routes.
pub fn pins_of_plan(plan: &Plan) -> BTreeSet<Digest> {
    let ends = plan.from.iter().chain(&plan.to);
    let groups = plan.groups.values().map(|source| &source.rendered);
    let phases = plan.phases.iter().chain(&plan.settle);
    let routes = phases.flat_map(|phase| phase.traffic.iter().chain(&phase.preview)).map(|goal| &goal.route);
    ends.chain(groups).chain(routes).cloned().collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::event::UnitEvent;
    use super::super::state::QUARANTINED;
    use super::*;
    use crate::domain::id::{Revision, RollbackId};

    fn digest(text: &str) -> Digest {
        Digest::of_bytes("r1", text.as_bytes())
    }

    fn at(second: usize) -> Timestamp {
        Timestamp::from_second(i64::try_from(second).unwrap()).unwrap()
    }

    fn verified(state: &mut UnitState, text: &str) {
        let revision = Revision(text.into());
        let event = UnitEvent::Verified { revision, rendered: digest(text), restarts: 0, undo: Vec::new() };
        state.apply(&event, at(0)).unwrap();
    }

    #[test]
    fn what_a_rollback_leads_to_is_pinned_until_it_is_replaced_twice() {
        let mut state = UnitState::default();
        for (text, pinned) in [("a", vec!["a"]), ("b", vec!["a", "b"]), ("c", vec!["b", "c"])] {
            verified(&mut state, text);
            assert_eq!(pins(&state), pinned.into_iter().map(digest).collect(), "{text}");
        }
    }

    #[test]
    fn both_ends_of_an_unresolved_rollback_are_pinned() {
        let mut state = UnitState::default();
        let decided = UnitEvent::RollbackDecided {
            id: RollbackId("one".into()),
            trigger: None,
            reason: "bad".into(),
            bad: digest("bad"),
            bad_revision: Revision("b".into()),
            good: digest("good"),
            good_revision: Revision("a".into()),
        };
        state.apply(&decided, at(0)).unwrap();
        assert_eq!(pins(&state), BTreeSet::from([digest("bad"), digest("good")]));
    }

    #[test]
    fn quarantine_is_pinned_and_bounded() {
        let mut state = UnitState::default();
        for number in 0..QUARANTINED + 5 {
            let rendered = digest(&number.to_string());
            state.apply(&UnitEvent::Quarantined { rendered, reason: "bad".into() }, at(number)).unwrap();
        }
        assert_eq!(pins(&state).len(), QUARANTINED);
        assert!(!pins(&state).contains(&digest("4")) && pins(&state).contains(&digest("5")));
    }
}
