//! The next move of a rollout.

use jiff::Timestamp;

use super::event::{AnalysisKey, Failure, Outcome, RolloutEvent, Why};
use crate::domain::action::Action;
use crate::domain::digest::Digest;
use crate::domain::id::{Name, RunId};
use crate::domain::plan::{HookCall, PhaseId};

/// What is to be done next. Each leads to an event; the executor appends it, folds it, and asks again.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Something else is wanted by now: its rendered digest, `Some(None)` for nothing at all.
    pub superseded: Option<Option<Digest>>,
    /// When the environment's last automatic rollbacks were decided.
    pub recent_rollbacks: &'a [Timestamp],
    /// How many automatic rollbacks an environment may have in an hour.
    pub rollback_cap: u32,
}
