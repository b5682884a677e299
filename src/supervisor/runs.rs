//! Hooks and scripts: each runs once, under a shim, and its outcome is durable.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::context::{Context, file_name, is_key};
use super::environment;
use super::epoch::EpochGate;
use super::files;
use super::groups::GroupError;
use super::identity::Identity;
use super::launch::{Attempt, blocking, conclude};
use super::making::make;
use super::records::{RunEnd, RunRecord};
use super::secrets::SecretsError;
use super::secrets::deliver::{self, Handed};
use super::shim::capped;
use super::shim::records::{ExitRecord, Launch, Output, StopCause, StopRequest};
use super::store::{self, StoreError};
use super::validate;
use crate::clock;
use crate::domain::id::Epoch;
use crate::domain::span::Span;
use crate::protocol::supervisor::{ExitHow, PutRun, RunState, RunStatus};

/// So many ended runs are remembered; the oldest are forgotten first.
const REMEMBERED: usize = 1000;

/// All runs of a supervisor.
pub struct Runs {
    ctx: Arc<Context>,
    gate: Arc<EpochGate>,
    runs: Mutex<BTreeMap<String, Arc<Run>>>,
    /// One new run at a time, so that an id is never made twice.
    making: tokio::sync::Mutex<()>,
}

/// One run.
struct Run {
    dir: PathBuf,
    record: watch::Sender<RunRecord>,
    kill: watch::Sender<bool>,
}

impl Runs {
    /// Takes up all runs that are recorded; those that had not ended are watched again.
    pub fn load(ctx: Arc<Context>, gate: Arc<EpochGate>) -> Result<(Arc<Runs>, Vec<String>), StoreError> {
        let dir = ctx.runs();
        store::create_dir(&dir)?;
        let runs = Arc::new(Runs { ctx, gate, runs: Mutex::default(), making: tokio::sync::Mutex::default() });
        let mut problems = Vec::new();
        for name in store::names(&dir)? {
            let dir = dir.join(&name);
            if !is_key(&name) {
                store::remove_dir(&dir)?;
                continue;
            }
            match store::read::<RunRecord>(&dir) {
                Ok(Some(record)) => drop(runs.insert(dir, record)),
                Ok(None) => problems.push(format!("{dir:?} holds no run and is left alone")),
                Err(error) => problems.push(format!("{error}; the run is left alone")),
            }
        }
        Ok((runs, problems))
    }

    fn runs(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Run>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, dir: PathBuf, record: RunRecord) -> Arc<Run> {
        let id = record.spec.id.as_str().to_owned();
        let running = record.end.is_none();
        let run = Arc::new(Run { dir, record: watch::Sender::new(record), kill: watch::Sender::new(false) });
        self.runs().insert(id, run.clone());
        if running {
            tokio::spawn(keep(self.ctx.clone(), run.clone()));
        }
        run
    }

    /// Starts a run, unless its id is known already; then nothing happens.
    pub async fn put(&self, id: &str, put: PutRun) -> Result<RunStatus, GroupError> {
        validate::run(id, &put)?;
        self.admit(put.epoch).await?;
        let _making = self.making.lock().await;
        let known = self.runs().get(id).cloned();
        let run = match known {
            Some(run) => run,
            None => {
                let record = self.create(id, put).await?;
                self.ctx.metrics.runs.inc();
                self.forget_oldest().await;
                self.insert(self.ctx.runs().join(file_name(id)), record)
            }
        };
        Ok(status(&run).await)
    }

    /// Makes the folder of a new run, whole or not at all.
    async fn create(&self, id: &str, put: PutRun) -> Result<RunRecord, GroupError> {
        SecretsError::demand(put.spec.secrets.keys(), &put.secrets)?;
        let record = RunRecord { spec: put.spec, started: clock::now(), attempt: 0, end: None };
        let (ctx, written, secrets) = (self.ctx.clone(), record.clone(), put.secrets);
        let user = self.ctx.user(&written.spec.user);
        let home = self.ctx.runs().join(file_name(id));
        make(&self.gate, put.epoch, home.clone(), move |made| {
            let spec = &written.spec;
            let owner = Identity::of(user.as_deref()).ok().and_then(|identity| identity.owner());
            files::make_dir(spec.artifact_dir.as_deref(), &made.join("work"), owner)
                .map_err(|source| GroupError::Artifact { key: spec.id.to_string(), source })?;
            deliver::link(&ctx.places, &home, &made.join("work"), &spec.secrets, owner)?;
            ctx.keeper.seal(made, spec.id.as_str(), &secrets)?;
            Ok(store::write(made, &written)?)
        })
        .await?;
        Ok(record)
    }

    /// A run as it is; waits for its end up to a time. `None` when the id is not known.
    pub async fn get(&self, id: &str, wait: Duration) -> Option<RunStatus> {
        let run = self.runs().get(id).cloned()?;
        let mut record = run.record.subscribe();
        let _ = tokio::time::timeout(wait, record.wait_for(|record| record.end.is_some())).await;
        Some(status(&run).await)
    }

    /// Kills a run's whole tree. False when the id is not known.
    pub async fn kill(&self, id: &str, epoch: Epoch) -> Result<bool, GroupError> {
        self.admit(epoch).await?;
        let Some(run) = self.runs().get(id).cloned() else { return Ok(false) };
        // Durable before the answer: the file is there, or the run has ended.
        let stop = request(StopCause::Requested);
        let (dir, record) = (run.dir.clone(), run.record.borrow().clone());
        if record.end.is_none() {
            blocking(move || store::write(&dir, &stop)).await?;
            run.kill.send_replace(true);
        }
        Ok(true)
    }

    async fn forget_oldest(&self) {
        let surplus: Vec<(String, PathBuf)> = {
            let runs = self.runs();
            let mut ended: Vec<_> = runs
                .iter()
                .filter_map(|(id, run)| Some((run.record.borrow().end.as_ref()?.at, id.clone(), run.dir.clone())))
                .collect();
            ended.sort();
            let count = (ended.len() + 1).saturating_sub(REMEMBERED);
            ended.into_iter().take(count).map(|(_, id, dir)| (id, dir)).collect()
        };
        for (id, dir) in surplus {
            self.runs().remove(&id);
            if let Err(error) = blocking(move || store::remove_dir(&dir)).await {
                tracing::warn!(run = id, %error, "an old run can't be forgotten");
            }
        }
    }

    async fn admit(&self, epoch: Epoch) -> Result<(), GroupError> {
        let gate = self.gate.clone();
        Ok(blocking(move || gate.admit(epoch)).await?)
    }
}

fn request(cause: StopCause) -> StopRequest {
    StopRequest { signal: nix::libc::SIGKILL, grace: Span::ZERO, cause }
}

fn output_file(dir: &Path) -> PathBuf {
    dir.join("output")
}

async fn status(run: &Run) -> RunStatus {
    let record = run.record.borrow().clone();
    let (file, limit) = (output_file(&run.dir), record.spec.output_limit);
    let output = blocking(move || capped::read(&file, limit)).await.unwrap_or_default();
    RunStatus {
        id: record.spec.id,
        state: record.end.as_ref().map_or(RunState::Running, |end| end.state.clone()),
        started: record.started,
        ended: record.end.map(|end| end.at),
        output,
    }
}

/// Sees a run to its end.
async fn keep(ctx: Arc<Context>, run: Arc<Run>) {
    let end = loop {
        match try_keep(&ctx, &run).await {
            Ok(Some(end)) => break end,
            Ok(None) => {}
            Err(error) => {
                let id = &run.record.borrow().spec.id.clone();
                tracing::error!(run = %id, %error, "a run can't be kept; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    };
    let mut record = run.record.borrow().clone();
    record.end = Some(end);
    let (dir, written) = (run.dir.clone(), record.clone());
    while let Err(error) = blocking({
        let (dir, written) = (dir.clone(), written.clone());
        move || store::write(&dir, &written)
    })
    .await
    {
        tracing::error!(run = %written.spec.id, %error, "the end of a run can't be recorded; trying again");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let attempt = attempt_dir(&run.dir, record.attempt);
    run.record.send_replace(record);
    let _ = blocking(move || {
        ctx.places.remove(&dir);
        ctx.keeper.forget(&dir);
        store::discard_dir(&attempt)?;
        store::remove_dir(&dir.join("work"))
    })
    .await;
}

fn attempt_dir(dir: &Path, attempt: u64) -> PathBuf {
    dir.join(format!("a{attempt}"))
}

/// One start of a run: found or begun, waited for, concluded. `None` when it is certain that it never began, so that it
/// may be started again.
async fn try_keep(ctx: &Arc<Context>, run: &Run) -> Result<Option<RunEnd>, StoreError> {
    let mut kill = run.kill.subscribe();
    let killed = store::read::<StopRequest>(&run.dir)?.is_some();
    let number = run.record.borrow().attempt;
    let last = attempt_dir(&run.dir, number);
    let found = if number == 0 { None } else { Attempt::find(&last)? };
    let mut attempt = match found {
        Some(attempt) => attempt,
        None => {
            let end = if number == 0 { None } else { concluded(ctx, &last).await? };
            if end.is_some() || killed {
                return Ok(end.or_else(|| Some(RunEnd { state: RunState::Killed, at: clock::now() })));
            }
            begin(ctx, run).await?
        }
    };
    if killed {
        attempt.stop(&request(StopCause::Requested))?;
    }
    loop {
        tokio::select! {
            () = attempt.gone() => break,
            Ok(()) = kill.changed() => attempt.stop(&request(StopCause::Requested))?,
        }
    }
    let last = attempt_dir(&run.dir, run.record.borrow().attempt);
    concluded(ctx, &last).await
}

async fn concluded(ctx: &Context, dir: &Path) -> Result<Option<RunEnd>, StoreError> {
    let (dir, boot) = (dir.to_owned(), ctx.boot.clone());
    let exit = blocking(move || conclude(&dir, &boot)).await?;
    // Blameless and never begun: only then a second start is no second run.
    let again = exit.blameless && !exit.begun;
    Ok((!again).then(|| end_of(exit)))
}

fn end_of(exit: ExitRecord) -> RunEnd {
    let state = match (exit.stopped, exit.how) {
        (_, ExitHow::Unknown(reason)) => RunState::Ended(ExitHow::Unknown(reason)),
        (Some(StopCause::Timeout), _) => RunState::TimedOut,
        (Some(StopCause::Requested), _) => RunState::Killed,
        (_, how) => RunState::Ended(how),
    };
    RunEnd { state, at: exit.at }
}

async fn begin(ctx: &Arc<Context>, run: &Run) -> Result<Attempt, StoreError> {
    let mut record = run.record.borrow().clone();
    record.attempt += 1;
    let (dir, written) = (run.dir.clone(), record.clone());
    blocking(move || store::write(&dir, &written)).await?;
    let spec = record.spec.clone();
    let dir = attempt_dir(&run.dir, record.attempt);
    run.record.send_replace(record);
    let name = ctx.cgroup_name(&dir, &format!("{}-run", spec.markers.unit.app));
    let (cgroup, _) = ctx.hierarchies.plan(&name, &spec.limits);
    let hierarchies = ctx.hierarchies.clone();
    let limits = spec.limits.clone();
    blocking(move || hierarchies.hand_down(&limits)).await.map_err(StoreError::io(&dir, "given control groups"))?;
    let token = uuid::Uuid::now_v7().to_string();
    let secrets = spec.secrets.clone();
    let launch = Launch {
        secrets: !secrets.is_empty(),
        boot: ctx.boot.clone(),
        command: spec.command,
        env: environment::of_run(&spec.env, &spec.markers, spec.id.as_str(), &token),
        token,
        dir: run.dir.join("work"),
        user: ctx.user(&spec.user),
        cgroup,
        output: Output::Capped { file: output_file(&run.dir), limit: spec.output_limit },
        stop: request(StopCause::Shutdown),
        timeout: Some(spec.timeout),
    };
    let (keeper, home, id) = (ctx.clone(), run.dir.clone(), spec.id);
    let user = launch.user.clone();
    let handed = blocking(move || -> Result<_, SecretsError> {
        if secrets.is_empty() {
            return Ok(Handed::default());
        }
        let values = keeper.keeper.open(&home, id.as_str())?;
        let owner = Identity::of(user.as_deref()).ok().and_then(|identity| identity.owner());
        deliver::lay_out(&keeper.places, &home, &secrets, &values, owner)
    })
    .await;
    // A run must not end as if it had been made: what can't be handed over is tried again, and told meanwhile.
    let handed = handed.map_err(|error| StoreError::Io {
        path: dir.clone(),
        what: "given its secrets",
        source: std::io::Error::other(error.to_string()),
    })?;
    Attempt::begin(&dir, &launch, &handed, &ctx.hierarchies).await
}
