//! The messages of the supervisor.
//!
//! - `GET /v1/hello` -> [`Hello`](super::Hello)
//! - `PUT /v1/groups/{key}` with [`PutGroup`] -> [`GroupStatus`]: the group as it shall be, absolute; durable before the answer,
//!   which does not wait for the instances. Only `replicas`, `markers` and `health.within` may differ from what is there: a
//!   group's spec never changes otherwise.
//! - `DELETE /v1/groups/{key}?epoch=N` -> 202: its instances are stopped gracefully, then its files removed; 204 when there is none
//! - `GET /v1/groups?since=SEQ&wait=30s` -> [`GroupList`]: at once when `seq` is beyond `since`, else when it changes or the wait ends
//! - `GET /v1/groups/{key}` -> [`GroupStatus`]
//! - `GET /v1/groups/{key}/logs?instance=ID&tail=LINES&follow=true` -> text lines `instance stream line`
//! - `PUT /v1/runs/{id}` with [`PutRun`] -> [`RunStatus`]: starts it unless the id is known already
//! - `GET /v1/runs/{id}?wait=30s` -> [`RunStatus`]; `DELETE /v1/runs/{id}?epoch=N` -> 202: its whole tree is killed
//! - `GET /healthz`, `GET /metrics` on the same socket
//!
//! `{key}` and `{id}` are percent-encoded.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Markers;
use crate::domain::{
    id::{Epoch, GroupId, RunId},
    secret::SecretRef,
    span::Span,
    workload::{Health, Limits, ProcessSpec},
};
use crate::secrets::value::SecretValues;

/// Sets one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutGroup {
    /// [`super::VERSION`].
    pub version: u32,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// What runs.
    pub spec: GroupSpec,
    /// How many instances, in slots 0 to replicas-1. Fewer than before: the highest slots are stopped gracefully.
    pub replicas: u32,
    /// The values of the process's secrets, by name. They are needed when the group is made, and passed over afterwards.
    #[serde(default, skip_serializing_if = "SecretValues::is_empty")]
    pub secrets: SecretValues,
}

/// A versioned group of equal instances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSpec {
    /// Its identity: the unit, by the name that it had when the group was made, and the group, `app/environment/target/group`.
    pub key: String,
    /// The group within the unit.
    pub group: GroupId,
    /// Whose it is.
    pub markers: Markers,
    /// The process; its artifact is found in `artifact_dir`.
    pub process: ProcessSpec,
    /// The folder with the artifact's files, complete and unchanging. The supervisor makes its own copy before it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_dir: Option<PathBuf>,
    /// Readiness and liveness.
    pub health: Health,
}

/// All groups of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupList {
    /// Grows with every change of any group or instance while `start` stays.
    pub seq: u64,
    /// This start of the supervisor.
    pub start: String,
    /// The groups, retiring ones included, by key.
    pub groups: Vec<GroupStatus>,
}

/// One group as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// Its identity.
    pub key: String,
    /// The group within the unit.
    pub group: GroupId,
    /// Whose it is.
    pub markers: Markers,
    /// How many instances are asked for.
    pub replicas: u32,
    /// It was deleted; its last instances are being stopped.
    pub retiring: bool,
    /// The instances, by slot; stopping ones included.
    pub instances: Vec<InstanceStatus>,
    /// Limits that the kernel can't enforce here, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limitations: Vec<String>,
}

/// One instance as it is. A restart after an exit keeps slot, id and port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstanceStatus {
    /// `group-slot`, unique within the unit.
    pub id: String,
    /// Its slot.
    pub slot: u32,
    /// What it does now.
    pub state: InstanceState,
    /// Whether it may serve: the readiness probe's verdict, and available for `min_ready`.
    pub ready: bool,
    /// The main process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The port given to it, on 127.0.0.1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// When the present process was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// How often it was started again after an exit or a failed liveness check.
    pub restarts: u32,
    /// How the last process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// Why it is not ready, for people: the probe's last failure, the exit, the last lines of its log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum InstanceState {
    /// Being started.
    Starting,
    /// Its process runs.
    Running,
    /// It ended and waits to be started again.
    BackOff,
    /// It is being stopped.
    Stopping,
    /// It ended and is not started again.
    Stopped,
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// How.
    pub how: ExitHow,
    /// When.
    pub at: Timestamp,
}

/// The ways to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitHow {
    /// By itself.
    Code(i32),
    /// By a signal, by number.
    Signal(i32),
    /// By the kernel, for its memory limit.
    OutOfMemory,
    /// It was never started: why (the program is missing, the user unknown).
    NotStarted(String),
    /// Nobody saw it: the shim was killed or the machine restarted; why, in words.
    Unknown(String),
}

/// Starts one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutRun {
    /// [`super::VERSION`].
    pub version: u32,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// What runs.
    pub spec: RunSpec,
    /// The values of its secrets, by name.
    #[serde(default, skip_serializing_if = "SecretValues::is_empty")]
    pub secrets: SecretValues,
}

/// A hook or script that runs once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSpec {
    /// Its identity.
    pub id: RunId,
    /// Whose it is.
    pub markers: Markers,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The whole environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Its secrets, by name; their values come beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// Files to run from, copied into a private working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_dir: Option<PathBuf>,
    /// The user to run as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Resource limits.
    #[serde(default)]
    pub limits: Limits,
    /// After this its whole tree is killed.
    pub timeout: Span,
    /// At most this many bytes of its output are kept: the first and the last half.
    pub output_limit: u64,
}

/// A run as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// Its identity.
    pub id: RunId,
    /// What became of it.
    pub state: RunState,
    /// When it was started.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What it wrote, stdout and stderr together, capped.
    pub output: String,
}

/// What became of a run. All but `Running` are durable and final.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunState {
    /// It runs.
    Running,
    /// It ended.
    Ended(ExitHow),
    /// It was killed for its timeout.
    TimedOut,
    /// It was killed on request.
    Killed,
}
