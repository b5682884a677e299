//! The next move of a rollout.

mod conditions;
mod turning_back;

use std::collections::BTreeMap;

use jiff::Timestamp;

use self::conditions::Step;
use super::event::{AnalysisKey, Failure, Outcome, RolloutEvent, Why};
use super::state::{Course, PhaseState, RolloutState};
use super::{clock, health, hooks};
use crate::domain::action::{Achieved, Action, achieved};
use crate::domain::converge::{self, Converge, WaitKind, Waiting};
use crate::domain::desired::Trigger;
use crate::domain::digest::Digest;
use crate::domain::id::{Name, RunId};
use crate::domain::observed::ObservedUnit;
use crate::domain::plan::{HookCall, Phase, PhaseId, Plan};
use crate::domain::rollback::{self};
use crate::domain::span::Span;

/// What is to be done next. Each leads to an event; the executor appends it, folds it, and asks again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, and boxing would make every match of it worse to read"
)]
pub enum Move {
    /// Append [`RolloutEvent::ActionStarted`], perform it, append [`RolloutEvent::ActionSucceeded`] or
    /// [`RolloutEvent::ActionFailed`]. Safe to repeat.
    Perform(Action),
    /// Append [`RolloutEvent::HookStarted`], then start the run under this id, which starts nothing where the id is known.
    StartRun {
        /// Its place in the plan and what runs.
        call: HookCall,
        /// Its run.
        run: RunId,
        /// 1 for the first.
        attempt: u32,
    },
    /// Append this.
    Record(RolloutEvent),
    /// Note the counters if that is needed, append [`RolloutEvent::AnalysisBegun`].
    BeginAnalysis {
        /// Which.
        key: AnalysisKey,
        /// Its name in the plan.
        name: Name,
    },
    /// Measure, append [`RolloutEvent::Measured`]. What cannot be measured is a measurement too: an inconclusive one.
    Measure {
        /// Which.
        key: AnalysisKey,
        /// Its name in the plan.
        name: Name,
        /// What was noted down when it began.
        baseline: Option<serde_json::Value>,
    },
    /// Measure the stable group by the analysis that failed, append [`RolloutEvent::StableChecked`].
    CheckStable {
        /// What failed.
        failure: Failure,
        /// The analysis by name.
        name: Name,
        /// What was noted down when it began.
        baseline: Option<serde_json::Value>,
    },
    /// Append [`RolloutEvent::SettleBegun`], with whatever the unit must know about it before.
    Settle {
        /// The first settle phase.
        phase: PhaseId,
        /// Why.
        why: Why,
    },
    /// Nothing until then, or until something observed changes.
    Wait {
        /// When to ask again at the latest.
        until: Option<Timestamp>,
        /// What it waits for, for people.
        reason: String,
    },
    /// An effect that failed is tried again then, or when somebody asks for it.
    TryAgain {
        /// When.
        at: Timestamp,
        /// Which, why, and how often it was tried, for people.
        reason: String,
    },
    /// Nothing until somebody decides.
    Stuck(String),
    /// It is over.
    Done(Outcome),
}

/// What the next move depends on beyond journal, plan and observation.
#[derive(Clone, Debug)]
pub struct MoveFacts<'a> {
    /// What time it is.
    pub now: Timestamp,
    /// When somebody asked last that what waits for its next try is tried at once.
    pub asked: Option<Timestamp>,
    /// Something else is wanted by now: its rendered digest, `Some(None)` for nothing at all.
    pub superseded: Option<Option<Digest>>,
    /// When the environment's last automatic rollbacks were decided.
    pub recent_rollbacks: &'a [Timestamp],
    /// How many automatic rollbacks an environment may have in an hour.
    pub rollback_cap: u32,
}

/// The next move. It is the same whenever it is asked with the same arguments, and asking changes nothing.
pub fn next_move(plan: &Plan, state: &RolloutState, observed: &ObservedUnit, facts: &MoveFacts<'_>) -> Move {
    Round { plan, state, observed, facts }.decide()
}

/// How often an instance of the target may be restarted in a phase before it counts as a crash loop.
const CRASH_LOOP: u32 = 3;

/// From the first repetition of an effect to the next; doubled each time.
const FIRST_RETRY: Span = Span::from_secs(1);

/// So often is it tried to go back before something newer that waits has its turn.
const ENOUGH_FOR_NEWER: u32 = 3;

/// Effects are repeated at least this often.
const LAST_RETRY: Span = Span::from_secs(30);

/// How long a first look at an effect may still show what was before: planes that confirm late.
const CONFIRM: Span = Span::from_millis(200);

/// One decision.
struct Round<'a> {
    plan: &'a Plan,
    state: &'a RolloutState,
    observed: &'a ObservedUnit,
    facts: &'a MoveFacts<'a>,
}

impl Round<'_> {
    fn decide(&self) -> Move {
        if let Course::Ended(outcome) = &self.state.course {
            return Move::Done(outcome.clone());
        }
        if let Some(event) = self.finished_action() {
            return Move::Record(event);
        }
        if self.state.is_forward()
            && let Some(turn) = self.turn_back()
        {
            return turn;
        }
        if let Some(next) = hooks::after_failure(self.plan, self.state, self.observed) {
            return next;
        }
        let Some(at) = &self.state.phase else { return self.enter(0) };
        let Some(phase) = self.plan.phase(at.id) else {
            return Move::Stuck(format!("the plan has no phase {}: it is not the plan of this rollout", at.id.0));
        };
        self.hurry(phase, at)
            .or_else(|| hooks::of_phase(self.state, self.observed, phase))
            .or_else(|| self.judge(phase, at))
            .unwrap_or_else(|| self.converge(phase, at))
    }

    /// On the way back step by step: all of it at once when the new version breaks, or when a step does not come about in time.
    fn hurry(&self, phase: &Phase, at: &PhaseState) -> Option<Move> {
        if self.state.is_forward() || !self.plan.is_gradual(phase.id) {
            return None;
        }
        let late = at.true_since.is_none() && self.deadline(phase, at).is_some_and(|due| due <= self.facts.now);
        let broken = !converge::unready_target(self.plan, phase, self.observed).is_empty();
        let immediate = self.plan.immediate().filter(|_| late || broken)?;
        Some(Move::Record(RolloutEvent::PhaseEntered { phase: immediate.id, restarts: BTreeMap::new() }))
    }

    /// The effect that was started and never written down: look first.
    fn finished_action(&self) -> Option<RolloutEvent> {
        let open = self.state.action.as_ref().filter(|action| action.result.is_none())?;
        (achieved(&open.action, self.observed) == Achieved::Yes).then_some(RolloutEvent::ActionSucceeded {})
    }

    fn enter(&self, place: usize) -> Move {
        let ended = |outcome| Move::Record(RolloutEvent::Ended { outcome });
        if let (Some(by), None) = (&self.state.paused, &self.state.phase) {
            return Move::Wait { until: None, reason: format!("paused by {by}") };
        }
        match (&self.state.course, self.plan.phases.get(place)) {
            (Course::Forward, None) => ended(Outcome::Verified),
            (_, None) => ended(Outcome::Superseded),
            (_, Some(phase)) => Move::Record(RolloutEvent::PhaseEntered {
                phase: phase.id,
                restarts: health::restarts(self.plan, self.observed),
            }),
        }
    }

    /// What speaks against the new version, before anything more is done for it.
    fn judge(&self, phase: &Phase, at: &PhaseState) -> Option<Move> {
        if !self.state.is_forward() || self.state.stopped.is_some() || self.state.failure.is_some() {
            return None;
        }
        let failed = |failure| Move::Record(RolloutEvent::Failed { failure });
        if at.recount {
            return Some(Move::Record(RolloutEvent::Recounted {
                restarts: health::restarts(self.plan, self.observed),
            }));
        }
        if let Some(reason) = health::crash_loop(self.plan, phase, at, self.observed, CRASH_LOOP) {
            return Some(failed(self.failure(Trigger::Unhealthy, at, reason, None)));
        }
        if let Some(reason) = health::refused(self.plan, phase, self.state.action.as_ref()) {
            return Some(failed(self.failure(Trigger::Unhealthy, at, reason, None)));
        }
        if let Some((call, reason)) = hooks::failed(self.state, phase) {
            let reason = format!("hook {} failed: {reason}", call.name());
            return Some(failed(self.failure(Trigger::Hook, at, reason, None)));
        }
        phase.gate.iter().find_map(|name| {
            let key = AnalysisKey::gate(name, self.state.retries);
            self.analyse(&key, name, at, true).and_then(|step| match step {
                Step::Act(next) => Some(next),
                Step::Passed | Step::Later(_) => None,
            })
        })
    }

    /// Makes the phase true, keeps it true, and sees whether it may be left.
    fn converge(&self, phase: &Phase, at: &PhaseState) -> Move {
        let overdue = self.deadline(phase, at).is_some_and(|due| due <= self.facts.now);
        match converge::next_action(self.plan, phase, self.observed, overdue) {
            Converge::Unknown(reason) => Move::Wait { until: None, reason: format!("unknown: {reason}") },
            Converge::Do(action) => {
                let noted = self.disturbed(at, &format!("has to {action}")).or_else(|| self.give_up(&action, overdue));
                noted.unwrap_or_else(|| self.perform(action))
            }
            Converge::Wait(waiting) => self.wait(phase, at, &waiting),
            Converge::True if at.true_since.is_none() => Move::Record(RolloutEvent::PhaseTrue { phase: at.id }),
            Converge::True => self.advance(phase, at),
        }
    }

    /// On the way back, a group that can't be made is left to healing, which anything newer may interrupt: soon where something newer
    /// waits already, else when it took too long.
    fn give_up(&self, action: &Action, overdue: bool) -> Option<Move> {
        let Course::Settling(why) = &self.state.course else { return None };
        let last = self.state.action.as_ref().filter(|last| last.action == *action)?;
        let fails = matches!(action, Action::EnsureGroup { .. }) && matches!(last.result, Some(Err(_)));
        let enough = overdue || (matches!(why, Why::Superseded { .. }) && last.attempts >= ENOUGH_FOR_NEWER);
        (fails && enough).then(|| Move::Record(RolloutEvent::Ended { outcome: why.clone().into() }))
    }

    fn perform(&self, action: Action) -> Move {
        let Some(last) = self.state.action.as_ref().filter(|last| last.action == action) else {
            return Move::Perform(action);
        };
        let (Some(result), Some(ended)) = (&last.result, last.ended) else { return Move::Perform(action) };
        let pause = if result.is_ok() && last.attempts == 1 { CONFIRM } else { backoff(last.attempts) };
        // Asked for since that try was begun; who asks again and again is not followed without end.
        let hurried = self.facts.asked.is_some_and(|asked| asked >= last.started);
        let pause = if hurried { pause.min(FIRST_RETRY) } else { pause };
        let due = clock::after(ended, pause);
        if due <= self.facts.now {
            return Move::Perform(action);
        }
        let reason = match result {
            Ok(()) => return Move::Wait { until: Some(due), reason: format!("{action}: not confirmed yet") },
            Err(reason) if last.attempts == 1 => format!("{action}: {reason}; it is tried again"),
            Err(reason) => format!("{action}: {reason}; tried {} times, and again {pause} later", last.attempts),
        };
        Move::TryAgain { at: due, reason }
    }

    /// A phase that was true and is not: written down once.
    fn disturbed(&self, at: &PhaseState, reason: &str) -> Option<Move> {
        at.true_since?;
        Some(Move::Record(RolloutEvent::PhaseDisturbed {
            phase: at.id,
            reason: reason.to_owned(),
            restarts: health::restarts(self.plan, self.observed),
        }))
    }

    fn wait(&self, phase: &Phase, at: &PhaseState, waiting: &Waiting) -> Move {
        if let Some(noted) = self.disturbed(at, &waiting.reason) {
            return noted;
        }
        let decided = self.state.stopped.is_some() || self.state.failure.is_some();
        let due = if waiting.kind == WaitKind::Ready { self.deadline(phase, at) } else { None };
        let judged = self.state.is_forward() && !decided;
        match due {
            Some(due) if judged && due <= self.facts.now => {
                let since = match &at.disturbed {
                    Some(_) => "was ready and is not any more".to_owned(),
                    None => format!("not ready within {}", phase.deadline.unwrap_or_default()),
                };
                let reason = format!("{since}: {}", waiting.reason);
                Move::Record(RolloutEvent::Failed { failure: self.failure(Trigger::Unhealthy, at, reason, None) })
            }
            // On the way back, after all that time: what is left to do is healing, which anything newer may interrupt.
            Some(due) if due <= self.facts.now && waiting.kind == WaitKind::Ready => match &self.state.course {
                Course::Settling(why) => Move::Record(RolloutEvent::Ended { outcome: why.clone().into() }),
                _ => self.or_stuck(Move::Wait { until: self.earlier(None, phase, at), reason: waiting.reason.clone() }),
            },
            due => self.or_stuck(Move::Wait {
                until: self.earlier(due.filter(|due| *due > self.facts.now), phase, at),
                reason: waiting.reason.clone(),
            }),
        }
    }

    /// When a phase that is not true has failed.
    fn deadline(&self, phase: &Phase, at: &PhaseState) -> Option<Timestamp> {
        health::deadline(self.plan, phase, at, self.observed, &self.state.clock, self.facts.now)
    }

    fn failure(&self, trigger: Trigger, at: &PhaseState, reason: String, analysis: Option<Name>) -> Failure {
        Failure { trigger, phase: at.id, reason, analysis }
    }

    /// A wait, or what it is stuck for.
    fn or_stuck(&self, wait: Move) -> Move {
        match &self.state.stopped {
            Some(reason) if self.state.is_forward() => Move::Stuck(reason.clone()),
            _ => wait,
        }
    }

    /// The phase is true: what is left until the next.
    fn advance(&self, phase: &Phase, at: &PhaseState) -> Move {
        if !self.state.is_forward() {
            let Some(condition) = phase.advance.get(at.met as usize) else { return self.settled(phase) };
            let met = RolloutEvent::ConditionMet { phase: at.id, index: at.met };
            return self.condition(phase, at, condition).unwrap_or(Move::Record(met));
        }
        if !self.state.full_traffic && self.has_full_traffic(phase) {
            return Move::Record(RolloutEvent::FullTraffic {});
        }
        if let Some(reason) = &self.state.stopped {
            return self.stopped(reason, at);
        }
        if self.state.full
            && let Some(next) = self.jump(phase)
        {
            return self.enter(next);
        }
        if let Some(condition) = phase.advance.get(at.met as usize)
            && let Some(waiting) = self.condition(phase, at, condition)
        {
            return waiting;
        }
        if (at.met as usize) < phase.advance.len() {
            return Move::Record(RolloutEvent::ConditionMet { phase: at.id, index: at.met });
        }
        if let Some(by) = &self.state.paused {
            return Move::Wait { until: self.earlier(None, phase, at), reason: format!("paused by {by}") };
        }
        self.gates_open(phase, at).unwrap_or_else(|| self.enter(at.id.0 as usize + 1))
    }

    /// It has stopped in a phase that is true. What it stopped for because instances were not healthy is gone then, whatever
    /// brought it about (a database that came back); everything else is for people to judge.
    fn stopped(&self, reason: &str, at: &PhaseState) -> Move {
        let unhealthy = self.state.failure.as_ref().is_some_and(|failure| failure.trigger == Trigger::Unhealthy);
        let storm = rollback::storm(self.facts.recent_rollbacks, self.facts.rollback_cap, self.facts.now);
        let Some(since) = at.true_since.filter(|_| unhealthy && storm.is_none()) else {
            return Move::Stuck(reason.to_owned());
        };
        let steady = self.state.steady();
        if self.state.clock.elapsed(since, self.facts.now) >= steady {
            return Move::Record(RolloutEvent::Recovered {});
        }
        Move::Wait {
            until: self.state.clock.due(since, steady, self.facts.now),
            reason: format!("healthy again: it goes on by itself once that has held for {steady}"),
        }
    }

    /// On the way back: the next settle phase, or the end.
    fn settled(&self, phase: &Phase) -> Move {
        let place = self.plan.settle.iter().position(|settle| settle.id == phase.id).unwrap_or(usize::MAX - 1);
        match (self.plan.settle.get(place + 1), &self.state.course) {
            (Some(next), _) => Move::Record(RolloutEvent::PhaseEntered { phase: next.id, restarts: BTreeMap::new() }),
            (None, Course::Settling(why)) => Move::Record(RolloutEvent::Ended { outcome: why.clone().into() }),
            (None, _) => Move::Stuck("the rollout stands in a phase to settle in without having turned back".into()),
        }
    }

    /// Whether all traffic is on the new version in a phase; without a route, whether only it runs.
    fn has_full_traffic(&self, phase: &Phase) -> bool {
        let Some(target) = &self.plan.target else { return false };
        match &phase.traffic {
            Some(goal) => goal.hold.is_none() && goal.backends.len() == 1 && goal.backends.contains_key(target),
            None if phase.unready => false,
            None => {
                let whole = self.plan.phases.last().and_then(|last| last.groups.get(target));
                phase.groups.len() == 1 && whole.is_some() && phase.groups.get(target) == whole
            }
        }
    }

    /// Where a full promotion leads: the first phase ahead with all traffic on the new version.
    fn jump(&self, phase: &Phase) -> Option<usize> {
        if self.has_full_traffic(phase) {
            return None;
        }
        let ahead = phase.id.0 as usize + 1;
        let offset = self.plan.phases.get(ahead..)?.iter().position(|phase| self.has_full_traffic(phase))?;
        Some(ahead + offset)
    }
}

fn backoff(attempts: u32) -> Span {
    let doubled = FIRST_RETRY.as_millis().saturating_mul(1 << attempts.saturating_sub(1).min(10));
    Span::from_millis(doubled.min(LAST_RETRY.as_millis()))
}
