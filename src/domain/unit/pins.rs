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
    pins.extend(state.aborted.iter().chain(&state.adopted).cloned());
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
