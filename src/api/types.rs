//! What the daemon answers and takes: the types of its HTTP API, shared with the command line.
//!
//! What stands where is described by the API itself: `GET /api/v1/openapi.json`.
//!
//! An answer that is not a success has a [`Problem`] as its body.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{Epoch, GroupId, Name, Revision, RollbackId, RolloutId, UnitId};
use crate::domain::plan::Plan;

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "super::problem::Wire", from = "super::problem::Wire")]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// What kind, for programs: `notFound`, `illegal`, `invalid`, `unavailable`, `stale`, `failed`.
    pub code: String,
    /// What failed, where, why, and what to do.
    pub message: String,
}

/// Something was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Done {
    /// What, for people, a line each.
    pub messages: Vec<String>,
}

/// The daemon and its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DaemonStatus {
    /// The version of its build.
    pub version: String,
    /// Its installation's name.
    pub installation: String,
    /// Its epoch.
    pub epoch: Epoch,
    /// When it started.
    pub started: Timestamp,
    /// The source, without credentials.
    pub source: String,
    /// The branch.
    pub branch: String,
    /// The newest commit that was read.
    pub head: Option<Revision>,
    /// When the source last answered.
    pub fetched: Option<Timestamp>,
    /// Why the source can't be read now.
    pub source_error: Option<String>,
    /// Why the configuration in the file is not, or not all of it, the one in force.
    #[serde(default)]
    pub config_error: Option<String>,
    /// Errors in the documents at the head, rendered for people.
    pub document_errors: Vec<String>,
    /// Environments whose reconciling is suspended.
    pub suspended: Vec<Name>,
    /// Whether history was rewritten and waits for `trimtab ack`: what it was and what it is.
    pub rewritten: Option<(Revision, Revision)>,
    /// Why nothing new is begun: there is no room for the state.
    #[serde(default)]
    pub state_error: Option<String>,
}

/// How a unit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum UnitHealth {
    /// What Git asks for runs, verified.
    InSync,
    /// A rollout goes on, its objects are not all ready again yet, or what Git dropped is not gone yet.
    Progressing,
    /// A rollout waits for somebody.
    Paused,
    /// What Git asks for is not what is made true; why stands in `held`.
    Held,
    /// Something that should run does not, and is being mended, or will not become ready by itself.
    Degraded,
    /// A rollback goes on or is not yet recorded in Git.
    RollingBack,
    /// A rollout stopped and needs somebody.
    Stuck,
    /// It is being removed.
    Removing,
    /// It can't be seen.
    Unknown,
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnitStatus {
    /// Which.
    pub unit: UnitId,
    /// How it stands.
    pub health: UnitHealth,
    /// One line: the most important thing to know, root cause first.
    pub message: String,
    /// What Git's head asks for.
    pub candidate: Option<VersionRef>,
    /// What is made true now.
    pub effective: Option<VersionRef>,
    /// The last that passed everything.
    pub last_verified: Option<VersionRef>,
    /// Why effective is not candidate, the root cause first.
    pub held: Vec<HeldView>,
    /// How many instances are asked for by the effective state.
    pub replicas: u32,
    /// The groups that run.
    pub groups: Vec<GroupView>,
    /// The rollout that goes on, or the last one.
    pub rollout: Option<RolloutView>,
    /// The rollback that goes on, or the last one.
    pub rollback: Option<RollbackView>,
    /// Whether it is suspended.
    pub suspended: bool,
    /// When it last changed.
    pub changed: Option<Timestamp>,
}

/// A desired state by its names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionRef {
    /// The release's version.
    pub version: String,
    /// The rendered digest.
    pub rendered: Digest,
    /// The commit it was first rendered at.
    pub revision: Option<Revision>,
}

/// One reason why a unit is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldView {
    /// What kind: `quarantined`, `suspended`, `dependsOn`, `wave`, `historyRewritten`, ...
    pub reason: String,
    /// In words.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// One group as it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// Which.
    pub group: GroupId,
    /// The release's version.
    pub version: String,
    /// Instances asked for.
    pub replicas: u32,
    /// Instances ready.
    pub ready: u32,
    /// Its share of the traffic in percent; `None` without a route.
    pub share: Option<f64>,
    /// It is being removed.
    pub retiring: bool,
    /// What of it is being removed and is not gone yet, what is no longer asked for among it.
    #[serde(default)]
    pub leaving: Vec<LeavingView>,
    /// The instances.
    pub instances: Vec<InstanceView>,
}

/// Something that is being removed and is still there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeavingView {
    /// What.
    pub id: String,
    /// Since when, and what it waits for.
    pub message: String,
    /// What can be done so that it goes; `None`: it goes by itself.
    pub remedy: Option<String>,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    /// Which.
    pub id: String,
    /// Whether it may serve.
    pub ready: bool,
    /// Where it serves.
    pub address: Option<String>,
    /// How often it was started again.
    pub restarts: u32,
    /// Why it is not ready.
    pub message: Option<String>,
}

/// What is said of a unit that is as it should be.
pub const AS_ASKED: &str = "what Git asks for runs";

/// A rollout in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// The rollout.
    #[serde(flatten)]
    pub summary: RolloutSummary,
    /// Its phases: those that were left in the order they were entered, the present one, and those that follow it.
    pub phases: Vec<PhaseView>,
    /// Analyses: name, outcome so far, detail of the last measurement.
    pub analyses: Vec<AnalysisView>,
    /// What the present phase waits for.
    pub waits: Option<String>,
    /// When it goes on by itself.
    pub until: Option<Timestamp>,
    /// When what failed is tried again, where it waits for that: `reconcile` has it tried at once.
    #[serde(default)]
    pub next_try: Option<Timestamp>,
}

/// A rollout in a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSummary {
    /// Which.
    pub id: RolloutId,
    /// What for: `install`, `rollout`, `adjust`, `heal`, `rollback`, `remove`.
    pub kind: String,
    /// The version before.
    pub from: Option<String>,
    /// The version after.
    pub to: Option<String>,
    /// The commit that asked for it.
    pub revision: Option<Revision>,
    /// `running`, `paused`, `settling`, `verified`, `rolledBack`, `aborted`, `superseded`, `stopped`, `stuck`.
    pub status: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// When the version before had all traffic again, where it went back and had lost any.
    #[serde(default)]
    pub traffic_back: Option<Timestamp>,
}

impl RolloutSummary {
    /// Whether it does nothing more by itself: it has ended, or waits for somebody.
    pub fn is_over(&self) -> bool {
        let over = ["verified", "rolledBack", "aborted", "superseded", "stopped", "stuck"];
        self.ended.is_some() || over.contains(&self.status.as_str())
    }
}

/// One phase of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PhaseView {
    /// Its name.
    pub name: String,
    /// `done`, `current` or `pending`.
    pub state: String,
    /// When it was entered.
    pub entered: Option<Timestamp>,
    /// When it was left; of one that is left, both times are known.
    pub left: Option<Timestamp>,
}

/// One analysis of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisView {
    /// Its name.
    pub name: Name,
    /// `running`, `success`, `failure`, `inconclusive`.
    pub outcome: String,
    /// What the last measurement saw.
    pub detail: String,
}

/// A rollback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackView {
    /// Which.
    pub id: RollbackId,
    /// Why.
    pub reason: String,
    /// The version that was left.
    pub bad: VersionRef,
    /// The version that was gone back to.
    pub good: VersionRef,
    /// `decided`, `committed`, `pushed`, or `held`. One that is settled is not shown any more.
    pub status: String,
    /// In words.
    pub message: String,
    /// The commit that records it.
    pub commit: Option<Revision>,
    /// The branch it was pushed to.
    pub branch: Option<String>,
    /// When it was decided.
    pub started: Timestamp,
    /// When the version that is gone back to had all traffic; `None` until then, and where it never lost any.
    pub traffic_back: Option<Timestamp>,
}

/// What an operator asks of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "command", deny_unknown_fields)]
pub enum UnitCommand {
    /// Ends the present pause; `full`: all that is left of the rollout's waiting.
    Promote {
        /// Skip everything that is left to wait for.
        #[serde(default)]
        full: bool,
    },
    /// Stops the rollout from advancing; its phase is kept true.
    Pause {},
    /// Lets it go on.
    Resume {},
    /// Goes back to the version before; Git is not touched.
    Abort {},
    /// Tries again what stopped, failed or was aborted.
    Retry {},
    /// Replaces all instances by new ones of the same version, by the unit's strategy for rolling.
    Restart {},
    /// Goes back and records it in Git as a revert.
    Rollback {
        /// To the state at this commit instead of the last verified one.
        #[serde(default)]
        to: Option<Revision>,
    },
    /// Stops reconciling: healing too.
    Suspend {},
    /// Reconciles again.
    Unsuspend {},
}

/// What an operator asks of an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", tag = "command", deny_unknown_fields)]
pub enum EnvironmentCommand {
    /// Stops reconciling all of it.
    Suspend {},
    /// Reconciles it again.
    Unsuspend {},
}

/// What to plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanRequest {
    /// Only this app.
    #[serde(default)]
    pub app: Option<Name>,
    /// Only this environment.
    #[serde(default)]
    pub environment: Option<Name>,
    /// At this commit or branch of the source instead of the newest that was read.
    #[serde(default)]
    pub revision: Option<String>,
    /// Units that were rendered by the caller (from a work tree), instead of those of a commit. Between a command line and a
    /// daemon of the same version: no part of what the API describes.
    #[serde(default)]
    #[schema(ignore)]
    pub desired: Option<Vec<DesiredUnit>>,
}

/// What would happen to one unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnitPlan {
    /// Which.
    pub unit: UnitId,
    /// The plan; `None`: it can't be made, see `blocked`.
    pub plan: Option<Plan>,
    /// Its digest.
    pub digest: Option<Digest>,
    /// Why it can't be made.
    pub blocked: Option<String>,
    /// Why it would not be executed now.
    pub held: Vec<HeldView>,
    /// Both desired states, for text differences.
    pub before: Option<DesiredUnit>,
    /// The state after.
    pub after: Option<DesiredUnit>,
    /// What is told of objects that are otherwise, and are left so.
    #[serde(default)]
    pub left: Vec<String>,
    /// What is no longer asked for and not gone, although its removal is under way.
    #[serde(default)]
    pub leaving: Vec<String>,
}

/// What to acknowledge.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AckRequest {
    /// Only this environment; all where none is named.
    #[serde(default)]
    pub environment: Option<Name>,
    /// Only this app.
    #[serde(default)]
    pub app: Option<Name>,
}

/// A quarantined desired state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QuarantineEntry {
    /// Whose.
    pub unit: UnitId,
    /// Which.
    pub rendered: Digest,
    /// The release's version.
    pub version: Option<String>,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
}

/// Which quarantine to clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuarantineClear {
    /// Whose: the app.
    pub app: Name,
    /// Only in this environment.
    #[serde(default)]
    pub environment: Option<Name>,
    /// Only this digest, or the beginning of one.
    #[serde(default)]
    pub rendered: Option<String>,
}

/// What `trimtab check` found about one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// Which part: `git`, `supervisor`, `router`, `state`.
    pub part: String,
    /// Whether it works.
    pub ok: bool,
    /// What was found, for people.
    pub message: String,
    /// Things that work less well here than they could.
    #[serde(default)]
    pub limitations: Vec<String>,
}

/// Whether everything that the daemon depends on is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// It is.
    pub ready: bool,
    /// Why not, the root cause first.
    pub reasons: Vec<NotReady>,
}

/// One reason not to be ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotReady {
    /// Which part: `git`, `supervisor`, `router`, `state`, `daemon`.
    pub part: String,
    /// What is wrong.
    pub reason: String,
}

/// Whether something changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Ask with this next time.
    pub seq: u64,
}
