//! The way back step by step: the weights of a canary once more, in reverse.

use super::Draft;
use super::draft::bare;
use crate::domain::plan::{Condition, Phase, PhaseId};
use crate::domain::span::Span;
use crate::domain::strategy::Strategy;

/// A weight on the way back.
#[derive(Debug)]
pub(super) struct Step {
    /// The phase that had it on the way forward.
    place: usize,
    /// The settle phase.
    pub phase: Phase,
}

/// The weights that a canary passes, the last and highest first, each for as long as it paused there but no longer than is allowed
/// on the way back. None where nothing is to go back gradually.
pub(super) fn steps(draft: &Draft<'_>) -> Vec<Step> {
    let (Some(rules), Strategy::Canary(_)) = (&draft.desired.rollback.gradual, &draft.desired.strategy) else {
        return Vec::new();
    };
    let mut steps: Vec<Step> = Vec::new();
    let mut above = (1, 1);
    for (place, phase) in draft.phases.iter().enumerate().rev() {
        let Some(share) = share(draft, phase).filter(|share| share.0 > 0 && less(*share, above)) else { continue };
        above = share;
        let id = draft.phases.len() + steps.len();
        let mut back = Phase {
            groups: phase.groups.clone(),
            traffic: phase.traffic.clone(),
            deadline: Some(draft.desired.health.within),
            as_available: true,
            ..bare(u32::try_from(id).unwrap_or(u32::MAX), format!("back at {}%", share.0 * 100 / share.1))
        };
        // Testers have seen enough of it.
        for backend in back.traffic.iter_mut().flat_map(|goal| goal.backends.values_mut()) {
            backend.testers = false;
        }
        let pause = pause(phase, rules.pause);
        if pause > Span::ZERO {
            back.advance.push(Condition::Delay(pause));
        }
        steps.push(Step { place, phase: back });
    }
    steps
}

/// Where a failure of a phase leads: to the next lower weight. `None`: there is none but nothing, or the old version has given
/// way already.
pub(super) fn next(draft: &Draft<'_>, steps: &[Step], place: usize) -> Option<PhaseId> {
    let base = draft.base.as_ref()?;
    let whole = draft.phases.get(place)?.groups.get(&base.group) == Some(&base.replicas);
    steps.iter().find(|step| whole && step.place < place).map(|step| step.phase.id)
}

/// The new version's part of all weights, while the old version has all its instances beside it.
fn share(draft: &Draft<'_>, phase: &Phase) -> Option<(u64, u64)> {
    let base = draft.base.as_ref().filter(|base| base.group != draft.target)?;
    if phase.groups.get(&base.group) != Some(&base.replicas) {
        return None;
    }
    let goal = phase.traffic.as_ref()?;
    let weight = |backend: &crate::domain::plan::BackendGoal| u64::from(backend.weight);
    let all = goal.backends.values().map(weight).sum();
    let new = goal.backends.get(&draft.target).map_or(0, weight);
    goal.backends.contains_key(&base.group).then_some((new, all))
}

fn less(one: (u64, u64), other: (u64, u64)) -> bool {
    one.0 * other.1 < other.0 * one.1
}

/// As long as the phase paused, where it did, but no longer than this.
fn pause(phase: &Phase, most: Span) -> Span {
    let each = phase.advance.iter().map(|condition| match condition {
        Condition::Pause(Some(span)) | Condition::Delay(span) => (*span).min(most),
        Condition::Pause(None) | Condition::Analysis(_) | Condition::Watch(_) => most,
    });
    each.max().unwrap_or(Span::ZERO)
}
