//! The use cases behind the API.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::logs::follow;
use super::reconciler::Reconciler;
use super::unit::Unit;
use super::unit::glance::Glance;
use super::unit::task::Shared;
use super::view;
use super::world::World;
use crate::api::handlers::audit::AuditVerdict;
use crate::api::handlers::events::{EventFilter, EventView, Events};
use crate::api::operations::{Caller, Follow, Operations, UnitFilter};
use crate::api::operations::{problem, unknown_unit};
use crate::api::page::{Page, Position};
use crate::api::resources::{RolloutDetail, RolloutEntry, RolloutFilter};
use crate::api::types::{
    AckRequest, Changes, CheckResult, DaemonStatus, Done, EnvironmentCommand, PlanRequest, Problem, QuarantineClear,
    QuarantineEntry, Readiness, RolloutSummary, UnitCommand, UnitPlan, UnitStatus,
};
use crate::api::written::WrittenStatus;
use crate::domain::audit::AuditRecord;
use crate::domain::digest::Digest;
use crate::domain::id::{Name, RolloutId, UnitId};
use crate::domain::installation::InstallationEvent;
use crate::domain::plan::Plan;
use crate::domain::unit::moving;
use crate::domain::unit::state::UnitState;
use crate::domain::workload::Place;

/// The daemon, as its API sees it.
pub struct Daemon {
    pub(super) world: Arc<World>,
    pub(super) shared: Arc<Shared>,
    pub(super) reconciler: Arc<Reconciler>,
    pub(super) started: Timestamp,
    /// What was answered last of each unit. Most do not change between two questions.
    shown: Mutex<HashMap<UnitId, Shown>>,
    looking_up: tokio::sync::Mutex<()>,
}

/// An answer, and what it was made from.
struct Shown {
    glance: Arc<Glance>,
    suspended: bool,
    written: WrittenStatus,
}

impl Daemon {
    /// The use cases over a running reconciler.
    pub fn new(world: Arc<World>, shared: Arc<Shared>, reconciler: Arc<Reconciler>) -> Self {
        let started = world.now();
        Daemon {
            world,
            shared,
            reconciler,
            started,
            shown: Mutex::default(),
            looking_up: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn unit(&self, id: &UnitId) -> Result<Arc<Unit>, Problem> {
        self.shared.registry.get(id).ok_or_else(|| unknown_unit(id))
    }

    pub(super) fn matching(&self, filter: &UnitFilter) -> Vec<Arc<Unit>> {
        self.shared.registry.all().into_iter().filter(|unit| filter.matches(unit.id())).collect()
    }

    /// The status of a unit.
    pub(super) async fn status(&self, unit: &Unit, glance: &Glance) -> UnitStatus {
        self.look_up(unit, glance, self.is_suspended(unit)).await.0
    }

    /// The same as it is sent; what was written for the last one who asked, while it is still true.
    pub(super) async fn written(&self, unit: &Unit, glance: &Arc<Glance>) -> WrittenStatus {
        let suspended = self.is_suspended(unit);
        if let Some(written) = self.shown(unit, glance, suspended) {
            return written;
        }
        // Many may ask at once for what nobody has asked for yet: one looks it up, the others wait for that.
        let _one = self.looking_up.lock().await;
        if let Some(written) = self.shown(unit, glance, suspended) {
            return written;
        }
        let (status, complete) = self.look_up(unit, glance, suspended).await;
        let written = WrittenStatus::of(&status);
        if complete {
            let shown = Shown { glance: glance.clone(), suspended, written: written.clone() };
            self.answers().insert(unit.id().clone(), shown);
        }
        written
    }

    fn is_suspended(&self, unit: &Unit) -> bool {
        self.shared.installation.environment_suspended(&unit.id().environment).is_some()
    }

    /// The last answer, while it is still true.
    fn shown(&self, unit: &Unit, glance: &Arc<Glance>, suspended: bool) -> Option<WrittenStatus> {
        let answers = self.answers();
        let shown = answers.get(unit.id())?;
        (Arc::ptr_eq(&shown.glance, glance) && shown.suspended == suspended).then(|| shown.written.clone())
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<UnitId, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The status of a unit, and whether all that it names was found.
    async fn look_up(&self, unit: &Unit, glance: &Glance, suspended: bool) -> (UnitStatus, bool) {
        let (mut known, mut complete) = (BTreeMap::new(), true);
        for digest in view::wanted(&glance.state) {
            match self.world.blobs.desired(&digest).await {
                Ok(desired) => drop(known.insert(digest, desired)),
                Err(_) => complete = false,
            }
        }
        let mut glance = glance.clone();
        if let Some(rollout) = &glance.state.rollout
            && glance.plan_digest.as_ref() != Some(&rollout.plan)
        {
            glance.plan = self.world.blobs.plan(&rollout.plan).await.ok().map(Arc::new);
            glance.plan_digest = Some(rollout.plan.clone());
            complete &= glance.plan.is_some();
        }
        (view::status(unit.id(), &glance, &known, suspended), complete)
    }
}

/// What was removed and is no longer there is not shown.
pub(super) fn is_shown(state: &UnitState) -> bool {
    // Known by its name alone: it was renamed.
    if moving::is_blank(state) {
        return false;
    }
    let to_go = state.effective.as_ref().is_some_and(|effective| effective.rendered.is_none());
    // Until `Removed` is recorded, what was verified last is still there.
    let gone = to_go && state.last_verified.is_none();
    let asked_for = state
        .candidate
        .as_ref()
        .is_some_and(|candidate| matches!(candidate.wants, crate::domain::unit::state::Wants::Run { .. }));
    asked_for || !gone || state.running().is_some()
}

#[async_trait]
impl Operations for Daemon {
    async fn daemon(&self) -> DaemonStatus {
        let source = self.reconciler.view();
        let installation = self.shared.installation.state();
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            installation: self.world.installation.to_string(),
            epoch: self.world.epoch,
            started: self.started,
            source: self.world.source.describe(),
            branch: self.shared.settings.source.branch.clone(),
            head: source.snapshot.as_ref().map(|snapshot| snapshot.revision.clone()),
            fetched: source.fetched,
            source_error: source.error,
            config_error: self.shared.config_error.get(),
            document_errors: source.snapshot.map(|snapshot| snapshot.errors()).unwrap_or_default(),
            suspended: installation.suspended_environments().into_iter().collect(),
            rewritten: installation.rewritten.clone(),
            state_error: self.world.journal.short_of_room(),
        }
    }

    async fn units(&self, filter: &UnitFilter) -> Vec<UnitStatus> {
        let mut all = Vec::new();
        for unit in self.matching(filter) {
            let glance = unit.glance();
            if is_shown(&glance.state) {
                all.push(self.status(&unit, &glance).await);
            }
        }
        all
    }

    async fn unit_page(&self, filter: &UnitFilter, at: &Position) -> Page<WrittenStatus> {
        self.page_of_units(filter, at).await
    }

    async fn rollouts(&self, filter: &RolloutFilter, at: &Position) -> Page<RolloutEntry> {
        self.page_of_rollouts(filter, at).await
    }

    async fn rollout(&self, id: &RolloutId) -> Result<RolloutDetail, Problem> {
        self.rollout_by_id(id).await
    }

    async fn stored_plan(&self, digest: &Digest) -> Result<Plan, Problem> {
        self.plan_by_digest(digest).await
    }

    async fn plans(&self, filter: &UnitFilter, at: &Position) -> Result<Page<UnitPlan>, Problem> {
        self.page_of_plans(filter, at).await
    }

    async fn history(&self, unit: &UnitId, limit: usize) -> Result<Vec<RolloutSummary>, Problem> {
        let unit = self.unit(unit)?;
        let glance = unit.glance();
        let mut all = Vec::new();
        if let Some(rollout) = glance.state.running() {
            let plan = self.world.blobs.plan(&rollout.plan).await.ok();
            all.push(view::summary(rollout, plan.as_ref()));
        }
        for past in glance.state.history.iter().rev().take(limit.saturating_sub(all.len())) {
            let plan = self.world.blobs.plan(&past.plan).await.ok();
            all.push(view::past(past, plan.as_ref()));
        }
        Ok(all)
    }

    async fn logs(&self, unit: &UnitId, instance: Option<&str>, tail: u32) -> Result<String, Problem> {
        let known = self.unit(unit)?;
        let glance = known.glance();
        let groups = glance.observed.as_ref().and_then(|observed| observed.groups.known().cloned()).unwrap_or_default();
        let mut out = String::new();
        for group in groups {
            if instance.is_some_and(|wanted| !group.instances.iter().any(|instance| instance.id == wanted)) {
                continue;
            }
            let platform = self.world.platforms.at(&glance.place).map_err(|error| unavailable(&error))?;
            let lines = platform.logs(unit, &group.group, instance, tail).await;
            out.push_str(&lines.map_err(|error| unavailable(&error))?);
        }
        Ok(out)
    }

    async fn follow_logs(&self, unit: &UnitId, followed: Follow) -> Result<mpsc::Receiver<String>, Problem> {
        Ok(follow(self.world.clone(), self.unit(unit)?, followed, self.shared.stop.clone()))
    }

    async fn unit_command(&self, caller: &Caller, unit: &UnitId, command: UnitCommand) -> Result<Done, Problem> {
        let known = self.unit(unit)?;
        if let UnitCommand::Rollback { to } = command {
            return self.roll_back(caller, &known, to).await;
        }
        Ok(Done { messages: vec![known.command(&self.shared, caller, command).await?] })
    }

    async fn environment_command(
        &self,
        caller: &Caller,
        environment: &Name,
        command: EnvironmentCommand,
    ) -> Result<Done, Problem> {
        let units = self.matching(&UnitFilter { environment: Some(environment.clone()), ..UnitFilter::default() });
        if units.is_empty() {
            let message = format!("there is no environment {environment} with units; `trimtab status` lists them");
            return Err(problem(StatusCode::NOT_FOUND, "notFound", message));
        }
        let by = caller.0.clone();
        let suspended = self.shared.installation.environment_suspended(environment).is_some();
        let environment = environment.clone();
        let (event, message) = match command {
            EnvironmentCommand::Suspend {} if suspended => {
                return Err(problem(StatusCode::CONFLICT, "illegal", format!("{environment} is suspended already")));
            }
            EnvironmentCommand::Suspend {} => {
                let message = format!("environment {environment} is suspended: nothing in it is reconciled or healed");
                (InstallationEvent::EnvironmentSuspended { environment, by }, message)
            }
            EnvironmentCommand::Unsuspend {} => {
                let message = format!("environment {environment} goes on");
                (InstallationEvent::EnvironmentUnsuspended { environment, by }, message)
            }
        };
        self.shared.installation.append(event).await.map_err(|error| match error {
            super::log::LogError::Illegal { reason, .. } => problem(StatusCode::CONFLICT, "illegal", reason),
            error => unavailable(&error),
        })?;
        for unit in units {
            unit.wake();
        }
        Ok(Done { messages: vec![message] })
    }

    async fn plan(&self, request: PlanRequest) -> Result<Vec<UnitPlan>, Problem> {
        self.plan_units(request).await
    }

    async fn reconcile(&self, _caller: &Caller, filter: &UnitFilter) -> Result<Done, Problem> {
        // Before the source is asked, which may not answer: it is not needed for what was read already.
        let units = self.matching(filter);
        let waiting: Vec<&Arc<Unit>> = units.iter().filter(|unit| view::next_try(&unit.glance()).is_some()).collect();
        let mut messages: Vec<String> =
            waiting.iter().map(|unit| format!("{} is tried again now", unit.id())).collect();
        units.iter().for_each(|unit| unit.try_now());
        let moved = self.reconciler.pass().await.map_err(|error| unavailable(&error))?;
        self.shared.registry.wake_all();
        self.shared.record_rollbacks.notify_one();
        // What was just read may have brought it.
        if filter.names_any() && self.matching(filter).is_empty() {
            let message = "no unit fits what is named, also after the source was read";
            return Err(problem(StatusCode::NOT_FOUND, "notFound", message));
        }
        let head = self.reconciler.view().snapshot.map(|snapshot| snapshot.revision.to_string()).unwrap_or_default();
        let short = head.get(..12).unwrap_or(&head).to_owned();
        let message = if moved { format!("read the new head {short}") } else { format!("the head is still {short}") };
        messages.insert(0, message);
        Ok(Done { messages })
    }

    async fn ack(&self, caller: &Caller, request: AckRequest) -> Result<Done, Problem> {
        let filter = UnitFilter { app: request.app, environment: request.environment, target: None };
        let everything = filter.app.is_none() && filter.environment.is_none();
        let mut messages = Vec::new();
        for unit in self.matching(&filter) {
            if unit.ack(caller).await? {
                messages.push(format!("{} goes on", unit.id()));
            }
        }
        if everything && self.shared.installation.state().rewritten.is_some() {
            let event = InstallationEvent::Acked { by: caller.0.clone() };
            self.shared.installation.append(event).await.map_err(|error| unavailable(&error))?;
            self.reconciler.accept().await.map_err(|error| unavailable(&error))?;
            messages.push("the rewritten history is accepted".into());
        }
        if messages.is_empty() {
            return Err(problem(StatusCode::CONFLICT, "illegal", "nothing waits for an acknowledgement"));
        }
        Ok(Done { messages })
    }

    async fn quarantine(&self) -> Vec<QuarantineEntry> {
        let mut all = Vec::new();
        for unit in self.shared.registry.all() {
            for (rendered, entry) in &unit.glance().state.quarantine {
                let desired = self.world.blobs.desired(rendered).await.ok();
                all.push(QuarantineEntry {
                    unit: unit.id().clone(),
                    rendered: rendered.clone(),
                    version: desired.map(|desired| desired.version.clone()),
                    reason: entry.reason.clone(),
                    since: entry.at,
                });
            }
        }
        all
    }

    async fn clear_quarantine(&self, caller: &Caller, request: QuarantineClear) -> Result<Done, Problem> {
        let filter = UnitFilter { app: Some(request.app), environment: request.environment, target: None };
        let mut messages = Vec::new();
        for unit in self.matching(&filter) {
            let count = unit.clear_quarantine(caller, request.rendered.as_deref()).await?;
            if count > 0 {
                messages.push(format!("{}: {count} may be tried again", unit.id()));
            }
        }
        if messages.is_empty() {
            return Err(problem(
                StatusCode::NOT_FOUND,
                "notFound",
                "nothing there is quarantined; `trimtab quarantine list` shows what is",
            ));
        }
        Ok(Done { messages })
    }

    async fn check(&self) -> Vec<CheckResult> {
        let units = self.shared.registry.all();
        let elsewhere = !units.is_empty() && units.iter().all(|unit| unit.glance().place != Place::Host);
        super::check::check(&self.world, elsewhere).await
    }

    async fn changes(&self, since: u64, wait: Duration) -> Changes {
        Changes { seq: self.world.hub.wait(since, wait).await }
    }

    async fn events_after(&self, filter: &EventFilter, after: u64, limit: usize) -> Result<Events, Problem> {
        self.events_since(filter, after, limit).await
    }

    async fn events_before(
        &self,
        filter: &EventFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<EventView>, Option<u64>), Problem> {
        self.events_until(filter, before, limit).await
    }

    async fn last_event(&self) -> Result<u64, Problem> {
        self.newest_event().await
    }

    async fn audit(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, Problem> {
        self.world.audit.read(after, limit).await.map_err(|error| unavailable(&error))
    }

    async fn audit_length(&self) -> Result<u64, Problem> {
        self.world.audit.length().await.map_err(|error| unavailable(&error))
    }

    async fn audit_verdict(&self) -> Result<AuditVerdict, Problem> {
        super::record::verdict(self.world.audit.as_ref()).await.map_err(|error| unavailable(&error))
    }

    fn metrics(&self) -> String {
        let units = self.shared.registry.all();
        let shown =
            units.iter().map(|unit| (unit.id().clone(), unit.glance())).filter(|(_, glance)| is_shown(&glance.state));
        let known = BTreeMap::new();
        let statuses: Vec<_> = shown.map(|(id, glance)| view::status(&id, &glance, &known, false)).collect();
        self.world.telemetry.render(&statuses)
    }

    async fn ready(&self) -> Readiness {
        self.readiness().await
    }

    fn healthy(&self) -> Result<(), String> {
        self.makes_progress()?;
        self.world.journal.short_of_room().map_or(Ok(()), Err)
    }
}

/// Something that the daemon depends on failed.
pub(super) fn unavailable(error: &impl std::fmt::Display) -> Problem {
    problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
}
