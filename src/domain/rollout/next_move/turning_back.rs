//! What turns a rollout back, and where that leads.

use super::{Move, Round};
use crate::domain::analysis::Measure;
use crate::domain::digest::Digest;
use crate::domain::id::Name;
use crate::domain::plan::PlanKind;
use crate::domain::rollback::{self, Case, Decision};
use crate::domain::rollout::event::{AnalysisKey, Failure, Outcome, RolloutEvent, Why};

impl Round<'_> {
    /// What turns a rollout back: somebody, something newer, or a failure.
    pub(super) fn turn_back(&self) -> Option<Move> {
        if let Some((by, reason)) = &self.state.abort {
            return Some(self.settle(Why::Aborted { by: by.clone(), reason: reason.clone() }));
        }
        if let Some(by) = &self.facts.superseded {
            return Some(self.supersede(by.clone()));
        }
        let failure = self.state.failure.as_ref().filter(|_| self.state.stopped.is_none())?;
        let forward_only = self.state.forward_only(self.plan);
        let case = Case {
            plan: self.plan,
            failure,
            forward_only: forward_only.as_deref(),
            observed: self.observed,
            stable_passes: self.state.stable_passes.as_ref().map(|(passes, detail)| (*passes, detail.as_str())),
            recent: self.facts.recent_rollbacks,
            cap: self.facts.rollback_cap,
            now: self.facts.now,
        };
        Some(match rollback::decide(&case) {
            Decision::Rollback(phase) => Move::Settle { phase, why: Why::Failed(failure.clone()) },
            Decision::Stop(reason) => Move::Record(RolloutEvent::Stopped { reason }),
            Decision::AskStable => self.check_stable(failure),
        })
    }

    fn check_stable(&self, failure: &Failure) -> Move {
        let name = failure.analysis.clone();
        let measured = name.as_ref().and_then(|name| self.plan.analyses.get(name)).map(|analysis| &analysis.measure);
        match (name, measured) {
            (Some(name), Some(Measure::Router(_))) => {
                let baseline = self.baseline_of(&name);
                Move::CheckStable { failure: failure.clone(), name, baseline }
            }
            // Other measures do not know of groups: what they say of one version they would say of the other.
            _ => Move::Record(RolloutEvent::StableChecked {
                passes: true,
                detail: "the analysis can't be asked of one version alone".into(),
            }),
        }
    }

    fn baseline_of(&self, name: &Name) -> Option<serde_json::Value> {
        let keys = self.keys_of(name);
        keys.iter().find_map(|key| self.state.analyses.get(key)).and_then(|tally| tally.baseline.clone())
    }

    fn keys_of(&self, name: &Name) -> Vec<AnalysisKey> {
        let gate = AnalysisKey::gate(name, self.state.retries);
        let step = self.state.phase.as_ref().map(|at| AnalysisKey::step(at.id, at.met, self.state.retries));
        step.into_iter().chain([gate]).collect()
    }

    pub(super) fn settle(&self, why: Why) -> Move {
        match self.plan.immediate() {
            Some(first) => Move::Settle { phase: first.id, why },
            None => Move::Record(RolloutEvent::Ended { outcome: why.into() }),
        }
    }

    /// Something else is wanted. Where only a rollout could be turned back, or the new version has taken over for good, or there is no way back, the next plan begins
    /// from what is there; otherwise the stable version gets its traffic back first.
    fn supersede(&self, by: Option<Digest>) -> Move {
        let healthy = self.state.phase.as_ref().is_some_and(|at| at.true_since.is_some());
        let took_over = self.state.full_traffic && healthy && self.state.failure.is_none();
        let back_to_stable = by.is_some() && by == self.plan.from;
        let stay = (took_over && !back_to_stable)
            || by.is_none()
            || self.plan.kind != PlanKind::Rollout
            || self.state.phase.is_none()
            || self.plan.stable.is_none()
            || self.state.forward_only(self.plan).is_some();
        if stay {
            Move::Record(RolloutEvent::Ended { outcome: Outcome::Superseded })
        } else {
            self.settle(Why::Superseded { by })
        }
    }
}
