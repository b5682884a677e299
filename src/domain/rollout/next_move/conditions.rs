//! What a phase waits for before it is left: times that pass, people, analyses and gates.

use jiff::Timestamp;

use super::{Move, Round};
use crate::domain::analysis;
use crate::domain::desired::Trigger;
use crate::domain::id::Name;
use crate::domain::plan::{Condition, Phase};
use crate::domain::rollout::event::{AnalysisKey, RolloutEvent};
use crate::domain::rollout::state::PhaseState;
use crate::domain::span::Span;

impl Round<'_> {
    /// What a condition still waits for; `None`: it is met.
    pub(super) fn condition(&self, phase: &Phase, at: &PhaseState, condition: &Condition) -> Option<Move> {
        // A watch begins anew whenever the phase was not true; the others go on.
        let since = match condition {
            Condition::Watch(_) => [at.met_at, at.true_since].into_iter().flatten().max_by_key(|mark| mark.at)?,
            _ => at.met_at.or(at.became_true)?,
        };
        let passed = |span: &Span| self.state.clock.elapsed(since, self.facts.now) >= *span;
        let until = |span: &Span| self.earlier(self.state.clock.due(since, *span, self.facts.now), phase, at);
        let waits =
            |span: &Span, reason: String| Some(Move::Wait { until: until(span), reason: self.or_paused(reason) });
        match condition {
            Condition::Pause(_) if self.state.promoted || self.state.full => None,
            Condition::Analysis(_) if self.state.promoted => None,
            Condition::Delay(_) if self.state.full && !self.has_full_traffic(phase) => None,
            Condition::Delay(span) | Condition::Pause(Some(span)) | Condition::Watch(span) if passed(span) => None,
            Condition::Delay(span) => waits(span, format!("{}: waits {span}", phase.name)),
            Condition::Watch(span) => waits(span, format!("watched for {span}")),
            Condition::Pause(Some(span)) => waits(span, format!("{}: pauses {span}, or until promoted", phase.name)),
            Condition::Pause(None) => Some(Move::Wait {
                until: self.earlier(None, phase, at),
                reason: self.or_paused(format!("{}: waits until promoted", phase.name)),
            }),
            Condition::Analysis(name) => {
                let key = AnalysisKey::step(at.id, at.met, self.state.retries);
                match self.analyse(&key, name, at, false)? {
                    Step::Act(next) => Some(next),
                    Step::Passed => None,
                    Step::Later(due) => Some(Move::Wait {
                        until: self.earlier(Some(due), phase, at),
                        reason: self.progress(name, &key),
                    }),
                }
            }
        }
    }

    pub(super) fn or_paused(&self, reason: String) -> String {
        self.state.paused.as_ref().map_or(reason, |by| format!("paused by {by}"))
    }

    pub(super) fn progress(&self, name: &Name, key: &AnalysisKey) -> String {
        let tally = self.state.analyses.get(key);
        let count = self.plan.analyses.get(name).map_or(0, |analysis| analysis.count.max(1));
        let (done, said) = tally.map_or((0, "nothing was measured"), |tally| (tally.successes, tally.detail()));
        format!("analysis {name}: {done} of {count} measurements succeeded; {said}")
    }

    /// The last phase that a gate stands in is not left before it has succeeded.
    pub(super) fn gates_open(&self, phase: &Phase, at: &PhaseState) -> Option<Move> {
        let next = self.plan.phases.get(at.id.0 as usize + 1);
        let ending = phase.gate.iter().filter(|name| next.is_none_or(|next| !next.gate.contains(name)));
        ending.into_iter().find_map(|name| {
            let key = AnalysisKey::gate(name, self.state.retries);
            let verdict = self.plan.analyses.get(name).zip(self.state.analyses.get(&key));
            match verdict.and_then(|(analysis, tally)| tally.verdict(analysis)) {
                Some(analysis::Outcome::Success) => None,
                _ => Some(Move::Wait { until: self.earlier(None, phase, at), reason: self.progress(name, &key) }),
            }
        })
    }

    /// One step of an analysis. A gate is measured on after it has succeeded: what fails later counts too.
    pub(super) fn analyse(&self, key: &AnalysisKey, name: &Name, at: &PhaseState, gate: bool) -> Option<Step> {
        let analysis = self.plan.analyses.get(name)?;
        let Some(tally) = self.state.analyses.get(key) else {
            at.became_true?;
            return Some(Step::Act(Move::BeginAnalysis { key: key.clone(), name: name.clone() }));
        };
        let said = format!("analysis {name}: {}", tally.detail());
        let due = tally.due(analysis);
        Some(match tally.verdict(analysis) {
            Some(analysis::Outcome::Failure) => Step::Act(Move::Record(RolloutEvent::Failed {
                failure: self.failure(Trigger::Analysis, at, said, Some(name.clone())),
            })),
            Some(analysis::Outcome::Inconclusive) => Step::Act(Move::Record(RolloutEvent::Stopped {
                reason: format!("{said}; nothing could be concluded, so nothing is promoted: retry, promote or abort"),
            })),
            Some(analysis::Outcome::Success) if !gate => Step::Passed,
            _ if due <= self.facts.now => {
                Step::Act(Move::Measure { key: key.clone(), name: name.clone(), baseline: tally.baseline.clone() })
            }
            _ => Step::Later(due),
        })
    }

    /// The earlier of an instant and the next measurement of a gate.
    pub(super) fn earlier(&self, until: Option<Timestamp>, phase: &Phase, at: &PhaseState) -> Option<Timestamp> {
        let gates = phase.gate.iter().filter_map(|name| {
            match self.analyse(&AnalysisKey::gate(name, self.state.retries), name, at, true) {
                Some(Step::Later(due)) => Some(due),
                _ => None,
            }
        });
        gates.chain(until).min()
    }
}

/// Where an analysis stands.
#[expect(clippy::large_enum_variant, reason = "one lives at a time")]
pub(super) enum Step {
    /// This must be done.
    Act(Move),
    /// It has succeeded.
    Passed,
    /// The next measurement is due then.
    Later(Timestamp),
}
