//! The client of the daemon's API: what the command line and the demo ask, typed.

use std::path::Path;
use std::time::Duration;

use futures_util::Stream;
use http::{HeaderName, Method, header};
use serde::{Serialize, de::DeserializeOwned};

use super::handlers::audit::{AuditVerdict, AuditView};
use super::handlers::events::{EventFilter, EventView};
use super::operations::{Follow, UnitFilter};
use super::page::{MOST, Page, cursor};
use super::resources::{RolloutEntry, RolloutFilter};
use super::types::{
    AckRequest, Changes, CheckResult, DaemonStatus, Done, EnvironmentCommand, PlanRequest, Problem, QuarantineClear,
    QuarantineEntry, RolloutSummary, UnitCommand, UnitPlan, UnitStatus,
};
use crate::domain::id::{Name, UnitId};
use crate::net::client::{Client, ClientError, segment};
use crate::net::lines::lines;

/// How long an ordinary question may take. Fetching and planning read Git, which may be slow and far away.
const PATIENCE: Duration = Duration::from_secs(120);

/// A client of one daemon.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
}

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The daemon answered that it could or would not.
    #[error("{}", .0.message)]
    Problem(Problem),
    /// The daemon did not answer, or not as a daemon does.
    #[error(transparent)]
    Connection(ClientError),
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> Self {
        match error.refusal::<Problem>() {
            Some(problem) => ApiError::Problem(problem),
            None => ApiError::Connection(error),
        }
    }
}

impl Api {
    /// A client of the daemon that serves this socket.
    pub fn new(socket: &Path) -> Self {
        Api { client: Client::new(socket).with_timeout(PATIENCE) }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        self.client.socket()
    }

    /// The daemon and its source.
    pub async fn daemon(&self) -> Result<DaemonStatus, ApiError> {
        self.get("/api/v1/daemon").await
    }

    /// The units that a filter lets through.
    pub async fn units(&self, filter: &UnitFilter) -> Result<Vec<UnitStatus>, ApiError> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: Page<UnitStatus> =
                self.get(&format!("/api/v1/units?limit={MOST}{cursor}{}", query(filter))).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(all),
            }
        }
    }

    /// One unit.
    pub async fn unit(&self, unit: &UnitId) -> Result<UnitStatus, ApiError> {
        self.get(&unit_path(unit)).await
    }

    /// Its rollouts, the newest first.
    pub async fn history(&self, unit: &UnitId, limit: u32) -> Result<Vec<RolloutSummary>, ApiError> {
        self.get(&format!("{}/history?limit={limit}", unit_path(unit))).await
    }

    /// The rollouts that a filter lets through, the newest first; of very many only the newest [`MOST`].
    pub async fn rollouts(&self, filter: &RolloutFilter) -> Result<Vec<RolloutEntry>, ApiError> {
        let pairs = [("app", &filter.app), ("environment", &filter.environment)];
        let names = pairs.iter().filter_map(|(key, name)| name.as_ref().map(|name| format!("&{key}={name}")));
        let running = filter.running.map(|running| format!("&running={running}"));
        let query: String = names.chain(running).collect();
        let page: Page<RolloutEntry> = self.get(&format!("/api/v1/rollouts?limit={MOST}{query}")).await?;
        Ok(page.items)
    }

    /// The last lines of its instances' logs, a line each: `instance stream line`.
    pub async fn logs(&self, unit: &UnitId, instance: Option<&str>, tail: u32) -> Result<String, ApiError> {
        let bytes = self.client.bytes(Method::GET, &logs_path(unit, instance, tail), None::<&()>).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The last lines of its instances' logs, then those that come, in pieces of whole lines; no time limit applies.
    pub async fn follow_logs(
        &self,
        unit: &UnitId,
        follow: &Follow,
    ) -> Result<impl Stream<Item = Result<String, String>> + Send + use<>, ApiError> {
        let known: Vec<_> = follow.known.iter().map(|id| segment(id)).collect();
        let logs = logs_path(unit, follow.instance.as_deref(), follow.tail);
        let path = format!("{logs}&follow=true&known={}", known.join(","));
        Ok(lines(self.client.open(Method::GET, &path, None::<&()>).await?.into_body()))
    }

    /// Asks something of a unit.
    pub async fn command(&self, unit: &UnitId, command: &UnitCommand) -> Result<Done, ApiError> {
        self.post(&format!("{}/command", unit_path(unit)), command).await
    }

    /// Asks something of an environment.
    pub async fn environment_command(
        &self,
        environment: &Name,
        command: &EnvironmentCommand,
    ) -> Result<Done, ApiError> {
        self.post(&format!("/api/v1/environments/{environment}/command"), command).await
    }

    /// Plans without doing anything.
    pub async fn plan(&self, request: &PlanRequest) -> Result<Vec<UnitPlan>, ApiError> {
        self.post("/api/v1/plans", request).await
    }

    /// Fetches the source now, and has what waits for its next try tried at once; answers after the fetch.
    pub async fn reconcile(&self, filter: &UnitFilter) -> Result<Done, ApiError> {
        let query = query(filter);
        let query = query.strip_prefix('&').map(|query| format!("?{query}")).unwrap_or_default();
        self.post(&format!("/api/v1/reconcile{query}"), &()).await
    }

    /// Acknowledges that history was rewritten.
    pub async fn ack(&self, request: &AckRequest) -> Result<Done, ApiError> {
        self.post("/api/v1/ack", request).await
    }

    /// What is quarantined.
    pub async fn quarantine(&self) -> Result<Vec<QuarantineEntry>, ApiError> {
        self.get("/api/v1/quarantine").await
    }

    /// Clears from quarantine.
    pub async fn quarantine_clear(&self, request: &QuarantineClear) -> Result<Done, ApiError> {
        self.post("/api/v1/quarantine/clear", request).await
    }

    /// The records of the audit log after a number, as many as one page has.
    pub async fn audit_after(&self, after: u64) -> Result<Vec<AuditView>, ApiError> {
        let cursor = cursor(&after.to_be_bytes());
        let page: Page<AuditView> = self.get(&format!("/api/v1/audit?limit={MOST}&cursor={cursor}")).await?;
        Ok(page.items)
    }

    /// The last records of the audit log.
    pub async fn audit_last(&self, last: u32) -> Result<Vec<AuditView>, ApiError> {
        let page: Page<AuditView> = self.get(&format!("/api/v1/audit?last={last}")).await?;
        Ok(page.items)
    }

    /// Whether the audit log is as it was written.
    pub async fn audit_verdict(&self) -> Result<AuditVerdict, ApiError> {
        self.get("/api/v1/audit/verify").await
    }

    /// A page of events, the newest first.
    pub async fn events(
        &self,
        filter: &EventFilter,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Page<EventView>, ApiError> {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        self.get(&format!("/api/v1/events?limit={limit}{cursor}{}", event_query(filter))).await
    }

    /// The events after a number as they happen: server-sent events in pieces of whole lines; no time limit applies.
    pub async fn follow_events(
        &self,
        filter: &EventFilter,
        after: u64,
    ) -> Result<impl Stream<Item = Result<String, String>> + Send + use<>, ApiError> {
        let path = format!("/api/v1/events?limit=1{}", event_query(filter));
        let after = after.to_string();
        let headers =
            [(header::ACCEPT, "text/event-stream"), (HeaderName::from_static("last-event-id"), after.as_str())];
        Ok(lines(self.client.open_with(Method::GET, &path, None::<&()>, &headers).await?.into_body()))
    }

    /// What works and what does not.
    pub async fn check(&self) -> Result<Vec<CheckResult>, ApiError> {
        self.get("/api/v1/check").await
    }

    /// Waits until something changed after `since`, at most so long.
    pub async fn changes(&self, since: u64, wait: Duration) -> Result<Changes, ApiError> {
        self.get(&format!("/api/v1/changes?since={since}&wait={}", wait.as_secs())).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        Ok(self.client.get(path).await?)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &(impl Serialize + Sync)) -> Result<T, ApiError> {
        Ok(self.client.json(Method::POST, path, Some(body)).await?)
    }
}

/// A filter as the rest of a query: only what is given.
fn query(filter: &UnitFilter) -> String {
    let pairs = [("app", &filter.app), ("environment", &filter.environment), ("target", &filter.target)];
    let given: Vec<_> =
        pairs.into_iter().filter_map(|(key, name)| name.as_ref().map(|name| format!("{key}={name}"))).collect();
    given.iter().map(|pair| format!("&{pair}")).collect()
}

fn event_query(filter: &EventFilter) -> String {
    let EventFilter { app, environment } = filter.clone();
    query(&UnitFilter { app, environment, target: None })
}

fn logs_path(unit: &UnitId, instance: Option<&str>, tail: u32) -> String {
    let instance = instance.map(|id| format!("&instance={}", segment(id))).unwrap_or_default();
    format!("{}/logs?tail={tail}{instance}", unit_path(unit))
}

fn unit_path(unit: &UnitId) -> String {
    format!("/api/v1/units/{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_only_what_is_given() {
        assert_eq!(query(&UnitFilter::default()), "");
        let filter = UnitFilter { app: "hello".parse().ok(), target: "b".parse().ok(), ..UnitFilter::default() };
        assert_eq!(query(&filter), "&app=hello&target=b");
    }
}
