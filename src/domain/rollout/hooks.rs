//! Hooks: once, with a known end, or not on without somebody's word.

use super::event::{HookOutcome, RolloutEvent, Why};
use super::next_move::Move;
use super::state::{Course, HookState, RolloutState};
use crate::domain::id::{RolloutId, RunId};
use crate::domain::observed::{ObservedRun, ObservedUnit, Seen};
use crate::domain::plan::{HookCall, Phase, Plan};

/// The run of a hook: the same for the same attempt of the same call, so that starting it again finds the first start.
pub fn run_id(rollout: &RolloutId, at: &str, attempt: u32) -> RunId {
    RunId(format!("{rollout}-{at}-{attempt}"))
}

/// Whether a hook has ended as it should: only then the next one may run.
fn succeeded(state: &RolloutState, call: &HookCall) -> bool {
    state.hooks.get(&call.at).is_some_and(|hook| hook.outcome == Some(HookOutcome::Succeeded))
}

/// What a hook needs next; `None`: it has ended, and its end is written down.
fn next(state: &RolloutState, observed: &ObservedUnit, call: &HookCall) -> Option<Move> {
    let start =
        |attempt| Some(Move::StartRun { call: call.clone(), run: run_id(&state.id, &call.at, attempt), attempt });
    let Some(hook) = state.hooks.get(&call.at) else { return start(1) };
    match &hook.outcome {
        None => look(observed, call, hook, start),
        Some(HookOutcome::Succeeded) => None,
        Some(HookOutcome::Failed(_) | HookOutcome::Unknown(_)) if hook.again => start(hook.attempt.saturating_add(1)),
        // The verdict is made of it elsewhere; on the way back, and once stopped, it waits for somebody.
        Some(HookOutcome::Failed(_)) if state.is_forward() && state.stopped.is_none() => None,
        Some(HookOutcome::Failed(reason)) => Some(Move::Stuck(format!(
            "hook {} failed: {reason}; retry it, or promote to go on without it",
            call.name()
        ))),
        Some(HookOutcome::Unknown(reason)) => Some(Move::Stuck(format!(
            "nobody knows how hook {} ended: {reason}; it is not idempotent: look yourself, then retry it, or promote to go on \
             without it",
            call.name()
        ))),
    }
}

/// The hooks of a phase, before anything else of it, one after the other. On the way back only those that undo one that has started, and
/// those of a failure.
pub(super) fn of_phase(state: &RolloutState, observed: &ObservedUnit, phase: &Phase) -> Option<Move> {
    for call in phase.enter.iter().filter(|call| state.is_forward() || runs_on_the_way_back(state, call)) {
        if call.is_of_failure() {
            match next_of_failure(state, observed, call) {
                None => continue,
                next => return next,
            }
        }
        let next = next(state, observed, call);
        if next.is_some() || !succeeded(state, call) {
            return next;
        }
    }
    None
}

fn runs_on_the_way_back(state: &RolloutState, call: &HookCall) -> bool {
    if call.is_of_failure() {
        return matches!(state.course, Course::Settling(Why::Failed(_)));
    }
    call.at.strip_prefix("undo-").is_none_or(|at| state.hooks.contains_key(at))
}

/// The hooks that run because the rollout has failed, where it stopped instead of going back.
pub(super) fn after_failure(plan: &Plan, state: &RolloutState, observed: &ObservedUnit) -> Option<Move> {
    let stopped = state.is_forward() && state.failure.is_some() && state.stopped.is_some();
    let calls = plan.settle.iter().flat_map(|phase| &phase.enter);
    let mut calls = calls.filter(|call| stopped && call.is_of_failure());
    calls.find_map(|call| next_of_failure(state, observed, call))
}

/// What a hook needs next that runs because the rollout has failed; `None`: it has ended, however it did.
fn next_of_failure(state: &RolloutState, observed: &ObservedUnit, call: &HookCall) -> Option<Move> {
    let over = state.hooks.get(&call.at).is_some_and(|hook| hook.outcome.is_some() && !hook.again);
    if over { None } else { next(state, observed, call) }
}

fn look(
    observed: &ObservedUnit,
    call: &HookCall,
    hook: &HookState,
    start: impl Fn(u32) -> Option<Move>,
) -> Option<Move> {
    let wait = |reason: String| Some(Move::Wait { until: None, reason });
    let ended = |outcome| Some(Move::Record(RolloutEvent::HookEnded { call: call.at.clone(), outcome }));
    match observed.runs.get(&hook.run) {
        None => wait(format!("hook {}: it has not been looked at yet", call.name())),
        Some(Seen::Unknown(reason)) => wait(format!("hook {}: it can't be seen: {reason}", call.name())),
        Some(Seen::Known(run)) => match run {
            ObservedRun::NotStarted => start(hook.attempt),
            ObservedRun::Running => wait(format!("hook {} runs", call.name())),
            ObservedRun::Busy(what) => wait(format!("hook {} runs: {what}", call.name())),
            ObservedRun::Exited(0) => ended(HookOutcome::Succeeded),
            ObservedRun::Exited(code) => ended(HookOutcome::Failed(format!("exit code {code}"))),
            ObservedRun::Failed(reason) => ended(HookOutcome::Failed(reason.clone())),
            ObservedRun::Unknown(_) if call.is_idempotent() => start(hook.attempt.saturating_add(1)),
            ObservedRun::Unknown(reason) => ended(HookOutcome::Unknown(reason.clone())),
        },
    }
}

/// A hook of the phase that failed.
pub(super) fn failed<'p>(state: &RolloutState, phase: &'p Phase) -> Option<(&'p HookCall, String)> {
    phase.enter.iter().find_map(|call| match state.hooks.get(&call.at)?.outcome.as_ref()? {
        HookOutcome::Failed(reason) if !state.hooks.get(&call.at)?.again => Some((call, reason.clone())),
        _ => None,
    })
}
