//! The host itself: processes under `trimtab supervisor`, spoken to over its Unix socket.
//!
//! One background task follows the supervisor's list of groups by long polling and drives [`Platform::changes`]; `observe`
//! answers from what it has, so that looking at an unchanged host asks nothing. After each effect the list is read anew
//! before the call returns: the next observation shows the state after it, or says `Unknown`.

mod cache;
mod convert;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use http::Method;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::domain::{
    capabilities::{Capabilities, Split},
    desired::DesiredUnit,
    id::{Epoch, GroupId, RunId, UnitId},
    observed::{ObservedGroup, ObservedRun, Seen},
    workload::Workload,
};
use crate::net::client::{Client, ClientError, segment};
use crate::net::lines::lines;
use crate::ports::platform::{EnsureGroup, LogStream, Platform, PlatformError};
use crate::ports::scripts::RunRequest;
use crate::protocol::{
    ErrorBody, ErrorCode, Hello, Markers, VERSION,
    supervisor::{GroupSpec, GroupStatus, PutGroup, PutRun, RunSpec, RunState, RunStatus},
};

use cache::Cache;

/// Traffic is split by the router's weights, which are finer than any plan's percentages.
const SPLIT: Split = Split::Weights(1_000_000);

/// How long the supervisor is asked to hold an answer back while nothing changes.
const RUN_WAIT: Duration = Duration::from_secs(20);

/// The platform of one supervisor.
#[derive(Debug)]
pub struct HostPlatform {
    client: Client,
    installation: String,
    cache: Arc<Cache>,
    follower: JoinHandle<()>,
    /// The tasks that wait for runs to end, so that `changes` tells it.
    waiting: Arc<Mutex<BTreeMap<RunId, JoinHandle<()>>>>,
}

impl HostPlatform {
    /// The platform behind the supervisor's socket, for one installation. Starts following it, which needs a runtime; the
    /// supervisor need not be there yet.
    pub fn new(socket: impl Into<PathBuf>, installation: impl Into<String>) -> Self {
        let client = Client::new(socket);
        let cache = Arc::new(Cache::new(client.clone()));
        let follower = tokio::spawn(Arc::clone(&cache).follow());
        HostPlatform { client, installation: installation.into(), cache, follower, waiting: Arc::default() }
    }

    fn platform(&self) -> String {
        format!("the supervisor at {}", self.client.socket().display())
    }

    fn error(&self, error: &ClientError, epoch: Epoch) -> PlatformError {
        let platform = self.platform();
        let ClientError::Refused { status, .. } = error else {
            return PlatformError::Unreachable { platform, reason: error.to_string() };
        };
        match error.refusal::<ErrorBody>() {
            Some(ErrorBody { code: ErrorCode::StaleEpoch, .. }) => PlatformError::Stale { platform, epoch },
            Some(ErrorBody { code: ErrorCode::Failed, message }) => PlatformError::Failed { platform, reason: message },
            Some(ErrorBody { message, .. }) => PlatformError::Refused { platform, reason: message },
            None if status.is_server_error() => PlatformError::Failed { platform, reason: error.to_string() },
            None => PlatformError::Refused { platform, reason: error.to_string() },
        }
    }

    /// One effect, and what is there after it. An effect whose answer was lost may have happened: the look is due all the more.
    async fn perform(
        &self,
        epoch: Epoch,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<(), PlatformError> {
        let result = self.client.bytes(method, path, body).await;
        self.cache.refresh().await;
        result.map(|_| ()).map_err(|error| self.error(&error, epoch))
    }

    fn is_mine(&self, group: &GroupStatus) -> bool {
        group.markers.installation == self.installation
    }

    /// What the supervisor calls a group: the name that its unit had when it was made. A unit that was renamed keeps its groups'
    /// keys, so a key may be taken by another unit's group.
    async fn key_of(&self, unit: &UnitId, group: &GroupId) -> String {
        let plain = format!("{unit}/{group}");
        let Seen::Known(list) = self.cache.groups().await else { return plain };
        let mine = |status: &GroupStatus| {
            status.markers.installation == self.installation && status.markers.unit == *unit && status.group == *group
        };
        if let Some(status) = list.all().iter().find(|status| mine(status)) {
            return status.key.clone();
        }
        let taken = |key: &String| list.all().iter().any(|status| status.key == *key);
        let others = (2_u32..).map(|number| format!("{plain}~{number}"));
        [plain.clone()].into_iter().chain(others).find(|key| !taken(key)).unwrap_or(plain)
    }

    async fn put(&self, epoch: Epoch, key: String, request: &EnsureGroup) -> Result<(), PlatformError> {
        let EnsureGroup { desired, rendered, group, replicas, artifact, secrets, .. } = request;
        let Workload::Process(process) = &desired.workload else {
            let reason = format!("{} asks for something else than processes", desired.unit);
            return Err(PlatformError::Refused { platform: "the supervisor".into(), reason });
        };
        let spec = GroupSpec {
            key: key.clone(),
            group: group.clone(),
            markers: self.markers(&desired.unit, rendered, &desired.version),
            process: process.clone(),
            artifact_dir: artifact.clone(),
            health: desired.health.clone(),
        };
        let body = PutGroup { version: VERSION, epoch, spec, replicas: *replicas, secrets: secrets.clone() };
        self.perform(epoch, Method::PUT, &group_path(&key), Some(&body)).await
    }

    fn markers(&self, unit: &UnitId, rendered: &crate::domain::digest::Digest, version: &str) -> Markers {
        Markers {
            installation: self.installation.clone(),
            unit: unit.clone(),
            rendered: rendered.clone(),
            version: version.to_owned(),
        }
    }

    /// Waits for the end of a run in the background, unless somebody does already.
    fn await_run(&self, id: &RunId) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, task| !task.is_finished());
        waiting.entry(id.clone()).or_insert_with(|| {
            let (client, cache) =
                (self.client.clone().with_timeout(RUN_WAIT + Duration::from_secs(5)), Arc::clone(&self.cache));
            let path = format!("{}?wait={}s", run_path(id), RUN_WAIT.as_secs());
            tokio::spawn(async move {
                while let Ok(RunStatus { state: RunState::Running, .. }) = client.get(&path).await {}
                cache.changed();
            })
        });
    }
}

impl Drop for HostPlatform {
    fn drop(&mut self) {
        self.follower.abort();
        for task in self.waiting.lock().unwrap_or_else(PoisonError::into_inner).values() {
            task.abort();
        }
    }
}

fn is_not_found(error: &ClientError) -> bool {
    error.refusal::<ErrorBody>().is_some_and(|body| body.code == ErrorCode::NotFound)
}

fn group_path(key: &str) -> String {
    format!("/v1/groups/{}", segment(key))
}

fn logs_path(key: &str, instance: Option<&str>, tail: u32) -> String {
    let instance = instance.map(|id| format!("&instance={}", segment(id))).unwrap_or_default();
    format!("{}/logs?tail={tail}{instance}", group_path(key))
}

fn run_path(id: &RunId) -> String {
    format!("/v1/runs/{}", segment(id.as_str()))
}

#[async_trait]
impl Platform for HostPlatform {
    /// Processes can do everything; what hangs on requests needs a route.
    async fn capabilities(&self, desired: &DesiredUnit) -> Seen<Capabilities> {
        Seen::Known(Capabilities {
            versioned_groups: true,
            in_place: false,
            surge: true,
            split: if desired.route.is_some() { SPLIT } else { Split::None },
            hold: true,
            preview: true,
            drain: true,
            measures: true,
            runs: true,
        })
    }

    async fn observe(&self, unit: &UnitId) -> Seen<Vec<ObservedGroup>> {
        match self.cache.groups().await {
            Seen::Known(groups) => {
                let mine = groups.of(unit).filter(|group| self.is_mine(group));
                Seen::Known(mine.cloned().map(convert::group).collect())
            }
            Seen::Unknown(reason) => Seen::Unknown(reason),
        }
    }

    async fn units(&self) -> Seen<Vec<UnitId>> {
        match self.cache.groups().await {
            Seen::Known(groups) => {
                let mine = groups.all().iter().filter(|group| self.is_mine(group));
                let units: BTreeSet<UnitId> = mine.map(|group| group.markers.unit.clone()).collect();
                Seen::Known(units.into_iter().collect())
            }
            Seen::Unknown(reason) => Seen::Unknown(reason),
        }
    }

    async fn ensure_group(&self, epoch: Epoch, request: &EnsureGroup) -> Result<(), PlatformError> {
        let key = self.key_of(&request.desired.unit, &request.group).await;
        self.put(epoch, key, request).await
    }

    async fn take_over(&self, epoch: Epoch, from: &UnitId, request: &EnsureGroup) -> Result<(), PlatformError> {
        let key = self.key_of(from, &request.group).await;
        self.put(epoch, key, request).await
    }

    async fn retire_group(&self, epoch: Epoch, unit: &UnitId, group: &GroupId) -> Result<(), PlatformError> {
        let path = format!("{}?epoch={epoch}", group_path(&self.key_of(unit, group).await));
        self.perform(epoch, Method::DELETE, &path, None::<&()>).await
    }

    async fn start_run(&self, epoch: Epoch, request: &RunRequest) -> Result<(), PlatformError> {
        let RunRequest { id, unit, rendered, version, script, artifact, secrets } = request;
        let spec = RunSpec {
            id: id.clone(),
            markers: self.markers(unit, rendered, version),
            command: script.command.clone(),
            env: script.env.clone(),
            secrets: script.secrets.clone(),
            artifact_dir: artifact.clone(),
            user: script.user.clone(),
            limits: script.limits.clone(),
            timeout: script.timeout,
            output_limit: script.output_limit,
        };
        let body = PutRun { version: VERSION, epoch, spec, secrets: secrets.clone() };
        let result = self.client.bytes(Method::PUT, &run_path(id), Some(&body)).await;
        self.await_run(id);
        result.map(|_| ()).map_err(|error| self.error(&error, epoch))
    }

    async fn run(&self, id: &RunId) -> (Seen<ObservedRun>, String) {
        match self.client.get::<RunStatus>(&run_path(id)).await {
            Ok(status) => {
                if status.state == RunState::Running {
                    self.await_run(id);
                }
                (Seen::Known(convert::run(&status.state)), status.output)
            }
            Err(error) if is_not_found(&error) => (Seen::Known(ObservedRun::NotStarted), String::new()),
            Err(error) => (Seen::Unknown(error.to_string()), String::new()),
        }
    }

    async fn kill_run(&self, epoch: Epoch, id: &RunId) -> Result<(), PlatformError> {
        let path = format!("{}?epoch={epoch}", run_path(id));
        let result = self.client.bytes(Method::DELETE, &path, None::<&()>).await;
        match result {
            Err(error) if is_not_found(&error) => Ok(()),
            other => other.map(|_| ()).map_err(|error| self.error(&error, epoch)),
        }
    }

    async fn logs(
        &self,
        unit: &UnitId,
        group: &GroupId,
        instance: Option<&str>,
        tail: u32,
    ) -> Result<String, PlatformError> {
        let path = logs_path(&self.key_of(unit, group).await, instance, tail);
        let bytes = self.client.bytes(Method::GET, &path, None::<&()>).await;
        let bytes = bytes.map_err(|error| self.error(&error, Epoch(0)))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn follow_logs(
        &self,
        unit: &UnitId,
        group: &GroupId,
        instance: Option<&str>,
        tail: u32,
    ) -> Result<LogStream, PlatformError> {
        let path = format!("{}&follow=true", logs_path(&self.key_of(unit, group).await, instance, tail));
        let answer = self.client.open(Method::GET, &path, None::<&()>).await;
        let answer = answer.map_err(|error| self.error(&error, Epoch(0)))?;
        let platform = self.platform();
        let broken = move |reason| PlatformError::Unreachable { platform: platform.clone(), reason };
        Ok(lines(answer.into_body()).map(move |piece| piece.map_err(&broken)).boxed())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.cache.changes()
    }

    async fn check(&self) -> Result<Vec<String>, PlatformError> {
        let hello = self.client.get::<Hello>("/v1/hello").await.map_err(|error| self.error(&error, Epoch(0)))?;
        Ok(hello.limitations)
    }

    async fn epoch(&self) -> Result<Epoch, PlatformError> {
        let hello = self.client.get::<Hello>("/v1/hello").await.map_err(|error| self.error(&error, Epoch(0)))?;
        Ok(hello.epoch)
    }
}
