//! A Kubernetes cluster.
//!
//! The objects of a group are applied under one field manager by server-side apply, and its **parent**, a ConfigMap in the unit's
//! namespace, says which group they are, what else it has, and who acted last. Everything is found again by the parents. A unit is
//! one group at a time, replaced in place, unless its strategy has versions side by side: see `versions`.
//!
//! `observe` answers from what the watches keep up, so that looking at an unchanged cluster asks nothing. What a write answered is
//! known at once.

mod apply;
mod arrivals;
mod cache;
mod changes;
mod claims;
mod client;
mod cluster;
mod compose;
mod conflicts;
mod connect;
mod deleting;
mod discovery;
mod fault;
mod fields;
mod following;
mod heals;
pub mod health;
mod hooks;
mod inventory;
mod keeps;
mod labels;
mod lacks;
mod live;
mod plainly;
mod pods;
mod predict;
mod prepare;
mod refusal;
mod retire;
mod scope;
mod strays;
mod taking;
mod unreached;
mod versions;
mod view;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch as ticks;
use tokio::task::JoinHandle;

use crate::domain::capabilities::Capabilities;
use crate::domain::desired::DesiredUnit;
use crate::domain::id::{Epoch, GroupId, RunId, UnitId};
use crate::domain::observed::{ObservedGroup, ObservedRun, Seen};
use crate::domain::prediction::Prediction;
use crate::ports::platform::{EnsureGroup, HookRequest, LogStream, Platform, PlatformError, Predict};
use crate::ports::scripts::RunRequest;
use crate::ports::traffic::Traffic;
use client::Call;
use cluster::Cluster;
pub use connect::Connection;
use fault::Fault;

/// How long a cluster is given to tell its epoch: no start waits for one that is down.
const PATIENCE: Duration = Duration::from_secs(3);

/// The platform of one cluster.
pub struct KubernetesPlatform {
    cluster: Arc<Cluster>,
    tasks: Vec<JoinHandle<()>>,
}

impl KubernetesPlatform {
    /// The platform of a cluster, for one installation. Starts following it, which needs a runtime; the cluster need not be there
    /// yet.
    pub fn new(connection: Connection, installation: impl Into<String>) -> Self {
        let cluster = Arc::new(Cluster::new(connection, installation.into()));
        let tasks = vec![
            tokio::spawn(cluster.clone().follow_parents()),
            tokio::spawn(cluster.clone().follow_kinds()),
            tokio::spawn(cluster.clone().finish_retiring()),
            tokio::spawn(cluster.clone().diagnose_pods()),
            tokio::spawn(cluster.clone().await_lacks()),
        ];
        KubernetesPlatform { cluster, tasks }
    }

    fn told(&self, fault: Fault, epoch: Epoch) -> PlatformError {
        fault.told(&self.cluster.name, epoch)
    }

    fn no_runs(&self) -> PlatformError {
        PlatformError::Refused { platform: self.cluster.name.clone(), reason: "scripts run on the host".into() }
    }
}

impl Drop for KubernetesPlatform {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.cluster.stop();
    }
}

#[async_trait]
impl Platform for KubernetesPlatform {
    async fn capabilities(&self, desired: &DesiredUnit) -> Seen<Capabilities> {
        match self.cluster.capabilities(desired).await {
            Ok(capabilities) => Seen::Known(capabilities),
            Err(fault) => Seen::Unknown(self.told(fault, Epoch(0)).to_string()),
        }
    }

    fn traffic(&self) -> Option<&dyn Traffic> {
        Some(self)
    }

    fn expects(&self, all: &[Arc<DesiredUnit>]) {
        self.cluster.lacks.keep(&all.iter().map(|desired| desired.unit.clone()).collect());
        self.cluster.claims.set(all);
    }

    async fn observe(&self, unit: &UnitId) -> Seen<Vec<ObservedGroup>> {
        match self.cluster.cache.observe(unit) {
            Seen::Known(groups) if groups.is_empty() => match self.cluster.found(unit).await {
                Ok(found) => Seen::Known(found.into_iter().collect()),
                Err(fault) => Seen::Unknown(self.told(fault, Epoch(0)).to_string()),
            },
            seen => seen,
        }
    }

    async fn units(&self) -> Seen<Vec<UnitId>> {
        self.cluster.cache.units()
    }

    async fn predict(&self, request: Predict<'_>) -> Prediction {
        self.cluster.predict(request).await
    }

    async fn ensure_group(&self, epoch: Epoch, request: &EnsureGroup) -> Result<(), PlatformError> {
        let unit = &request.desired.unit;
        self.cluster.lacks.forget(unit);
        let ensured = self.cluster.ensure(epoch, request).await;
        ensured.inspect_err(|fault| self.cluster.note_lack(unit, fault)).map_err(|fault| self.told(fault, epoch))
    }

    async fn take_over(&self, epoch: Epoch, from: &UnitId, request: &EnsureGroup) -> Result<(), PlatformError> {
        self.cluster.rename(epoch, from, request).await.map_err(|fault| self.told(fault, epoch))
    }

    async fn retire_group(&self, epoch: Epoch, unit: &UnitId, group: &GroupId) -> Result<(), PlatformError> {
        self.cluster.retire(epoch, unit, group).await.map_err(|fault| self.told(fault, epoch))
    }

    async fn start_run(&self, _epoch: Epoch, _request: &RunRequest) -> Result<(), PlatformError> {
        Err(self.no_runs())
    }

    async fn run(&self, _id: &RunId) -> (Seen<ObservedRun>, String) {
        (Seen::Known(ObservedRun::NotStarted), String::new())
    }

    async fn start_hook(&self, epoch: Epoch, request: &HookRequest) -> Result<(), PlatformError> {
        self.cluster.lacks.forget(&request.unit);
        let started = self.cluster.start_hook(epoch, request).await;
        let noted = started.inspect_err(|fault| self.cluster.note_lack(&request.unit, fault));
        noted.map_err(|fault| self.told(fault, epoch))
    }

    async fn hook(&self, request: &HookRequest) -> Seen<ObservedRun> {
        let seen = self.cluster.hook(request).await;
        seen.map_or_else(|fault| Seen::Unknown(self.told(fault, Epoch(0)).to_string()), Seen::Known)
    }

    async fn kill_run(&self, _epoch: Epoch, _id: &RunId) -> Result<(), PlatformError> {
        Ok(())
    }

    async fn logs(
        &self,
        unit: &UnitId,
        group: &GroupId,
        instance: Option<&str>,
        tail: u32,
    ) -> Result<String, PlatformError> {
        let read = self.cluster.read_logs(unit, group, instance, tail).await;
        read.map_err(|fault| self.told(fault, Epoch(0)))
    }

    async fn follow_logs(
        &self,
        unit: &UnitId,
        group: &GroupId,
        instance: Option<&str>,
        tail: u32,
    ) -> Result<LogStream, PlatformError> {
        let followed = self.cluster.clone().follow_logs(unit, group, instance, tail).await;
        followed.map_err(|fault| self.told(fault, Epoch(0)))
    }

    fn log_stream(&self, unit: &UnitId, group: &GroupId) -> String {
        self.cluster.log_stream(unit, group)
    }

    fn changes(&self) -> ticks::Receiver<u64> {
        self.cluster.cache.changes()
    }

    fn changed_units(&self) -> Option<BTreeSet<UnitId>> {
        Some(self.cluster.cache.take_dirty())
    }

    fn eased_units(&self) -> BTreeSet<UnitId> {
        self.cluster.lacks.take_eased()
    }

    async fn check(&self) -> Result<Vec<String>, PlatformError> {
        let asked = async { self.cluster.server().await?.call(&Call::get("/version")).await.map_err(Fault::from) };
        let answer = asked.await.map_err(|fault| self.told(fault, Epoch(0)))?;
        let minor = answer.get("minor").and_then(Value::as_str).unwrap_or_default();
        let minor: u32 = minor.trim_end_matches('+').parse().unwrap_or_default();
        let old =
            (minor < 27).then(|| "its API server is older than 1.27: it can't list all its kinds at once".to_owned());
        Ok(old.into_iter().collect())
    }

    async fn epoch(&self) -> Result<Epoch, PlatformError> {
        let read = tokio::time::timeout(PATIENCE, self.cluster.parents_read()).await;
        let late = || Fault::Unreachable("its units were not read in time".into());
        read.unwrap_or_else(|_| Err(late())).map_err(|fault| self.told(fault, Epoch(0)))?;
        Ok(self.cluster.cache.epoch())
    }
}
