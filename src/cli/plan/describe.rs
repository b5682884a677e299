//! Phases in words: how many instances, which traffic, what is waited for.

use std::fmt::Write;

use crate::domain::id::GroupId;
use crate::domain::plan::{Condition, Phase, Plan, Settle, TrafficGoal};

/// A group by its version; with the beginning of its id where two groups run the same version.
pub fn group(plan: &Plan, id: &GroupId) -> String {
    let Some(source) = plan.groups.get(id) else { return id.to_string() };
    let same = plan.groups.values().filter(|other| other.version == source.version).count();
    let short = id.as_str().get(..6).unwrap_or(id.as_str());
    if same > 1 { format!("{} ({short})", source.version) } else { source.version.clone() }
}

/// What a phase makes true, and what it waits for then, a line each.
pub fn phase(plan: &Plan, phase: &Phase) -> Vec<String> {
    let mut lines = Vec::new();
    if !phase.enter.is_empty() {
        let hooks: Vec<_> = phase.enter.iter().map(ToString::to_string).collect();
        lines.push(format!("first runs {}", hooks.join(", ")));
    }
    if let Some(wait) = phase.stop_first {
        lines.push(format!("first ends all other instances; meanwhile requests wait, each up to {wait}"));
    }
    let groups: Vec<_> = phase.groups.iter().map(|(id, size)| format!("{size} of {}", group(plan, id))).collect();
    lines.push(if groups.is_empty() { "no instances".to_owned() } else { groups.join(", ") });
    if let Some(goal) = &phase.traffic {
        lines.push(format!("traffic: {}", traffic(plan, goal)));
    }
    if let Some(goal) = &phase.preview {
        lines.push(format!("preview: {}", traffic(plan, goal)));
    }
    if !phase.gate.is_empty() {
        let gate: Vec<_> = phase.gate.iter().map(ToString::to_string).collect();
        lines.push(format!("all the while analysis {} must hold", gate.join(", ")));
    }
    if !phase.advance.is_empty() {
        let conditions: Vec<_> = phase.advance.iter().map(condition).collect();
        lines.push(format!("then waits for {}", conditions.join(", then for ")));
    }
    if let Some(deadline) = phase.deadline {
        lines.push(format!("fails when it is not so within {deadline}"));
    }
    lines
}

fn traffic(plan: &Plan, goal: &TrafficGoal) -> String {
    if let Some(hold) = goal.hold {
        return format!("requests wait, each up to {hold}");
    }
    let sum: u64 = goal.backends.values().map(|backend| u64::from(backend.weight)).sum();
    let shares = goal.backends.iter().filter(|(_, backend)| backend.weight > 0).map(|(id, backend)| {
        let percent = f64::from(backend.weight) * 100.0 / sum.max(1) as f64;
        format!("{}% to {}", (percent * 10.0).round() / 10.0, group(plan, id))
    });
    let shares: Vec<_> = shares.collect();
    if shares.is_empty() { "to nothing".into() } else { shares.join(", ") }
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Delay(span) => format!("{span}"),
        Condition::Pause(Some(span)) => format!("{span} or `rollout promote`"),
        Condition::Pause(None) => "`rollout promote`".into(),
        Condition::Analysis(name) => format!("analysis {name}"),
        Condition::Watch(span) => format!("{span} without a failure"),
    }
}

/// Where a failure of a phase leads.
pub fn failure(plan: &Plan, phase: &Phase) -> String {
    match &phase.on_failure {
        Settle::Phase { phase, gradually, .. } => {
            let name = |id| plan.phase(id).map_or("another phase", |phase| phase.name.as_str());
            let mut text = format!("goes to \"{}\"", name(*phase));
            if let Some(gradually) = gradually {
                let _ = write!(text, ", step by step from \"{}\" where it is no hurry", name(gradually.phase));
            }
            text
        }
        Settle::ForwardOnly => "stops: there is no way back past a forward-only hook".into(),
        Settle::Stop => "stops where it is and tells".into(),
    }
}
