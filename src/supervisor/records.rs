//! What the supervisor remembers. Below its state folder:
//!
//! ```text
//! lock                          held by the one supervisor of this folder
//! epoch.json                    the highest epoch seen
//! groups/KEY/group.json         a group as it shall be
//! groups/KEY/secrets.json       the values of its secrets, encrypted (see `secrets::keep`)
//! groups/KEY/files/             its artifact, the supervisor's own copy
//! groups/KEY/slots/N/slot.json  an instance: port, restarts, last exit
//! groups/KEY/slots/N/work/      its working directory: a private copy of the files, kept over restarts
//! groups/KEY/slots/N/*.log      its output, with one predecessor `.1` each
//! groups/KEY/slots/N/aM/        its Mth start (see `shim::records`)
//! secrets.key                   the key for secrets at rest, unless it is given otherwise
//! runs/ID/run.json, secrets.json, work/, output, aM/
//! ```
//!
//! KEY and ID are percent-encoded. Names that begin with `.` are being made or removed; they are cleared at the start.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::store::Record;
use crate::domain::id::Epoch;
use crate::protocol::supervisor::{Exit, GroupSpec, RunSpec, RunState};

/// The highest epoch seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch.
    pub highest: Epoch,
}

impl Record for EpochRecord {
    const FILE: &'static str = "epoch.json";
}

/// A group as it shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupRecord {
    /// What runs; only its markers ever change.
    pub spec: GroupSpec,
    /// How many instances.
    pub replicas: u32,
    /// It was deleted.
    #[serde(default)]
    pub retiring: bool,
}

impl GroupRecord {
    /// Whether a slot shall run.
    pub fn wants(&self, slot: u32) -> bool {
        !self.retiring && slot < self.replicas
    }
}

impl Record for GroupRecord {
    const FILE: &'static str = "group.json";
}

/// An instance over all its starts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotRecord {
    /// Its port, from its first start to its removal.
    #[serde(default)]
    pub port: Option<u16>,
    /// Whether its working directory is complete.
    #[serde(default)]
    pub prepared: bool,
    /// The number of the last start; 0 before the first.
    #[serde(default)]
    pub attempt: u64,
    /// The number of the last start whose end is accounted for here.
    #[serde(default)]
    pub concluded: u64,
    /// The start whose process was ready when last seen, so that a new supervisor need not take it out of service.
    #[serde(default)]
    pub ready: Option<u64>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// Ends in a row without a healthy while between them: what the back-off grows with.
    #[serde(default)]
    pub failures: u32,
    /// How the last process ended.
    #[serde(default)]
    pub last_exit: Option<Exit>,
    /// What people are told about it.
    #[serde(default)]
    pub message: Option<String>,
}

impl Record for SlotRecord {
    const FILE: &'static str = "slot.json";
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// What runs.
    pub spec: RunSpec,
    /// When it was asked for.
    pub started: Timestamp,
    /// The number of the last start. There is a second one only if it is certain that the first never began.
    #[serde(default)]
    pub attempt: u64,
    /// How it ended.
    #[serde(default)]
    pub end: Option<RunEnd>,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEnd {
    /// What became of it.
    pub state: RunState,
    /// When.
    pub at: Timestamp,
}

impl Record for RunRecord {
    const FILE: &'static str = "run.json";
}
