//! The daemon, turn by turn: its units, its recorder and its reconciler run in whatever order chance gives, one at a time; when
//! none has anything to do, time passes to what comes next. A daemon that has died is started again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use trimtab::adapters::clock::SteadyClock;
use trimtab::api::operations::{Caller, Operations};
use trimtab::api::types::{Problem, QuarantineClear, UnitCommand};
use trimtab::app::blobs::Blobs;
use trimtab::app::config::Config;
use trimtab::app::daemon::wake_changed;
use trimtab::app::hub::Hub;
use trimtab::app::installation::Installation;
use trimtab::app::operations::Daemon;
use trimtab::app::platforms::Platforms;
use trimtab::app::reconciler::Reconciler;
use trimtab::app::registry::Registry;
use trimtab::app::reload::ConfigError;
use trimtab::app::retention;
use trimtab::app::rollback::recorder;
use trimtab::app::telemetry::Telemetry;
use trimtab::app::turns::Turns;
use trimtab::app::unit::glance::Glance;
use trimtab::app::unit::task::{Shared, Turn, turn};
use trimtab::app::world::World;
use trimtab::domain::id::{Epoch, UnitId};
use trimtab::ports::journal::Journal;
use trimtab::ports::platform::Platform;
use trimtab::ports::traffic::Traffic;
use trimtab::secrets::local::LocalKey;

use super::dice::Dice;
use super::judge::Judge;
use super::ports::{Line, Ports};
use super::world::Outside;

/// From a death to the next start.
const RESTART: SignedDuration = SignedDuration::from_secs(2);
/// How often the source is asked by itself.
const POLL: Duration = Duration::from_secs(30);

/// How often what nobody needs any more is removed.
const RETENTION: Duration = Duration::from_secs(77);

/// One thing that can have its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Task {
    Unit(UnitId),
    Recorder,
    RestoreHead,
    Reconciler,
    Look,
    HandOver,
    Retention,
}

/// When a unit has its next turn.
#[derive(Default)]
struct Slot {
    due: Option<Timestamp>,
    woken: bool,
    retry: Option<Duration>,
    met: bool,
}

/// One life of the daemon.
struct Life {
    line: Arc<Line>,
    world: Arc<World>,
    shared: Arc<Shared>,
    reconciler: Arc<Reconciler>,
    operations: Daemon,
    slots: BTreeMap<UnitId, Slot>,
    recorder: Option<Timestamp>,
    /// Whether what was read last was read again.
    restored: bool,
    reconcile: Timestamp,
    retention: Timestamp,
    hand_over: bool,
    seen: u64,
}

/// Everything: the outside, the daemon while it lives, and the judge.
pub struct Machine {
    pub outside: Arc<Mutex<Outside>>,
    life: Option<Life>,
    start_at: Timestamp,
    dice: Dice,
    pub judge: Judge,
    pub lives: usize,
    runtime: Option<tokio::runtime::Runtime>,
}

/// It has died meanwhile.
#[derive(Debug)]
struct Died;

impl Machine {
    pub fn new(mut dice: Dice) -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let outside = Arc::new(Mutex::new(Outside::new(now, dice.fork())));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Machine { outside, life: None, start_at: now, dice, judge: Judge::default(), lives: 0, runtime: Some(runtime) }
    }

    pub fn outside(&self) -> MutexGuard<'_, Outside> {
        self.outside.lock().unwrap()
    }

    pub fn now(&self) -> Timestamp {
        self.outside().now
    }

    /// Lets a span pass, with everything that happens in it.
    pub fn run_for(&mut self, seconds: i64) {
        let until = self.now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.run(until, |_| false);
    }

    /// Runs until a condition holds; answers whether it did within so long.
    pub fn run_to(&mut self, seconds: i64, holds: impl Fn(&Machine) -> bool) -> bool {
        let until = self.now().checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.run(until, holds)
    }

    fn run(&mut self, until: Timestamp, holds: impl Fn(&Machine) -> bool) -> bool {
        let runtime = self.runtime.take().unwrap();
        let held = runtime.block_on(self.drive(until, holds));
        self.runtime = Some(runtime);
        held
    }

    async fn drive(&mut self, until: Timestamp, holds: impl Fn(&Machine) -> bool) -> bool {
        let mut at_once = 0;
        loop {
            if holds(self) {
                return true;
            }
            if self.life.is_none() && self.start_at <= self.now() {
                self.start().await;
            }
            let tasks = self.tasks();
            if tasks.is_empty() {
                at_once = 0;
                let next = self.next().map_or(until, |next| next.min(until));
                self.outside().pass_to(next);
                self.judge.look(&self.outside.lock().unwrap());
                if next >= until && self.tasks().is_empty() && (self.life.is_some() || self.start_at > until) {
                    return holds(self);
                }
                continue;
            }
            at_once += 1;
            assert!(
                at_once < 20_000,
                "it spins: {:#?}",
                self.outside().trace.iter().rev().take(40).collect::<Vec<_>>()
            );
            let task = self.dice.pick(&tasks).clone();
            let ended = self.turn(&task).await;
            self.judge.look(&self.outside.lock().unwrap());
            match ended {
                Err(Died) => self.die(),
                Ok(()) if self.life.as_ref().is_some_and(|life| life.shared.stale.is_cancelled()) => {
                    self.outside().note("it stops as stale");
                    self.die();
                }
                Ok(()) => {}
            }
        }
    }

    /// Kills the daemon where it stands.
    pub fn kill(&mut self) {
        if self.life.is_some() {
            self.outside().note("killed");
            self.die();
        }
    }

    fn die(&mut self) {
        if let Some(life) = self.life.take() {
            life.line.kill();
            life.shared.stop.cancel();
        }
        self.start_at = self.now().checked_add(RESTART).unwrap();
    }

    async fn start(&mut self) {
        self.lives += 1;
        self.outside().note("started");
        let line = Line::new(self.outside.clone());
        let opened = alive(&line, open(line.clone())).await;
        match opened {
            Ok(Ok(life)) => self.life = Some(life),
            Ok(Err(error)) => {
                self.outside().note(format_args!("it does not start: {error}"));
                self.start_at = self.now().checked_add(RESTART).unwrap();
            }
            Err(Died) => self.start_at = self.now().checked_add(RESTART).unwrap(),
        }
    }

    /// Who has something to do now.
    fn tasks(&mut self) -> Vec<Task> {
        let (now, changes) = {
            let outside = self.outside();
            (outside.now, outside.changes)
        };
        let Some(life) = &mut self.life else { return Vec::new() };
        let mut tasks = Vec::new();
        for unit in life.shared.registry.all() {
            let slot = life.slots.entry(unit.id().clone()).or_default();
            slot.woken |= unit.take_wake();
            if slot.woken || !slot.met || slot.due.is_some_and(|due| due <= now) {
                tasks.push(Task::Unit(unit.id().clone()));
            }
        }
        if life.shared.record_rollbacks.notified().now_or_never().is_some() {
            life.recorder = Some(now);
        }
        if life.recorder.is_some_and(|due| due <= now) {
            tasks.push(Task::Recorder);
        }
        if life.reconciler.take_due() {
            life.reconcile = now;
        }
        life.hand_over |= life.shared.hand_over.notified().now_or_never().is_some();
        if life.hand_over {
            tasks.push(Task::HandOver);
        }
        if !life.restored {
            tasks.push(Task::RestoreHead);
        }
        if life.reconcile <= now {
            tasks.push(Task::Reconciler);
        }
        if life.retention <= now {
            tasks.push(Task::Retention);
        }
        if life.seen != changes {
            tasks.push(Task::Look);
        }
        tasks
    }

    /// When something happens next.
    fn next(&self) -> Option<Timestamp> {
        let outside = self.outside().next_change();
        let Some(life) = &self.life else { return outside.into_iter().chain([self.start_at]).min() };
        let slots = life.slots.values().filter_map(|slot| slot.due);
        slots.chain(life.recorder).chain([life.reconcile, life.retention]).chain(outside).min()
    }

    async fn turn(&mut self, task: &Task) -> Result<(), Died> {
        let now = self.now();
        let Some(life) = &mut self.life else { return Ok(()) };
        let line = life.line.clone();
        match task {
            Task::Unit(id) => {
                let Some(unit) = life.shared.registry.get(id) else { return Ok(()) };
                let slot = life.slots.entry(id.clone()).or_default();
                (slot.due, slot.woken, slot.met) = (None, false, true);
                let next = alive(&line, turn(&unit, &life.shared, &mut slot.retry)).await?;
                slot.due = match next {
                    Turn::Again => Some(now),
                    Turn::Wait(limit) => limit.map(|limit| later(now, limit)),
                    Turn::Stop => None,
                };
            }
            Task::Recorder => {
                life.recorder = None;
                let again = alive(&line, recorder::turn(&life.world, &life.shared, &life.reconciler)).await?;
                life.recorder = again.map(|delay| later(now, delay));
            }
            Task::RestoreHead => {
                life.restored = true;
                alive(&line, life.reconciler.restore_head()).await?;
            }
            Task::Reconciler => {
                life.reconcile = later(now, POLL);
                // A source that does not answer is asked again; what it says is in the trace.
                let _ = alive(&line, life.reconciler.pass()).await?;
            }
            Task::HandOver => {
                life.hand_over = false;
                let _ = alive(&line, life.reconciler.accept()).await?;
            }
            Task::Retention => {
                life.retention = later(now, RETENTION);
                // What does not go now goes later.
                let _ = alive(&line, retention::look(&life.world, &life.shared)).await?;
            }
            Task::Look => {
                life.seen = self.outside.lock().unwrap().changes;
                alive(&line, wake_changed(&life.world, &life.shared)).await?;
            }
        }
        // Measurements are taken beside the units.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// The source may have something new.
    pub fn hint(&self) {
        if let Some(life) = &self.life {
            life.reconciler.mark_due();
        }
    }

    /// An operator's command; `None` where no daemon answers, or it died of it.
    pub fn command(&mut self, unit: &UnitId, command: UnitCommand) -> Option<Result<(), Problem>> {
        self.outside().note(format_args!("operator: {unit}: {command:?}"));
        self.ask(async |operations| operations.unit_command(&Caller("ada".into()), unit, command).await.map(|_| ()))
    }

    pub fn clear_quarantine(&mut self, unit: &UnitId) -> Option<Result<(), Problem>> {
        self.outside().note(format_args!("operator: {unit}: clear quarantine"));
        let request = QuarantineClear { app: unit.app.clone(), environment: None, rendered: None };
        self.ask(async |operations| operations.clear_quarantine(&Caller("ada".into()), request).await.map(|_| ()))
    }

    fn ask<T>(&mut self, request: impl AsyncFnOnce(&Daemon) -> Result<T, Problem>) -> Option<Result<T, Problem>> {
        let runtime = self.runtime.take().unwrap();
        let life = self.life.as_ref();
        let answer = life.map(|life| runtime.block_on(alive(&life.line, request(&life.operations))));
        self.runtime = Some(runtime);
        match answer? {
            Ok(answer) => Some(answer),
            Err(Died) => {
                self.die();
                None
            }
        }
    }

    /// How a unit stands, while a daemon lives.
    pub fn glance(&self, unit: &UnitId) -> Option<Arc<Glance>> {
        Some(self.life.as_ref()?.shared.registry.get(unit)?.glance())
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    now.saturating_add(SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX)
}

/// What a future comes to, unless the daemon dies in it.
async fn alive<T>(line: &Line, work: impl Future<Output = T>) -> Result<T, Died> {
    tokio::select! {
        biased;
        () = line.died.notified() => Err(Died),
        value = work => Ok(value),
    }
}

/// What the wiring and the start of the daemon do.
async fn open(line: Arc<Line>) -> anyhow::Result<Life> {
    let ports = Arc::new(Ports(line.clone()));
    let seen: Epoch = Platform::epoch(ports.as_ref()).await.unwrap_or_default();
    let seen = seen.max(Traffic::epoch(ports.as_ref()).await.unwrap_or_default());
    let epoch = ports.claim_above("simulation", seen).await?;
    let world = Arc::new(World {
        installation: "sim".parse()?,
        epoch,
        blobs: Blobs::new(ports.clone(), LocalKey::new("/nonexistent/values.key".into())),
        journal: ports.clone(),
        source: ports.clone(),
        platforms: Platforms::from(ports.clone() as Arc<dyn Platform>),
        traffic: ports.clone(),
        artifacts: ports.clone(),
        secrets: ports.clone(),
        tools: trimtab::wiring::offline_object_tools(),
        metrics: ports.clone(),
        audit: Arc::new(super::audit::Forgetful),
        clock: Arc::new(SteadyClock::new(ports.as_ref().clone())),
        hub: Hub::default(),
        telemetry: Telemetry::default(),
        turns: Turns::new(1),
    });
    let settings: Config = toml::from_str("[source]\nurl = 'simulation'\n[rollback]\nper_hour = 1000\n")?;
    let installation = Arc::new(Installation::open(world.clone()).await?);
    // Units have their turns from the machine, not from tasks of their own.
    world.turns.close();
    let shared = Arc::new(Shared {
        settings,
        registry: Arc::new(Registry::default()),
        installation,
        record_rollbacks: Notify::new(),
        left_over: Notify::new(),
        hand_over: Notify::new(),
        config_error: ConfigError::default(),
        stop: CancellationToken::new(),
        stale: CancellationToken::new(),
    });
    let reconciler = Arc::new(Reconciler::new(world.clone(), shared.clone()));
    reconciler.restore().await?;
    let operations = Daemon::new(world.clone(), shared.clone(), reconciler.clone());
    let now = ports.0.now();
    Ok(Life {
        line,
        world,
        shared,
        reconciler,
        operations,
        slots: BTreeMap::new(),
        recorder: Some(now),
        restored: false,
        reconcile: now,
        retention: later(now, RETENTION),
        hand_over: false,
        seen: 0,
    })
}
