//! What every plan keeps to, whoever drew it up.

use std::collections::BTreeSet;

use super::plan::{Condition, Phase, Plan, Settle, TrafficGoal};

/// Checks a plan.
///
/// # Errors
/// The first rule that it breaks, for people.
pub fn check(plan: &Plan) -> Result<(), String> {
    let mut ids = BTreeSet::new();
    let mut calls = BTreeSet::new();
    for (place, phase) in plan.phases.iter().chain(&plan.settle).enumerate() {
        let broken = |rule: &str| Err(format!("phase {} ({}): {rule}", phase.id.0, phase.name));
        if !ids.insert(phase.id) || phase.id.0 as usize != place {
            return broken("phases are numbered from 0 in their order, those to settle in after the others");
        }
        if let Some(call) = phase.enter.iter().find(|call| !calls.insert(call.at.clone())) {
            return broken(&format!("the hook {} is called twice", call.at));
        }
        if let Err(rule) = check_phase(plan, phase) {
            return broken(&rule);
        }
    }
    if plan.gradual as usize > plan.settle.len() || (plan.gradual > 0 && plan.immediate().is_none()) {
        return Err("the way back step by step does not lead all the way".into());
    }
    for phase in &plan.settle {
        let waits = match plan.is_gradual(phase.id) {
            true => phase.advance.iter().any(|condition| !matches!(condition, Condition::Delay(_))),
            false => !phase.advance.is_empty(),
        };
        if waits || !phase.gate.is_empty() || !phase.as_available {
            return Err(format!("the settle phase {} waits for something on the way back", phase.name));
        }
    }
    check_order(plan)
}

fn check_phase(plan: &Plan, phase: &Phase) -> Result<(), String> {
    if let Some((group, _)) = phase.groups.iter().find(|(group, size)| **size == 0 || !plan.groups.contains_key(*group))
    {
        return Err(format!("group {group} has no instances or no source"));
    }
    for goal in [&phase.traffic, &phase.preview].into_iter().flatten() {
        check_traffic(plan, phase, goal)?;
    }
    if let Settle::Phase { phase: to, gradually, .. } = &phase.on_failure {
        if plan.immediate().is_none_or(|settle| settle.id != *to) {
            return Err(format!("a failure leads to phase {}, which is none to settle in", to.0));
        }
        if let Some(gradually) = gradually.as_ref().filter(|gradually| !plan.is_gradual(gradually.phase)) {
            return Err(format!("a failure leads to phase {}, which is no step back", gradually.phase.0));
        }
    }
    let analyses = phase.advance.iter().filter_map(|condition| match condition {
        Condition::Analysis(name) => Some(name),
        _ => None,
    });
    match analyses.chain(&phase.gate).find(|name| !plan.analyses.contains_key(*name)) {
        Some(name) => Err(format!("the analysis {name} is not in the plan")),
        None => Ok(()),
    }
}

fn check_traffic(plan: &Plan, phase: &Phase, goal: &TrafficGoal) -> Result<(), String> {
    for (group, backend) in &goal.backends {
        let size = phase.groups.get(group).copied().unwrap_or(0);
        if backend.slots == 0 || backend.slots > size {
            return Err(format!("traffic goes to {} instances of group {group}, which has {size}", backend.slots));
        }
    }
    let weights: u64 = goal.backends.values().map(|backend| u64::from(backend.weight)).sum();
    let nothing_runs = phase.groups.is_empty() || plan.to.is_none();
    if weights == 0 && goal.hold.is_none() && !nothing_runs {
        return Err("traffic goes nowhere".into());
    }
    Ok(())
}

/// A group is lowered only by a phase after, or by the very phase in which, traffic left it; and never while it still has a weight.
fn check_order(plan: &Plan) -> Result<(), String> {
    for pair in plan.phases.windows(2) {
        let [before, after] = pair else { continue };
        let (Some(was), Some(is)) = (&before.traffic, &after.traffic) else { continue };
        for (group, backend) in &was.backends {
            let size = after.groups.get(group).copied().unwrap_or(0);
            let kept = is.backends.get(group).map_or(0, |backend| backend.slots);
            if backend.weight > 0 && kept > size {
                return Err(format!("phase {} stops instances of group {group} that still have traffic", after.name));
            }
        }
    }
    Ok(())
}
