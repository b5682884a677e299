//! What each event makes of the state of a rollout; what cannot have happened is refused.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{ActionState, CALM, Course, HookState, IllegalTransition, PhaseSpan, PhaseState, RolloutState};
use crate::domain::action::{Action, TrafficSet, Which};
use crate::domain::id::GroupId;
use crate::domain::plan::{PhaseId, PlanKind};
use crate::domain::rollout::event::{AnalysisKey, HookOutcome, Outcome, RolloutEvent, Why};
use crate::domain::verdict::Tally;

impl RolloutState {
    /// Counts one event that happened at a time.
    ///
    /// # Errors
    /// The event cannot follow what was before; the state is as it was.
    pub fn apply(&mut self, event: &RolloutEvent, at: Timestamp) -> Result<(), IllegalTransition> {
        self.check(event)?;
        match event.clone() {
            RolloutEvent::PhaseEntered { phase, restarts } => self.enter(phase, restarts, at),
            RolloutEvent::ActionStarted { action } => self.start_action(action, at),
            RolloutEvent::ActionSucceeded {} => self.end_action(Ok(()), false, at),
            RolloutEvent::ActionFailed { reason, for_good } => self.end_action(Err(reason), for_good, at),
            RolloutEvent::PhaseTrue { .. } => self.phase_true(at),
            RolloutEvent::PhaseDisturbed { reason, restarts, .. } => self.phase_disturbed(reason, restarts, at),
            RolloutEvent::Recounted { restarts } => {
                if let Some(phase) = &mut self.phase {
                    (phase.restarts, phase.recount) = (restarts, false);
                }
            }
            RolloutEvent::HookStarted { call, run, attempt } => {
                self.hooks.insert(call, HookState { run, attempt, started: at, outcome: None, again: false });
            }
            RolloutEvent::HookEnded { call, outcome } => self.end_hook(&call, outcome, at),
            RolloutEvent::AnalysisBegun { key, baseline } => {
                self.analyses.insert(key, Tally::begin(at, baseline));
            }
            RolloutEvent::Measured { key, measurement } => {
                if let Some(tally) = self.analyses.get_mut(&key) {
                    tally.count(at, measurement);
                }
            }
            RolloutEvent::ConditionMet { .. } => self.condition_met(at),
            RolloutEvent::FullTraffic {} => self.full_traffic = true,
            RolloutEvent::Failed { failure } => {
                self.failure = Some(failure);
                self.stable_passes = None;
            }
            RolloutEvent::StableChecked { passes, detail } => self.stable_passes = Some((passes, detail)),
            RolloutEvent::Stopped { reason } => self.stopped = Some(reason),
            RolloutEvent::SettleBegun { phase, why } => self.settle(phase, why, at),
            RolloutEvent::Paused { by } => {
                self.paused = Some(by);
                self.clock.stop(at);
            }
            RolloutEvent::Resumed { .. } => {
                self.paused = None;
                self.release_clock(at);
            }
            RolloutEvent::Promoted { full, .. } => self.promote(full, at),
            RolloutEvent::AbortRequested { by, reason } => self.abort = Some((by, reason)),
            RolloutEvent::Retried { .. } => self.retry(at),
            RolloutEvent::Recovered {} => {
                self.recoveries = self.recoveries.saturating_add(1);
                self.begin_anew(true, at);
            }
            RolloutEvent::Ended { outcome } => {
                self.took_over = self.is_forward() && self.full_traffic && outcome == Outcome::Superseded;
                self.course = Course::Ended(outcome);
            }
        }
        Ok(())
    }

    /// The unit is suspended: nothing is done and no deadline counts.
    pub fn suspend(&mut self, at: Timestamp) {
        self.suspended = true;
        self.clock.stop(at);
    }

    /// The unit is not suspended any more.
    pub fn unsuspend(&mut self, at: Timestamp) {
        self.suspended = false;
        self.release_clock(at);
    }

    fn release_clock(&mut self, at: Timestamp) {
        if self.paused.is_none() && !self.suspended {
            self.clock.go(at);
        }
    }

    fn enter(&mut self, id: PhaseId, restarts: BTreeMap<String, u32>, at: Timestamp) {
        let mark = self.clock.mark(at);
        self.promoted = false;
        self.forget_refusals();
        let before = self.phase.take();
        self.left.extend(before.map(|before| PhaseSpan { id: before.id, entered: before.entered, left: at }));
        self.phase = Some(PhaseState {
            id,
            entered: at,
            deadline_from: mark,
            became_true: None,
            true_since: None,
            disturbed: None,
            met: 0,
            met_at: None,
            restarts,
            recount: false,
        });
    }

    fn start_action(&mut self, action: Action, at: Timestamp) {
        let (attempts, refusals) = match &self.action {
            Some(last) if last.action == action => (last.attempts.saturating_add(1), last.refusals),
            _ => (1, 0),
        };
        self.action = Some(ActionState { action, started: at, attempts, result: None, ended: None, refusals });
    }

    /// What was refused is tried anew before it counts.
    fn forget_refusals(&mut self) {
        if let Some(action) = &mut self.action {
            action.refusals = 0;
        }
    }

    fn end_action(&mut self, result: Result<(), String>, for_good: bool, at: Timestamp) {
        let goes_back = matches!(self.course, Course::Settling(_)) || self.kind == PlanKind::Rollback;
        let Some(action) = &mut self.action else { return };
        if let (true, Ok(()), Action::SetTraffic { which: Which::Main, traffic }) = (goes_back, &result, &action.action)
            && self.fallback.as_ref().is_some_and(|group| has_all(traffic, group))
        {
            self.traffic_back.get_or_insert(at);
        }
        action.refusals = if for_good { action.refusals.saturating_add(1) } else { 0 };
        (action.result, action.ended) = (Some(result), Some(at));
    }

    fn phase_true(&mut self, at: Timestamp) {
        let mark = self.clock.mark(at);
        if let Some(phase) = &mut self.phase {
            phase.became_true.get_or_insert(mark);
            phase.true_since = Some(mark);
            phase.disturbed = None;
        }
    }

    fn phase_disturbed(&mut self, reason: String, restarts: BTreeMap<String, u32>, at: Timestamp) {
        let mark = self.clock.mark(at);
        if let Some(phase) = &mut self.phase {
            let calm = phase.true_since.is_some_and(|since| self.clock.elapsed(since, at) >= CALM);
            if calm {
                phase.restarts = restarts;
            }
            phase.true_since = None;
            phase.disturbed = Some((mark, reason));
        }
    }

    fn end_hook(&mut self, call: &str, outcome: HookOutcome, at: Timestamp) {
        let mark = self.clock.mark(at);
        if let Some(hook) = self.hooks.get_mut(call) {
            hook.outcome = Some(outcome);
        }
        if let Some(phase) = &mut self.phase {
            phase.deadline_from = mark;
        }
    }

    fn condition_met(&mut self, at: Timestamp) {
        let mark = self.clock.mark(at);
        self.promoted = false;
        if let Some(phase) = &mut self.phase {
            phase.met = phase.met.saturating_add(1);
            phase.met_at = Some(mark);
        }
    }

    fn settle(&mut self, phase: PhaseId, why: Why, at: Timestamp) {
        self.course = Course::Settling(why);
        (self.failure, self.stopped, self.abort, self.paused) = (None, None, None, None);
        (self.promoted, self.full) = (false, false);
        self.release_clock(at);
        self.enter(phase, BTreeMap::new(), at);
    }

    fn promote(&mut self, full: bool, at: Timestamp) {
        let blocked = self.blocked_hook().is_some();
        for hook in self.hooks.values_mut() {
            if matches!(hook.outcome, Some(HookOutcome::Unknown(_) | HookOutcome::Failed(_))) {
                hook.outcome = Some(HookOutcome::Succeeded);
            }
        }
        // It goes on past what it waits for: a hook, the reason it stopped for, or else the condition it stands at.
        let stopped = self.stopped.is_some() || self.failure.is_some();
        self.promoted = if stopped { self.measures_step() } else { !blocked };
        self.full |= full;
        self.begin_anew(stopped, at);
        if self.paused.take().is_some() {
            self.release_clock(at);
        }
    }

    /// Whether the condition it stands at is an analysis that has begun.
    fn measures_step(&self) -> bool {
        let key = self.phase.as_ref().map(|phase| AnalysisKey::step(phase.id, phase.met, self.retries));
        key.is_some_and(|key| self.analyses.contains_key(&key))
    }

    /// What stopped it is forgotten; deadlines, crash loops and analyses that would stop it again at once begin anew.
    fn begin_anew(&mut self, stopped: bool, at: Timestamp) {
        let mark = self.clock.mark(at);
        if let Some(phase) = &mut self.phase {
            phase.deadline_from = mark;
            phase.recount = true;
            if let Some((since, _)) = &mut phase.disturbed {
                *since = mark;
            }
        }
        if stopped {
            self.retries = self.retries.saturating_add(1);
        }
        self.forget_refusals();
        (self.failure, self.stopped, self.stable_passes) = (None, None, None);
    }

    fn retry(&mut self, at: Timestamp) {
        for hook in self.hooks.values_mut() {
            hook.again = matches!(hook.outcome, Some(HookOutcome::Failed(_) | HookOutcome::Unknown(_)));
        }
        self.begin_anew(true, at);
    }

    fn check(&self, event: &RolloutEvent) -> Result<(), IllegalTransition> {
        let refuse = |state: &str| Err(IllegalTransition { event: name(event), state: state.into() });
        if let Course::Ended(outcome) = &self.course {
            return refuse(&format!("it has ended ({outcome:?})"));
        }
        match event {
            RolloutEvent::PhaseEntered { phase, .. } if self.is_forward() => match &self.phase {
                Some(now) if phase.0 <= now.id.0 => refuse(&format!("phase {} is entered already", now.id.0)),
                _ if self.stopped.is_some() || self.failure.is_some() => refuse("it has failed or stopped"),
                Some(now) if now.became_true.is_none() && !self.full => refuse("the phase before was never true"),
                _ => Ok(()),
            },
            RolloutEvent::ActionStarted { .. } if self.phase.is_none() => refuse("no phase is entered"),
            RolloutEvent::ActionSucceeded {} | RolloutEvent::ActionFailed { .. } => match &self.action {
                Some(ActionState { result: None, .. }) => Ok(()),
                _ => refuse("no effect was started"),
            },
            RolloutEvent::PhaseTrue { phase }
            | RolloutEvent::PhaseDisturbed { phase, .. }
            | RolloutEvent::ConditionMet { phase, .. }
                if self.phase.as_ref().map(|now| now.id) != Some(*phase) =>
            {
                refuse("another phase is entered")
            }
            RolloutEvent::PhaseTrue { .. } if self.phase.as_ref().is_some_and(|now| now.true_since.is_some()) => {
                refuse("the phase is true already")
            }
            RolloutEvent::PhaseDisturbed { .. } if self.phase.as_ref().is_some_and(|now| now.true_since.is_none()) => {
                refuse("the phase is not true")
            }
            RolloutEvent::ConditionMet { index, .. } => match &self.phase {
                Some(now) if now.became_true.is_none() => refuse("the phase was never true"),
                Some(now) if now.met != *index => refuse(&format!("{} conditions are met", now.met)),
                _ => Ok(()),
            },
            RolloutEvent::HookStarted { call, attempt, .. } => match self.hooks.get(call) {
                Some(HookState { outcome: Some(HookOutcome::Succeeded), .. }) => refuse("the hook has succeeded"),
                Some(hook) if *attempt < hook.attempt => refuse("a later attempt was started"),
                _ => Ok(()),
            },
            RolloutEvent::HookEnded { call, .. } => match self.hooks.get(call) {
                Some(HookState { outcome: None, .. }) => Ok(()),
                Some(_) => refuse("the hook has ended already"),
                None => refuse("the hook was never started"),
            },
            RolloutEvent::AnalysisBegun { key, .. } if self.analyses.contains_key(key) => {
                refuse("it has begun already")
            }
            RolloutEvent::Measured { key, .. } if !self.analyses.contains_key(key) => refuse("it has not begun"),
            RolloutEvent::FullTraffic {} if self.full_traffic || !self.is_forward() => {
                refuse("it had it already or goes back")
            }
            RolloutEvent::Failed { .. } if !self.is_forward() => refuse("it is turning back already"),
            RolloutEvent::Failed { .. } if self.failure.is_some() => refuse("it has failed already"),
            RolloutEvent::StableChecked { .. } if self.failure.is_none() => refuse("nothing has failed"),
            RolloutEvent::SettleBegun { .. } if !self.is_forward() => refuse("it is turning back already"),
            RolloutEvent::Paused { .. } if self.paused.is_some() => refuse("it is paused already"),
            RolloutEvent::Resumed { .. } if self.paused.is_none() => refuse("it is not paused"),
            RolloutEvent::AbortRequested { .. } if !self.is_forward() => refuse("it is turning back already"),
            RolloutEvent::Recovered {} if self.stopped.is_none() => refuse("it has not stopped"),
            _ => Ok(()),
        }
    }
}

/// Whether a group gets every request, and gets it now.
fn has_all(traffic: &TrafficSet, group: &GroupId) -> bool {
    let mut weighted = traffic.backends.iter().filter(|(_, backend)| backend.weight > 0).map(|(group, _)| group);
    traffic.hold.is_none() && weighted.next() == Some(group) && weighted.next().is_none()
}

/// The event's name as it is written.
fn name(event: &RolloutEvent) -> String {
    match serde_json::to_value(event) {
        Ok(serde_json::Value::Object(map)) => map.keys().next().cloned().unwrap_or_default(),
        _ => format!("{event:?}"),
    }
}
