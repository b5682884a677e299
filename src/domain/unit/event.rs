//! What happens to a unit, as the journal keeps it: versioned, and upcast when it is read.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::held::Held;
use super::state::UnitState;
use crate::domain::desired::Trigger;
use crate::domain::digest::Digest;
use crate::domain::id::{GroupId, MoveId, Revision, RollbackId, RolloutId, UnitId};
use crate::domain::omit;
use crate::domain::plan::{HookCall, PlanKind};
use crate::domain::rollout::event::RolloutEvent;

/// The version in which events are written.
pub const VERSION: u32 = 1;

/// One event. Fields are only added, with defaults; anything else raises [`VERSION`] and adds an upcaster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum UnitEvent {
    /// Git's head asks for this.
    CandidateSeen {
        /// The commit.
        revision: Revision,
        /// The rendered digest.
        rendered: Digest,
        /// The release's version.
        version: String,
    },
    /// Git's head asks for nothing any more.
    CandidateGone {
        /// The commit.
        revision: Revision,
        /// What runs is removed; otherwise it is kept as it is.
        prune: bool,
    },
    /// What is made true from now on.
    EffectiveSet {
        /// The commit.
        revision: Revision,
        /// The rendered digest; `None`: nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rendered: Option<Digest>,
    },
    /// What keeps the candidate from becoming effective; empty: nothing any more.
    HeldChanged {
        /// All of it.
        held: Vec<Held>,
    },
    /// A rollout begins.
    RolloutStarted {
        /// Which.
        id: RolloutId,
        /// The digest of its plan.
        plan: Digest,
        /// What it is for.
        kind: PlanKind,
        /// The rendered digest it leads to; `None` for a removal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Digest>,
        /// The group that has all traffic again once the way back is gone: what is stable, or where a rollback leads.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<GroupId>,
        /// What it heals, and who is said to have done it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cause: Option<String>,
    },
    /// Something happened in it.
    Rollout(RolloutEvent),
    /// This passed everything: it is what a rollback goes back to.
    Verified {
        /// The commit.
        revision: Revision,
        /// The rendered digest.
        rendered: Digest,
        /// The operator's restarts counted in its group's id.
        #[serde(default, skip_serializing_if = "omit::is_zero")]
        restarts: u32,
        /// Hooks that a rollback from it has to undo.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undo: Vec<HookCall>,
    },
    /// Nothing runs any more, as it should be.
    Removed {},
    /// This state is not rolled out again by itself.
    Quarantined {
        /// The rendered digest.
        rendered: Digest,
        /// Why.
        reason: String,
    },
    /// It may be rolled out again.
    QuarantineCleared {
        /// The rendered digest.
        rendered: Digest,
        /// By whom.
        by: String,
    },
    /// A rollback is decided; durable before traffic moves.
    RollbackDecided {
        /// Which; stands in the commit that records it.
        id: RollbackId,
        /// What failed; `None`: an operator asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trigger: Option<Trigger>,
        /// Why, for people.
        reason: String,
        /// From which rendered digest.
        bad: Digest,
        /// The commit that brought it.
        bad_revision: Revision,
        /// To which.
        good: Digest,
        /// The commit that it stood in.
        good_revision: Revision,
    },
    /// The commit that records it is made.
    RollbackCommitted {
        /// Which.
        id: RollbackId,
        /// The commit.
        revision: Revision,
    },
    /// The commit is on the branch.
    RollbackPushed {
        /// Which.
        id: RollbackId,
        /// The commit.
        revision: Revision,
    },
    /// It can't be recorded by itself; people must.
    RollbackHeld {
        /// Which.
        id: RollbackId,
        /// Why.
        reason: String,
        /// The branch that the commit was pushed to instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        branch: Option<String>,
    },
    /// Git asks for what runs again, or for something newer.
    RollbackSettled {
        /// Which.
        id: RollbackId,
        /// The commit at which that was seen.
        revision: Revision,
    },
    /// Nothing is done until it is unsuspended.
    Suspended {
        /// By whom.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// It goes on.
    Unsuspended {
        /// By whom.
        by: String,
    },
    /// Somebody has seen what holds it (rewritten history, a mass removal) and lets it go on.
    Acked {
        /// By whom.
        by: String,
        /// At which commit.
        revision: Revision,
    },
    /// What runs was found by its markers and is taken over as it is.
    Adopted {
        /// The rendered digest.
        rendered: Digest,
        /// The operator's restarts counted in its group's id.
        #[serde(default, skip_serializing_if = "omit::is_zero")]
        restarts: u32,
    },
    /// All before this comes from a backup. What has happened since is not known: nothing is made true before Git and what runs
    /// were looked at.
    Restored {
        /// When the backup was made.
        backup: Timestamp,
    },
    /// All instances shall be replaced by new ones of the same.
    RestartRequested {
        /// By whom.
        by: String,
    },
    /// Somebody lets a candidate whose rollout was called off start anew.
    Retried {
        /// By whom.
        by: String,
    },
    /// It was renamed: everything goes over to another unit, and from here on nothing is done for this one.
    MoveBegun {
        /// Which renaming.
        id: MoveId,
        /// Its new name.
        to: UnitId,
    },
    /// Everything of a unit that was renamed is this unit's from here on. Its workload and its routes still carry the old
    /// name.
    TakenOver {
        /// Which renaming.
        id: MoveId,
        /// The old name.
        from: UnitId,
        /// What was remembered under the old name, in the words of the new one.
        state: Box<UnitState>,
    },
    /// Workload and routes carry this unit's name.
    WorkloadTaken {},
    /// The other unit has everything: nothing is remembered here any more.
    MovedAway {
        /// Which renaming.
        id: MoveId,
    },
}

/// An event as it is stored, with when it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// [`VERSION`] at the time of writing.
    pub version: u32,
    /// The event.
    pub event: Value,
}

impl Entry {
    /// An entry to store.
    pub fn new(at: Timestamp, event: &UnitEvent) -> Self {
        let event =
            serde_json::to_value(event).expect("events hold nothing that JSON cannot: their maps have text keys");
        Entry { at, version: VERSION, event }
    }
}

/// Why a stored event cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UpcastError {
    /// It is from a newer build.
    #[error(
        "an event of version {0} was written by a newer trimtab; this one reads up to {VERSION}: install the newer one again"
    )]
    TooNew(u32),
    /// It is damaged.
    #[error("an event of version {version} cannot be read: {source}")]
    Damaged {
        /// The version it claims.
        version: u32,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// A step from one version to the next, on the stored form.
type Upcaster = fn(Value) -> Value;

/// The steps, by the version that they start from. Empty until [`VERSION`] is raised for the first time.
fn upcasters() -> BTreeMap<u32, Upcaster> {
    BTreeMap::new()
}

/// Reads a stored event of any version.
///
/// # Errors
/// It is newer than this build or damaged.
pub fn upcast(version: u32, mut event: Value) -> Result<UnitEvent, UpcastError> {
    if version > VERSION {
        return Err(UpcastError::TooNew(version));
    }
    let steps = upcasters();
    for from in version..VERSION {
        if let Some(step) = steps.get(&from) {
            event = step(event);
        }
    }
    serde_json::from_value(event).map_err(|source| UpcastError::Damaged { version, source })
}
