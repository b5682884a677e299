//! Hooks: scripts that run once, before or after a rollout.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::Name;
use super::secret::SecretRef;
use super::span::Span;
use super::workload::{ArtifactRef, Limits};

/// The hooks of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hooks {
    /// Run in order before anything of the new version is started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Hook>,
    /// Run in order once the new version has all traffic, before it counts as verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<Hook>,
}

impl Hooks {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

/// A hook that the workload brings along: its platform knows what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectHook {
    /// Its place among the workload's hooks.
    pub number: u32,
    /// For people: `Job migrate`.
    pub name: String,
    /// When it runs, in the words of the tool that it is written for.
    pub moment: String,
}

/// When hooks of a workload run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before anything of the new version is started.
    Before,
    /// Once the new version has all traffic.
    After,
    /// Once the rollout has failed.
    Failed,
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// The Script it runs, by name.
    pub name: Name,
    /// What runs.
    pub script: ScriptSpec,
    /// Whether it may run again when nobody knows how it ended. Otherwise the rollout is stuck until somebody says.
    pub idempotent: bool,
    /// What a rollback does about it.
    pub on_rollback: OnRollback,
}

/// What a rollback does about a hook that has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::large_enum_variant,
    reason = "there are a few of them in a plan, and a script is what most of them are"
)]
pub enum OnRollback {
    /// Nothing: its effect may stay.
    Nothing,
    /// There is no way back past it: automatic rollback is off.
    ForwardOnly,
    /// This runs, after the traffic is back.
    Script(ScriptSpec),
}

/// A script, rendered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScriptSpec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The whole environment; nothing is inherited.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// What it gets beside the environment and must not be said in clear, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretRef>,
    /// Files it runs from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<ArtifactRef>,
    /// The user to run as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Resource limits.
    #[serde(default, skip_serializing_if = "Limits::is_none")]
    pub limits: Limits,
    /// After this its whole tree is killed and it has failed.
    pub timeout: Span,
    /// At most this many bytes of its output are kept.
    pub output_limit: u64,
}
