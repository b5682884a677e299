//! Answers that never change, and a daemon's API in front of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::sync::mpsc;
use trimtab::api::handlers::audit::AuditVerdict;
use trimtab::api::handlers::events::{EventFilter, EventView, Events};
use trimtab::api::operations::problem;
use trimtab::api::operations::{Caller, Follow, Operations, UnitFilter};
use trimtab::api::page::{Page, Position, unit_key};
use trimtab::api::resources::{RolloutDetail, RolloutEntry, RolloutFilter};
use trimtab::api::server;
use trimtab::api::types::{
    AckRequest, AnalysisView, Changes, CheckResult, DaemonStatus, Done, EnvironmentCommand, GroupView, HeldView,
    InstanceView, PhaseView, PlanRequest, Problem, QuarantineClear, QuarantineEntry, Readiness, RollbackView,
    RolloutSummary, RolloutView, UnitCommand, UnitHealth, UnitPlan, UnitStatus, VersionRef,
};
use trimtab::domain::audit::AuditRecord;
use trimtab::domain::digest::Digest;
use trimtab::domain::id::{Epoch, Name, Revision, RolloutId, UnitId};
use trimtab::domain::plan::Plan;

/// Twelve o'clock: what relative times are told from.
pub fn noon() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

/// So many seconds before noon.
pub fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(noon().as_second() - seconds).unwrap()
}

pub fn version(version: &str, revision: &str) -> VersionRef {
    let revision = Some(Revision(revision.repeat(40).chars().take(40).collect()));
    VersionRef { version: version.into(), rendered: Digest::of("r1", version), revision }
}

/// A unit in sync.
pub fn unit(id: &str, at: &str) -> UnitStatus {
    let version = version(at, "1a");
    UnitStatus {
        unit: id.parse().unwrap(),
        health: UnitHealth::InSync,
        message: format!("{at} runs, verified"),
        candidate: Some(version.clone()),
        effective: Some(version.clone()),
        last_verified: Some(version),
        held: Vec::new(),
        replicas: 2,
        groups: vec![group("aaaaaaaaaaaa", at, 2, 2, Some(100.0))],
        rollout: None,
        rollback: None,
        suspended: false,
        changed: Some(ago(185)),
    }
}

pub fn group(id: &str, version: &str, replicas: u32, ready: u32, share: Option<f64>) -> GroupView {
    let instance = |slot: u32| InstanceView {
        id: format!("{id}-{slot}"),
        ready: slot < ready,
        address: Some(format!("127.0.0.1:{}", 40_000 + slot)),
        restarts: u32::from(slot >= ready) * 3,
        message: (slot >= ready).then(|| "GET /healthz: 503\nunhealthy, as asked for".to_owned()),
    };
    GroupView {
        group: id.into(),
        version: version.into(),
        replicas,
        ready,
        share,
        retiring: false,
        leaving: Vec::new(),
        instances: (0..replicas).map(instance).collect(),
    }
}

pub fn held(reason: &str, message: &str, remedy: &str) -> HeldView {
    HeldView { reason: reason.into(), message: message.into(), remedy: remedy.into() }
}

/// A canary at its first step.
pub fn canary(status: &str) -> RolloutView {
    let phase = |name: &str, state: &str, entered: Option<i64>, left: Option<i64>| PhaseView {
        name: name.into(),
        state: state.into(),
        entered: entered.map(ago),
        left: left.map(ago),
    };
    RolloutView {
        summary: RolloutSummary {
            id: "ro-1".into(),
            kind: "rollout".into(),
            from: Some("1.4.1".into()),
            to: Some("1.4.2".into()),
            revision: Some(Revision("3f".repeat(20))),
            status: status.into(),
            reason: None,
            started: ago(60),
            ended: None,
            traffic_back: None,
        },
        phases: vec![
            phase("prepare", "done", Some(60), Some(52)),
            phase("canary at 10%", "current", Some(52), None),
            phase("canary at 50%", "pending", None, None),
            phase("all on 1.4.2", "pending", None, None),
        ],
        analyses: vec![AnalysisView {
            name: "errors".parse().unwrap(),
            outcome: "running".into(),
            detail: "error rate 0.2% of 412 requests, at most 1%".into(),
        }],
        waits: Some("analysis errors".into()),
        until: Timestamp::from_second(noon().as_second() + 12).ok(),
        next_try: None,
    }
}

pub fn rolled_back() -> RollbackView {
    RollbackView {
        id: "rb-1".into(),
        reason: "analysis errors failed: error rate 31% of 412 requests, at most 1%".into(),
        bad: version("1.4.2", "2b"),
        good: version("1.4.1", "1a"),
        status: "settled".into(),
        message: "recorded in Git".into(),
        commit: Some(Revision("7c".repeat(20))),
        branch: Some("main".into()),
        started: ago(40),
        traffic_back: Some(Timestamp::from_millisecond(ago(40).as_millisecond() + 180).unwrap()),
    }
}

pub fn daemon() -> DaemonStatus {
    DaemonStatus {
        version: "0.1.0".into(),
        installation: "default".into(),
        epoch: Epoch(3),
        started: ago(86_400),
        source: "/srv/git/config.git (main)".into(),
        branch: "main".into(),
        head: Some(Revision("1a".repeat(20))),
        fetched: Some(ago(4)),
        source_error: None,
        config_error: None,
        document_errors: Vec::new(),
        suspended: Vec::new(),
        rewritten: None,
        state_error: None,
    }
}

/// What the daemon answers. What it was asked to do is remembered.
pub struct Canned {
    pub daemon: DaemonStatus,
    pub units: Mutex<Vec<UnitStatus>>,
    /// What the units become, one state for each request for changes.
    pub next: Mutex<Vec<Vec<UnitStatus>>>,
    pub plans: Vec<UnitPlan>,
    pub checks: Vec<CheckResult>,
    pub logs: String,
    /// In the order in which they happened.
    pub events: Vec<EventView>,
    pub history: Vec<RolloutSummary>,
    pub rollouts: Vec<RolloutEntry>,
    pub quarantine: Vec<QuarantineEntry>,
    /// How commands fail, by unit.
    pub refuse: BTreeMap<String, (u16, &'static str)>,
    pub commands: Mutex<Vec<String>>,
}

impl Canned {
    pub fn with(units: Vec<UnitStatus>) -> Self {
        Canned {
            daemon: daemon(),
            units: Mutex::new(units),
            next: Mutex::default(),
            plans: Vec::new(),
            checks: Vec::new(),
            logs: String::new(),
            events: Vec::new(),
            history: Vec::new(),
            rollouts: Vec::new(),
            quarantine: Vec::new(),
            refuse: BTreeMap::new(),
            commands: Mutex::default(),
        }
    }

    fn told(&self, command: String) -> Done {
        self.commands.lock().unwrap().push(command.clone());
        Done { messages: vec![command] }
    }
}

#[async_trait]
impl Operations for Canned {
    async fn daemon(&self) -> DaemonStatus {
        self.daemon.clone()
    }

    async fn units(&self, filter: &UnitFilter) -> Vec<UnitStatus> {
        self.units.lock().unwrap().iter().filter(|unit| filter.matches(&unit.unit)).cloned().collect()
    }

    async fn history(&self, unit: &UnitId, limit: usize) -> Result<Vec<RolloutSummary>, Problem> {
        let units = self.units.lock().unwrap();
        let rollout = units.iter().find(|known| known.unit == *unit).and_then(|known| known.rollout.as_ref());
        let ended = rollout.map(|rollout| rollout.summary.clone()).filter(|summary| summary.ended.is_some());
        Ok(ended.into_iter().chain(self.history.iter().cloned()).take(limit).collect())
    }

    async fn rollouts(&self, filter: &RolloutFilter, at: &Position) -> Page<RolloutEntry> {
        let mut all: Vec<RolloutEntry> = self.rollouts.clone();
        all.sort_by(|a, b| b.summary.id.cmp(&a.summary.id));
        all.retain(|entry| filter.matches(&entry.unit, !entry.summary.is_over()));
        at.page_down(all, |entry| entry.summary.id.as_str().into())
    }

    async fn rollout(&self, id: &RolloutId) -> Result<RolloutDetail, Problem> {
        let found = self.rollouts.iter().find(|entry| entry.summary.id == *id).cloned();
        let found = found.ok_or_else(|| problem(StatusCode::NOT_FOUND, "notFound", "there is no such rollout"))?;
        let summary = found.summary;
        let rollout =
            RolloutView { summary, phases: Vec::new(), analyses: Vec::new(), waits: None, until: None, next_try: None };
        Ok(RolloutDetail { unit: found.unit, rollout })
    }

    async fn stored_plan(&self, digest: &Digest) -> Result<Plan, Problem> {
        let plan = self.plans.iter().filter_map(|plan| plan.plan.clone()).find(|plan| plan.digest() == *digest);
        plan.ok_or_else(|| problem(StatusCode::NOT_FOUND, "notFound", "there is no such plan"))
    }

    async fn plans(&self, filter: &UnitFilter, at: &Position) -> Result<Page<UnitPlan>, Problem> {
        let meant = self.plans.iter().filter(|plan| filter.matches(&plan.unit)).cloned();
        Ok(at.page(meant, |plan| unit_key(&plan.unit)))
    }

    async fn logs(&self, _unit: &UnitId, instance: Option<&str>, _tail: u32) -> Result<String, Problem> {
        let lines = self.logs.lines().filter(|line| instance.is_none_or(|instance| line.starts_with(instance)));
        Ok(lines.map(|line| format!("{line}\n")).collect())
    }

    async fn follow_logs(&self, unit: &UnitId, follow: Follow) -> Result<mpsc::Receiver<String>, Problem> {
        let (sender, receiver) = mpsc::channel(4);
        sender.send(self.logs(unit, follow.instance.as_deref(), follow.tail).await?).await.unwrap();
        Ok(receiver)
    }

    async fn unit_command(&self, _caller: &Caller, unit: &UnitId, command: UnitCommand) -> Result<Done, Problem> {
        if let Some((status, code)) = self.refuse.get(&unit.to_string()) {
            let status = StatusCode::from_u16(*status).unwrap();
            return Err(problem(status, code, format!("{unit}: not now, because of {code}")));
        }
        Ok(self.told(format!("{unit} {}", serde_json::to_string(&command).unwrap())))
    }

    async fn environment_command(
        &self,
        _caller: &Caller,
        environment: &Name,
        command: EnvironmentCommand,
    ) -> Result<Done, Problem> {
        Ok(self.told(format!("environment {environment} {}", serde_json::to_string(&command).unwrap())))
    }

    async fn plan(&self, request: PlanRequest) -> Result<Vec<UnitPlan>, Problem> {
        let meant = |plan: &&UnitPlan| request.app.as_ref().is_none_or(|app| *app == plan.unit.app);
        Ok(self.plans.iter().filter(meant).cloned().collect())
    }

    async fn reconcile(&self, _caller: &Caller, _filter: &UnitFilter) -> Result<Done, Problem> {
        Ok(self.told("reconcile".into()))
    }

    async fn ack(&self, _caller: &Caller, request: AckRequest) -> Result<Done, Problem> {
        Ok(self.told(format!("ack {}", serde_json::to_string(&request).unwrap())))
    }

    async fn quarantine(&self) -> Vec<QuarantineEntry> {
        self.quarantine.clone()
    }

    async fn clear_quarantine(&self, _caller: &Caller, request: QuarantineClear) -> Result<Done, Problem> {
        Ok(self.told(format!("clear {}", serde_json::to_string(&request).unwrap())))
    }

    async fn check(&self) -> Vec<CheckResult> {
        self.checks.clone()
    }

    async fn changes(&self, since: u64, _wait: Duration) -> Changes {
        let mut next = self.next.lock().unwrap();
        if since > 0 && !next.is_empty() {
            *self.units.lock().unwrap() = next.remove(0);
        }
        Changes { seq: since + 1 }
    }

    async fn events_after(&self, _filter: &EventFilter, after: u64, _limit: usize) -> Result<Events, Problem> {
        Ok(Events { events: Vec::new(), seen: after, gone: false })
    }

    async fn events_before(
        &self,
        filter: &EventFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<EventView>, Option<u64>), Problem> {
        let meant = self.events.iter().rev().filter(|event| filter.matches(event.unit.as_ref()));
        let found: Vec<_> =
            meant.filter(|event| before.is_none_or(|before| event.id < before)).take(limit).cloned().collect();
        let next = found.last().map(|event| event.id).filter(|_| found.len() == limit);
        Ok((found, next))
    }

    async fn last_event(&self) -> Result<u64, Problem> {
        Ok(0)
    }

    async fn audit(&self, _after: u64, _limit: usize) -> Result<Vec<AuditRecord>, Problem> {
        Ok(Vec::new())
    }

    async fn audit_length(&self) -> Result<u64, Problem> {
        Ok(0)
    }

    async fn audit_verdict(&self) -> Result<AuditVerdict, Problem> {
        Ok(AuditVerdict { intact: true, problem: None, records: 0, hash: String::new() })
    }

    fn metrics(&self) -> String {
        String::new()
    }

    async fn ready(&self) -> Readiness {
        Readiness { ready: true, reasons: Vec::new() }
    }

    fn healthy(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A served API; it goes when this does.
pub struct Served {
    pub socket: PathBuf,
    pub canned: Arc<Canned>,
    _dir: TempDir,
    _runtime: tokio::runtime::Runtime,
}

pub fn serve(canned: Canned) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let canned = Arc::new(canned);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = runtime.block_on(async { tokio::net::UnixListener::bind(&socket).unwrap() });
    runtime.spawn(server::serve(listener, canned.clone(), std::future::pending()));
    Served { socket, canned, _dir: dir, _runtime: runtime }
}
