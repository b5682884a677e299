//! What the daemon can be asked: the use cases behind the API, one method each.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use tokio::sync::mpsc;

use super::handlers::audit::AuditVerdict;
use super::handlers::events::{EventFilter, EventView, Events};
use super::page::{Page, Position, unit_key};
use super::resources::{RolloutDetail, RolloutEntry, RolloutFilter};
use super::types::{
    AckRequest, Changes, CheckResult, DaemonStatus, Done, EnvironmentCommand, PlanRequest, Problem, QuarantineClear,
    QuarantineEntry, Readiness, RolloutSummary, UnitCommand, UnitPlan, UnitStatus,
};
use super::written::WrittenStatus;
use crate::domain::audit::AuditRecord;
use crate::domain::digest::Digest;
use crate::domain::id::{Name, RolloutId, UnitId};
use crate::domain::plan::Plan;

/// Which units an answer is limited to.
#[derive(Clone, Debug, Default, serde::Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UnitFilter {
    /// Only this app.
    pub app: Option<Name>,
    /// Only this environment.
    pub environment: Option<Name>,
    /// Only this target.
    pub target: Option<Name>,
}

impl UnitFilter {
    /// Whether it names anything.
    pub fn names_any(&self) -> bool {
        self.app.is_some() || self.environment.is_some() || self.target.is_some()
    }

    /// Whether a unit is meant.
    pub fn matches(&self, unit: &UnitId) -> bool {
        let same = |wanted: &Option<Name>, is: &Name| wanted.as_ref().is_none_or(|wanted| wanted == is);
        same(&self.app, &unit.app) && same(&self.environment, &unit.environment) && same(&self.target, &unit.target)
    }
}

/// Which lines of logs are followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Follow {
    /// Only this instance; the lines end when it is gone.
    pub instance: Option<String>,
    /// So many of the lines that are there already, of each stream of each instance.
    pub tail: u32,
    /// The instances whose lines were told before. Where any is named, of these nothing is told again, and of others all.
    pub known: BTreeSet<String>,
}

/// Who asks, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub String);

/// The use cases.
///
/// Every method that changes something is journalled with its caller before it is answered.
#[async_trait]
pub trait Operations: Send + Sync {
    /// The daemon and its source.
    async fn daemon(&self) -> DaemonStatus;
    /// All units that match, in their order.
    async fn units(&self, filter: &UnitFilter) -> Vec<UnitStatus>;
    /// One page of [`units`](Self::units).
    async fn unit_page(&self, filter: &UnitFilter, at: &Position) -> Page<WrittenStatus> {
        at.page(self.units(filter).await, |status| unit_key(&status.unit)).map(|status| WrittenStatus::of(&status))
    }
    /// The rollouts of a unit, newest first.
    async fn history(&self, unit: &UnitId, limit: usize) -> Result<Vec<RolloutSummary>, Problem>;
    /// The rollouts of all units, newest first.
    async fn rollouts(&self, filter: &RolloutFilter, at: &Position) -> Page<RolloutEntry>;
    /// One rollout.
    async fn rollout(&self, id: &RolloutId) -> Result<RolloutDetail, Problem>;
    /// The plan of a rollout.
    async fn stored_plan(&self, digest: &Digest) -> Result<Plan, Problem>;
    /// What would happen now, for the units that match.
    async fn plans(&self, filter: &UnitFilter, at: &Position) -> Result<Page<UnitPlan>, Problem>;
    /// The last lines of a unit's instances.
    async fn logs(&self, unit: &UnitId, instance: Option<&str>, tail: u32) -> Result<String, Problem>;
    /// The last lines of a unit's instances, then those that come, in pieces of whole lines, until nobody reads.
    async fn follow_logs(&self, unit: &UnitId, follow: Follow) -> Result<mpsc::Receiver<String>, Problem>;
    /// Changes one unit.
    async fn unit_command(&self, caller: &Caller, unit: &UnitId, command: UnitCommand) -> Result<Done, Problem>;
    /// Changes an environment.
    async fn environment_command(
        &self,
        caller: &Caller,
        environment: &Name,
        command: EnvironmentCommand,
    ) -> Result<Done, Problem>;
    /// What would happen.
    async fn plan(&self, request: PlanRequest) -> Result<Vec<UnitPlan>, Problem>;
    /// Asks the source now, and has what waits for its next try tried at once.
    async fn reconcile(&self, caller: &Caller, filter: &UnitFilter) -> Result<Done, Problem>;
    /// Accepts what waits for somebody to look.
    async fn ack(&self, caller: &Caller, request: AckRequest) -> Result<Done, Problem>;
    /// What is quarantined.
    async fn quarantine(&self) -> Vec<QuarantineEntry>;
    /// Lets quarantined states be tried again.
    async fn clear_quarantine(&self, caller: &Caller, request: QuarantineClear) -> Result<Done, Problem>;
    /// Looks at everything the daemon depends on.
    async fn check(&self) -> Vec<CheckResult>;
    /// Waits until something changed after `since`, at most so long.
    async fn changes(&self, since: u64, wait: Duration) -> Changes;
    /// The events after a number, in order: at most so many are looked at.
    async fn events_after(&self, filter: &EventFilter, after: u64, limit: usize) -> Result<Events, Problem>;
    /// The newest events, or those before the one with a number, the newest first, at most so many; and the number to ask with for
    /// those before them. 410 where the one with that number was removed.
    async fn events_before(
        &self,
        filter: &EventFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<EventView>, Option<u64>), Problem>;
    /// The number of the newest event.
    async fn last_event(&self) -> Result<u64, Problem>;
    /// The records of the audit log after a number, at most so many.
    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Problem>;
    /// How many records the audit log has.
    async fn audit_length(&self) -> Result<u64, Problem>;
    /// Whether the audit log is as it was written.
    async fn audit_verdict(&self) -> Result<AuditVerdict, Problem>;
    /// The metrics in Prometheus' text format.
    fn metrics(&self) -> String;
    /// Whether everything that the daemon depends on is there.
    async fn ready(&self) -> Readiness;
    /// Whether the daemon makes progress; why not.
    fn healthy(&self) -> Result<(), String>;
}

/// A failure with its kind and what to tell.
pub fn problem(status: StatusCode, code: &str, message: impl Into<String>) -> Problem {
    Problem { status: status.as_u16(), code: code.into(), message: message.into() }
}

/// No such unit.
pub fn unknown_unit(unit: &UnitId) -> Problem {
    problem(StatusCode::NOT_FOUND, "notFound", format!("there is no unit {unit}; `trimtab status` lists them"))
}
