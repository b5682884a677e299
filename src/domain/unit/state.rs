//! The state of a unit: what its events come to.

mod fold;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::held::Held;
use crate::domain::desired::Trigger;
use crate::domain::digest::Digest;
use crate::domain::id::{MoveId, Revision, RollbackId, RolloutId, UnitId};
use crate::domain::plan::HookCall;
use crate::domain::rollout::event::Outcome;
use crate::domain::rollout::state::RolloutState;

/// Everything that is remembered of one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitState {
    /// What Git's head asks for; `None` until it was seen first.
    pub candidate: Option<Candidate>,
    /// What is made true.
    pub effective: Option<Effective>,
    /// The last that passed everything.
    pub last_verified: Option<Verified>,
    /// The last that had all traffic, verified or not: where a failure of the next rollout leads back to.
    pub serving: Option<Verified>,
    /// The last that was made true of a unit of which nothing was verified yet: it tells where that is once Git has dropped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub begun: Option<Digest>,
    /// Why the effective state is not the candidate's.
    pub held: Vec<Held>,
    /// The rollout that is under way, or the last one.
    pub rollout: Option<RolloutState>,
    /// What was effective when that rollout began, and the restarts counted then: what it leads to. What is effective now may
    /// already be what comes after it.
    pub target: Option<(Effective, u32)>,
    /// How the last ones ended, the newest last; at most [`HISTORY`].
    pub history: Vec<Past>,
    /// States that are not rolled out again by themselves; at most [`QUARANTINED`].
    pub quarantine: BTreeMap<Digest, Quarantine>,
    /// The candidate whose rollout was called off.
    pub aborted: Option<Digest>,
    /// The rollback that is not yet settled with Git.
    pub rollback: Option<Rollback>,
    /// Automatic rollbacks, for the storm guard; at most [`HISTORY`].
    pub rollbacks: Vec<Timestamp>,
    /// Who suspended it and why, while it is.
    pub suspended: Option<(String, String)>,
    /// The commit at which somebody let held things go on.
    pub acked: Option<Revision>,
    /// How often an operator had all instances replaced.
    pub restarts: u32,
    /// It was taken over by its markers.
    pub adopted: Option<Digest>,
    /// It comes from a backup made then, and nothing was made true since.
    pub restored: Option<Timestamp>,
    /// It was renamed: nothing is done for it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// The last renaming by which it got what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<MoveId>,
    /// The old name that its workload and its routes still carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taking: Option<UnitId>,
}

/// A renaming that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moving {
    /// Which.
    pub id: MoveId,
    /// The new name.
    pub to: UnitId,
}

/// How many past rollouts and rollbacks are remembered.
pub const HISTORY: usize = 50;

/// How many states are held in quarantine.
pub const QUARANTINED: usize = 200;

/// What Git's head asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The commit.
    pub revision: Revision,
    /// What.
    pub wants: Wants,
    /// When it was seen first.
    pub seen: Timestamp,
}

/// What a candidate wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Wants {
    /// This to run.
    Run {
        /// The rendered digest.
        rendered: Digest,
        /// The release's version.
        version: String,
    },
    /// Nothing to run.
    Gone {
        /// What runs is removed; otherwise it is kept as it is.
        prune: bool,
    },
}

/// What is made true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// The commit.
    pub revision: Revision,
    /// The rendered digest; `None`: nothing runs.
    pub rendered: Option<Digest>,
}

/// The last that passed everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// The commit.
    pub revision: Revision,
    /// The rendered digest.
    pub rendered: Digest,
    /// The operator's restarts counted in its group's id.
    pub restarts: u32,
    /// When.
    pub at: Timestamp,
    /// Hooks that a rollback from it has to undo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<HookCall>,
    /// What was verified before it: where a rollback from it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Verified>>,
}

/// A rollout that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Past {
    /// Which.
    pub id: RolloutId,
    /// Its plan.
    pub plan: Digest,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// The commit that it was to make true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// When the version before had all traffic again, where it went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_back: Option<Timestamp>,
    /// What it healed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// Why a state is not rolled out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantine {
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// A rollback on its way into Git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Which.
    pub id: RollbackId,
    /// What failed; `None`: an operator asked for it.
    pub trigger: Option<Trigger>,
    /// Why, for people.
    pub reason: String,
    /// From which rendered digest.
    pub bad: Digest,
    /// The commit that brought it.
    pub bad_revision: Revision,
    /// To which.
    pub good: Digest,
    /// The commit that it stood in.
    pub good_revision: Revision,
    /// When it was decided.
    pub at: Timestamp,
    /// How far it is.
    pub status: RollbackStatus,
    /// When the version that is gone back to had all traffic; `None` until then, and where it never lost any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_back: Option<Timestamp>,
}

/// How far a rollback is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RollbackStatus {
    /// Nothing stands in Git.
    Decided,
    /// The commit is made but nobody else has it.
    Committed {
        /// It.
        revision: Revision,
    },
    /// The commit is on the branch.
    Pushed {
        /// It.
        revision: Revision,
    },
    /// People must act.
    Held {
        /// Why.
        reason: String,
        /// Where the commit was pushed instead.
        branch: Option<String>,
    },
}

impl UnitState {
    /// The desired state that tells where the unit is: what is made true, or else what served or was verified last, or was begun.
    pub fn present(&self) -> Option<&Digest> {
        let effective = self.effective.as_ref().and_then(|effective| effective.rendered.as_ref());
        let former = || self.serving.as_ref().or(self.last_verified.as_ref()).map(|verified| &verified.rendered);
        effective.or_else(former).or(self.begun.as_ref())
    }

    /// The rollout that is under way.
    pub fn running(&self) -> Option<&RolloutState> {
        self.rollout.as_ref().filter(|rollout| rollout.outcome().is_none())
    }
}
