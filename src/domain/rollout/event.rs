//! What happens in a rollout, as the journal keeps it.
//!
//! Part of [`crate::domain::unit::event::UnitEvent`], which is what is stored and versioned. When something happened is kept
//! beside each event by the journal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::action::Action;
use crate::domain::analysis::Measurement;
use crate::domain::desired::Trigger;
use crate::domain::digest::Digest;
use crate::domain::id::{Name, RunId};
use crate::domain::plan::PhaseId;

/// One event. Fields are only added, with defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RolloutEvent {
    /// A phase is entered; from now on it is what is made true.
    PhaseEntered {
        /// Which.
        phase: PhaseId,
        /// How often each instance of the target had been restarted by then: crash loops are counted from here.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        restarts: BTreeMap<String, u32>,
    },
    /// An effect is about to be tried. Durable before it.
    ActionStarted {
        /// Which.
        action: Action,
    },
    /// The effect that was started is there.
    ActionSucceeded {},
    /// The effect that was started failed; it is tried again.
    ActionFailed {
        /// Why.
        reason: String,
        /// What was asked for is wrong in itself: waiting changes nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        for_good: bool,
    },
    /// The phase is true, for the first time or again.
    PhaseTrue {
        /// Which.
        phase: PhaseId,
    },
    /// The phase was true and is not any more.
    PhaseDisturbed {
        /// Which.
        phase: PhaseId,
        /// What is wrong.
        reason: String,
        /// How often each instance of the target has been restarted.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        restarts: BTreeMap<String, u32>,
    },
    /// Somebody had it tried again: crash loops are counted from here.
    Recounted {
        /// How often each instance of the target has been restarted.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        restarts: BTreeMap<String, u32>,
    },
    /// A hook is about to be started. Durable before it.
    HookStarted {
        /// Its place in the plan ([`crate::domain::plan::HookCall::at`]).
        call: String,
        /// Its run.
        run: RunId,
        /// 1 for the first.
        attempt: u32,
    },
    /// A hook has ended.
    HookEnded {
        /// Its place in the plan.
        call: String,
        /// How.
        outcome: HookOutcome,
    },
    /// An analysis begins.
    AnalysisBegun {
        /// Which.
        key: AnalysisKey,
        /// What the measuring side needs to know later about this moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        baseline: Option<serde_json::Value>,
    },
    /// A measurement was taken.
    Measured {
        /// Of which analysis.
        key: AnalysisKey,
        /// What it said.
        measurement: Measurement,
    },
    /// A condition for leaving the phase is met.
    ConditionMet {
        /// The phase.
        phase: PhaseId,
        /// Which, from 0.
        index: u32,
    },
    /// The new version has all traffic for the first time.
    FullTraffic {},
    /// The new version is bad, as far as can be told.
    Failed {
        /// How.
        failure: Failure,
    },
    /// Whether the stable version passes the same check that the new one failed.
    StableChecked {
        /// It does.
        passes: bool,
        /// What was seen.
        detail: String,
    },
    /// The rollout stops where it is, keeps its phase true, and waits for somebody.
    Stopped {
        /// Why.
        reason: String,
    },
    /// The rollout turns back.
    SettleBegun {
        /// The first settle phase.
        phase: PhaseId,
        /// Why.
        why: Why,
    },
    /// It does not advance until it is resumed.
    Paused {
        /// By whom.
        by: String,
    },
    /// It goes on.
    Resumed {
        /// By whom.
        by: String,
    },
    /// Somebody lets it go on: past the pause it waits at, past a hook whose end nobody knows, past the reason it stopped for.
    Promoted {
        /// By whom.
        by: String,
        /// Past every step that is left, up to full traffic.
        full: bool,
    },
    /// Somebody calls it off.
    AbortRequested {
        /// By whom.
        by: String,
        /// Why, in their words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Somebody lets what stopped it be tried again.
    Retried {
        /// By whom.
        by: String,
    },
    /// What it stopped for is gone without anybody's doing, and has been for long enough: it goes on.
    Recovered {},
    /// It is over.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookOutcome {
    /// With exit code 0, or because somebody said so.
    Succeeded,
    /// It failed; how.
    Failed(String),
    /// Nobody knows; why.
    Unknown(String),
}

/// One analysis within a rollout: `gate/errors/1`, `step/2/0/1`. The last number counts the operator's retries.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AnalysisKey(pub String);

impl AnalysisKey {
    /// Of a gate, which is the same in all phases that name it.
    pub fn gate(name: &Name, attempt: u32) -> Self {
        AnalysisKey(format!("gate/{name}/{attempt}"))
    }

    /// Of a condition.
    pub fn step(phase: PhaseId, index: u32, attempt: u32) -> Self {
        AnalysisKey(format!("step/{}/{index}/{attempt}", phase.0))
    }
}

/// What went wrong with the new version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its kind.
    pub trigger: Trigger,
    /// The phase it happened in.
    pub phase: PhaseId,
    /// What was seen, for people.
    pub reason: String,
    /// The analysis that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Name>,
}

/// Why a rollout turned back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Why {
    /// The new version is bad.
    Failed(Failure),
    /// Somebody called it off.
    Aborted {
        /// Who.
        by: String,
        /// Their words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Something else is wanted by now.
    Superseded {
        /// The rendered digest of it; `None`: nothing shall run any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Digest>,
    },
}

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Outcome {
    /// All of it is done and held for as long as it was watched.
    Verified,
    /// The new version was bad; the stable one has the traffic again.
    RolledBack(Failure),
    /// Somebody called it off; the stable version has the traffic again.
    Aborted {
        /// Who.
        by: String,
        /// Their words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// Something else is wanted by now.
    Superseded,
}

impl From<Why> for Outcome {
    fn from(why: Why) -> Self {
        match why {
            Why::Failed(failure) => Outcome::RolledBack(failure),
            Why::Aborted { by, reason } => Outcome::Aborted { by, reason },
            Why::Superseded { .. } => Outcome::Superseded,
        }
    }
}
