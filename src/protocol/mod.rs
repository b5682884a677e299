//! What the daemon says to the router and to the supervisor: JSON over HTTP on Unix sockets, versioned.
//!
//! The two keep running while the daemon is upgraded, so every message carries [`VERSION`], fields are only ever added with
//! defaults, and unknown fields are passed over. Each request that changes something carries the daemon's epoch; the
//! receiver persists the highest it has seen and answers a lower one with 409 and [`ErrorCode::StaleEpoch`].

pub mod router;
pub mod supervisor;

use serde::{Deserialize, Serialize};

use crate::domain::{digest::Digest, id::UnitId};

/// The version of the messages in this build.
pub const VERSION: u32 = 1;

/// What marks everything that trimtab runs as its own, so that it is found again when the daemon's state is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Markers {
    /// The installation's name: two daemons on one machine do not touch each other's workloads.
    pub installation: String,
    /// Whose it is.
    pub unit: UnitId,
    /// The rendered digest it was made from.
    pub rendered: Digest,
    /// The release's version, for people.
    pub version: String,
}

/// The body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// What kind of failure, for programs.
    pub code: ErrorCode,
    /// What failed, where, why, and what to do.
    pub message: String,
}

/// The kinds of failure that router and supervisor tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ErrorCode {
    /// 409: the request's epoch is lower than one seen before; its sender must stop.
    StaleEpoch,
    /// 400: the request can't be carried out as it is written.
    Invalid,
    /// 404: what it names is not there.
    NotFound,
    /// 426: the message's version is newer than this process understands.
    Version,
    /// 500: it failed for a reason on this side; it may be tried again.
    Failed,
}

/// Who answers: asked before anything else, and by `trimtab check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The newest protocol version it understands.
    pub protocol: u32,
    /// The version of its build.
    pub version: String,
    /// A random id of this start of the process: counters begin at zero when it changes.
    pub start: String,
    /// The process id.
    pub pid: u32,
    /// The highest epoch it has seen.
    pub epoch: crate::domain::id::Epoch,
    /// What it can't do on this machine, in words for people (a missing cgroup controller, say).
    #[serde(default)]
    pub limitations: Vec<String>,
}
