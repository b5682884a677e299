//! One instance: it is started, watched, started again, stopped, and removed, by one task that asks
//! [`decide::next`] what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::context::Context;
use super::decide::{self, ProcessView, Todo, View};
use super::environment::{self, BuiltIns};
use super::files;
use super::identity::Identity;
use super::launch::{Attempt, blocking, conclude};
use super::live::{Event, Live};
use super::ports;
use super::records::SlotRecord;
use super::secrets::SecretsError;
use super::secrets::deliver::{self, Handed};
use super::shim::records::{ExitRecord, Launch, Output, StopCause, StopRequest};
use super::signal;
use super::store::{self, StoreError};
use crate::domain::span::Span;
use crate::domain::workload::{Check, Probe};
use crate::protocol::supervisor::{Exit, ExitHow, GroupSpec, InstanceState, InstanceStatus};

/// How much of each stream is kept where the App does not say.
const LOG_LIMIT: u64 = 10 << 20;

/// An instance over all its starts.
pub struct Instance {
    ctx: Arc<Context>,
    spec: Arc<GroupSpec>,
    slot: u32,
    dir: PathBuf,
    record: SlotRecord,
    wanted: watch::Receiver<bool>,
    live: Option<Live>,
    /// Before this it is not started again.
    start_at: Option<Instant>,
    /// A start of an earlier supervisor has ended and is not accounted for yet.
    unconcluded: bool,
    starting: bool,
}

/// Why a start failed before there was a shim.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("its working directory can't be made: {0}")]
    Files(#[from] files::CopyError),
    #[error(transparent)]
    Port(#[from] ports::NoPort),
    #[error(
        "its port {0} is used by another process (see `ss -ltnp`); it waits for it, since the port is known to routers"
    )]
    PortTaken(u16),
    #[error(transparent)]
    Identity(#[from] super::identity::IdentityError),
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("the control groups can't be set up: {0}")]
    Cgroup(std::io::Error),
}

impl Instance {
    /// Takes up an instance from its folder: a new one, or one of an earlier supervisor with its process if that lives.
    pub fn load(
        ctx: Arc<Context>,
        group_dir: &Path,
        spec: Arc<GroupSpec>,
        slot: u32,
        wanted: watch::Receiver<bool>,
    ) -> Result<Instance, StoreError> {
        let dir = slot_dir(group_dir, slot);
        store::create_dir(&dir)?;
        for name in store::names(&dir)?.iter().filter(|name| name.starts_with(".gone-")) {
            store::remove_dir(&dir.join(name))?;
        }
        let record = store::read::<SlotRecord>(&dir)?.unwrap_or_default();
        if let Some(port) = record.port {
            ctx.ports().keep(port);
        }
        let (live, start_at) = (None, None);
        let mut instance =
            Instance { ctx, spec, slot, dir, record, wanted, live, start_at, unconcluded: false, starting: false };
        if instance.record.attempt > instance.record.concluded {
            match Attempt::find(&instance.attempt_dir())? {
                Some(attempt) => instance.watch(attempt),
                None => instance.unconcluded = true,
            }
        } else if instance.record.failures > 0 {
            // It was waiting; a new supervisor is no reason to hurry.
            instance.start_at = Some(Instant::now() + decide::back_off(instance.record.failures));
        }
        Ok(instance)
    }

    /// Keeps the instance as it is wanted, until it is over. What is left then is its folder.
    pub async fn run(mut self) {
        if self.unconcluded {
            self.conclude().await;
        }
        loop {
            // First what a new supervisor will begin with, then what it is told of: whoever has seen that an instance is
            // ready sees no less after a kill.
            self.keep_readiness().await;
            self.publish();
            match decide::next(&self.view(), Instant::now()) {
                Todo::Start => self.start().await,
                Todo::Stop(cause) => self.stop(cause).await,
                Todo::Wait(until) => self.wait(until).await,
                Todo::Remove => return,
            }
        }
    }

    fn attempt_dir(&self) -> PathBuf {
        self.dir.join(format!("a{}", self.record.attempt))
    }

    fn id(&self) -> String {
        format!("{}-{}", self.spec.group, self.slot)
    }

    fn built_ins(&self) -> BuiltIns {
        BuiltIns { port: self.record.port, instance: self.id(), slot: self.slot }
    }

    fn view(&self) -> View {
        let process = self.live.as_ref().map(|live| ProcessView {
            stopping: live.stopping(),
            alive: live.alive(),
            available_at: live.available_at(),
        });
        View { wanted: *self.wanted.borrow(), start_at: self.start_at, process }
    }

    async fn start(&mut self) {
        self.starting = true;
        if self.record.last_exit.is_some() {
            self.record.restarts += 1;
            self.ctx.metrics.restarts.inc();
        }
        self.publish();
        let outcome = self.try_start().await;
        self.starting = false;
        if let Err(error) = outcome {
            let key = &self.spec.key;
            tracing::warn!(group = %key, slot = self.slot, %error, "instance can't be started");
            let exit = ExitRecord::not_started(error.to_string());
            self.account(&exit).await;
        }
    }

    async fn try_start(&mut self) -> Result<(), StartError> {
        self.take_port().await?;
        self.prepare_files().await?;
        self.record.attempt += 1;
        self.record.ready = None;
        self.save().await?;
        let launch = self.launch().await?;
        let handed = self.handed(&launch).await?;
        let attempt = Attempt::begin(&self.attempt_dir(), &launch, &handed, &self.ctx.hierarchies).await?;
        self.watch(attempt);
        Ok(())
    }

    /// Sees to it that the instance has a port that nobody else uses. Before its first process it may change.
    async fn take_port(&mut self) -> Result<(), StartError> {
        if !self.spec.process.port {
            return Ok(());
        }
        match self.record.port {
            Some(port) if blocking(move || ports::is_free(port)).await => return Ok(()),
            Some(port) if self.record.attempt > 0 => return Err(StartError::PortTaken(port)),
            Some(port) => self.ctx.ports().give_back(port),
            None => {}
        }
        self.record.port = Some(self.ctx.ports().take(ports::is_free)?);
        Ok(self.save().await?)
    }

    async fn prepare_files(&mut self) -> Result<(), StartError> {
        if self.record.prepared {
            return Ok(());
        }
        let user = self.ctx.user(&self.spec.process.user);
        let (source, target) = (files_dir(&self.dir), self.dir.join("work"));
        let has_files = self.spec.artifact_dir.is_some();
        let (ctx, dir, spec) = (self.ctx.clone(), self.dir.clone(), self.spec.clone());
        blocking(move || -> Result<(), StartError> {
            // Who is not known is told at the start, by the shim, as of every start.
            let owner = Identity::of(user.as_deref()).ok().and_then(|identity| identity.owner());
            store::remove_dir(&target)?;
            files::make_dir(has_files.then_some(source.as_path()), &target, owner)?;
            Ok(deliver::link(&ctx.places, &dir, &target, &spec.process.secrets, owner)?)
        })
        .await?;
        self.record.prepared = true;
        Ok(())
    }

    async fn launch(&self) -> Result<Launch, StartError> {
        let process = &self.spec.process;
        let (built_ins, limits) = (self.built_ins(), process.limits.clone());
        let name = self.ctx.cgroup_name(&self.attempt_dir(), &format!("{}-{}", self.spec.markers.unit.app, self.slot));
        let (cgroup, _) = self.ctx.hierarchies.plan(&name, &limits);
        let ctx = self.ctx.clone();
        blocking(move || ctx.hierarchies.hand_down(&limits)).await.map_err(StartError::Cgroup)?;
        let token = uuid::Uuid::now_v7().to_string();
        Ok(Launch {
            boot: self.ctx.boot.clone(),
            command: process.command.iter().map(|part| built_ins.substitute(part)).collect(),
            env: environment::of_instance(&process.env, &self.spec.markers, &built_ins, &token),
            token,
            dir: self.dir.join("work"),
            user: self.ctx.user(&process.user),
            cgroup,
            output: Output::Logs { dir: self.dir.clone(), limit: process.log_limit.unwrap_or(LOG_LIMIT) },
            stop: self.stop_request(StopCause::Shutdown),
            timeout: None,
            secrets: !process.secrets.is_empty(),
        })
    }

    /// Opens the secrets of the group for one start, and lays out those that are files.
    async fn handed(&self, launch: &Launch) -> Result<Handed, StartError> {
        if self.spec.process.secrets.is_empty() {
            return Ok(Handed::default());
        }
        let (ctx, dir, spec, user) = (self.ctx.clone(), self.dir.clone(), self.spec.clone(), launch.user.clone());
        blocking(move || {
            let owner = Identity::of(user.as_deref()).ok().and_then(|identity| identity.owner());
            let values = ctx.keeper.open(&group_dir(&dir), &spec.key)?;
            Ok(deliver::lay_out(&ctx.places, &dir, &spec.process.secrets, &values, owner)?)
        })
        .await
    }

    /// What a check that runs a command is handed beside the launch: the same as the process that it checks.
    fn handed_to_checks(&self) -> Handed {
        let probes = [&self.spec.health.readiness, &self.spec.health.liveness];
        let runs = |probe: &&Option<Probe>| matches!(probe, Some(Probe { check: Check::Exec { .. }, .. }));
        if self.spec.process.secrets.is_empty() || !probes.iter().any(runs) {
            return Handed::default();
        }
        let values = self.ctx.keeper.open(&group_dir(&self.dir), &self.spec.key);
        let handed =
            values.and_then(|values| deliver::handed(&self.ctx.places, &self.dir, &self.spec.process.secrets, &values));
        handed.unwrap_or_else(|error| {
            tracing::error!(group = %self.spec.key, slot = self.slot, %error, "checks run without the secrets");
            Handed::default()
        })
    }

    /// Watches the process of a start, which may be an earlier supervisor's.
    fn watch(&mut self, attempt: Attempt) {
        let ready = self.record.ready == Some(self.record.attempt);
        self.live = Some(Live::new(attempt, &self.spec, &self.built_ins(), self.handed_to_checks(), ready));
        self.start_at = None;
    }

    fn stop_request(&self, cause: StopCause) -> StopRequest {
        let stop = &self.spec.process.stop;
        StopRequest { signal: signal::number(&stop.signal).unwrap_or(nix::libc::SIGTERM), grace: stop.grace, cause }
    }

    async fn stop(&mut self, cause: StopCause) {
        let request = self.stop_request(cause);
        let Some(live) = &mut self.live else { return };
        if cause == StopCause::Unhealthy {
            tracing::warn!(group = %self.spec.key, slot = self.slot, reason = live.failure(), "restarting: not alive");
        }
        if let Err(error) = live.stop(request) {
            tracing::error!(group = %self.spec.key, slot = self.slot, %error, "stop can't be recorded; trying again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn wait(&mut self, until: Option<Instant>) {
        let deadline = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        let event = async {
            match &mut self.live {
                Some(live) => live.event().await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            event = event => event,
            () = deadline => return,
            changed = self.wanted.changed() => {
                if changed.is_err() {
                    // The supervisor is leaving; what runs is left alone.
                    std::future::pending::<()>().await;
                }
                return;
            }
        };
        match event {
            Event::Gone => self.conclude().await,
            Event::Begun => {}
            Event::Checked(probe, outcome) => {
                if outcome.is_err() {
                    self.ctx.metrics.check_failures.with_label_values(&[probe.name()]).inc();
                }
                if let Some(live) = &mut self.live {
                    live.observe(probe, outcome);
                }
            }
        }
    }

    /// Makes a change of readiness durable, so that a new supervisor begins with it.
    async fn keep_readiness(&mut self) {
        let ready =
            self.live.as_ref().is_some_and(|live| live.available(Instant::now())).then_some(self.record.attempt);
        if ready != self.record.ready {
            self.record.ready = ready;
            if let Err(error) = self.save().await {
                tracing::error!(group = %self.spec.key, slot = self.slot, %error, "readiness can't be recorded");
            }
        }
    }

    /// Finds out how the last start ended.
    async fn conclude(&mut self) {
        let (dir, boot) = (self.attempt_dir(), self.ctx.boot.clone());
        let exit = loop {
            let (dir, boot) = (dir.clone(), boot.clone());
            match blocking(move || conclude(&dir, &boot)).await {
                Ok(exit) => break exit,
                Err(error) => {
                    tracing::error!(group = %self.spec.key, slot = self.slot, %error, "an end can't be recorded; trying again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        self.account(&exit).await;
    }

    /// Takes an end into the books, durably, and decides over the back-off.
    async fn account(&mut self, exit: &ExitRecord) {
        let asked_for = exit.stopped == Some(StopCause::Requested);
        self.record.failures = match exit.blameless || asked_for {
            true => 0,
            false => decide::failures_after(self.record.failures, exit.ran.duration()),
        };
        let pause = decide::back_off(self.record.failures);
        self.start_at = Some(Instant::now() + pause);
        let reason = self.live.as_ref().and_then(Live::failure).filter(|_| exit.stopped == Some(StopCause::Unhealthy));
        self.record.message = Some(describe(exit, reason));
        self.record.last_exit = Some(Exit { how: exit.how.clone(), at: exit.at });
        self.record.ready = None;
        self.record.concluded = self.record.attempt;
        self.live = None;
        if let Some(message) = self.record.message.as_ref().filter(|_| !asked_for) {
            tracing::info!(group = %self.spec.key, slot = self.slot, message, again_in = ?pause, "instance ended");
        }
        // The books first: without them the exit record is still needed.
        if let Err(error) = self.save().await {
            tracing::error!(group = %self.spec.key, slot = self.slot, %error, "an end can't be recorded");
            return;
        }
        let dir = self.attempt_dir();
        let (ctx, slot) = (self.ctx.clone(), self.dir.clone());
        let discarded = blocking(move || {
            ctx.places.remove(&slot);
            store::discard_dir(&dir)
        });
        if let Err(error) = discarded.await {
            tracing::warn!(group = %self.spec.key, slot = self.slot, %error, "the files of a start are left behind");
        }
    }

    async fn save(&self) -> Result<(), StoreError> {
        let (dir, record) = (self.dir.clone(), self.record.clone());
        blocking(move || store::write(&dir, &record)).await
    }

    /// Puts the status on the board.
    pub fn publish(&self) {
        let live = self.live.as_ref();
        let wanted = *self.wanted.borrow();
        let state = match live {
            Some(live) if live.stopping().is_some() => InstanceState::Stopping,
            Some(live) if live.app().is_some() => InstanceState::Running,
            Some(_) => InstanceState::Starting,
            None if self.starting => InstanceState::Starting,
            None if !wanted => InstanceState::Stopped,
            None if self.record.last_exit.is_some() => InstanceState::BackOff,
            None => InstanceState::Starting,
        };
        let ready = live.is_some_and(|live| live.available(Instant::now()));
        let message = match live {
            _ if ready => None,
            Some(live) => live.failure().map(str::to_owned).or_else(|| self.record.message.clone()),
            None => self.record.message.clone(),
        };
        let app = live.and_then(Live::app);
        let status = InstanceStatus {
            id: self.id(),
            slot: self.slot,
            state,
            ready,
            pid: app.map(|app| app.process.pid as u32),
            port: self.record.port,
            started: app.map(|app| app.started),
            restarts: self.record.restarts,
            last_exit: self.record.last_exit.clone(),
            message,
        };
        self.ctx.board.put_instance(&self.spec.key, status);
    }
}

/// The folder of a slot.
pub fn slot_dir(group_dir: &Path, slot: u32) -> PathBuf {
    group_dir.join("slots").join(slot.to_string())
}

/// The group's folder, seen from a slot.
fn group_dir(slot_dir: &Path) -> PathBuf {
    slot_dir.ancestors().nth(2).unwrap_or(slot_dir).to_owned()
}

/// The group's own copy of the artifact, seen from a slot.
fn files_dir(slot_dir: &Path) -> PathBuf {
    group_dir(slot_dir).join("files")
}

/// An end in words.
fn describe(exit: &ExitRecord, unhealthy: Option<&str>) -> String {
    let how = match (&exit.how, exit.stopped) {
        (_, Some(StopCause::Unhealthy)) => {
            format!(
                "it was stopped since its liveness check failed: {}",
                unhealthy.unwrap_or("see the supervisor's log")
            )
        }
        (_, Some(StopCause::Shutdown)) => "it was stopped since its shim was asked to leave".to_owned(),
        (ExitHow::Code(code), _) => format!("it exited with code {code}"),
        (ExitHow::Signal(number), _) => format!("it was ended by {}", signal::name(*number)),
        (ExitHow::OutOfMemory, _) => "the kernel killed it for its memory limit".to_owned(),
        (ExitHow::NotStarted(reason), _) => format!("it could not be started: {reason}"),
        (ExitHow::Unknown(reason), _) => format!("how it ended is not known: {reason}"),
    };
    let after = if exit.ran > Span::ZERO { format!(" after {}", exit.ran) } else { String::new() };
    let lines = exit.last_lines.join(" | ");
    if lines.is_empty() { format!("{how}{after}") } else { format!("{how}{after}; its last words: {lines}") }
}
