//! One unit: an actor that looks, decides in the domain, does one thing, writes it down, and looks again.
//!
//! Everything is level-triggered: [`Unit::wake`] says only that there may be something to do.

pub mod advance;
pub mod commands;
pub mod glance;
pub mod hooks;
pub mod measure;
pub mod moving;
mod origin;
pub mod outcome;
pub mod step;
mod surroundings;
pub mod task;

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::log::{Log, LogError};
use super::pins;
use super::registry::Registry;
use super::unit_log;
use super::world::World;
use crate::domain::id::{Revision, RollbackId, RolloutId, UnitId};
use crate::domain::observed::ObservedUnit;
use crate::domain::plan::Plan;
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::state::UnitState;
use glance::Glance;
use measure::Pending;

/// One unit of the installation.
pub struct Unit {
    id: UnitId,
    world: Arc<World>,
    inner: Mutex<Inner>,
    wake: Arc<Notify>,
    glance: RwLock<Arc<Glance>>,
    /// When somebody asked last that what waits for its next try is tried at once.
    asked: std::sync::Mutex<Option<Timestamp>>,
}

/// What only the holder of the lock touches.
struct Inner {
    log: Log<UnitState>,
    observed: Option<ObservedUnit>,
    /// The plan of the rollout under way, read once.
    plan: Option<(RolloutId, Arc<Plan>)>,
    /// With this state and this observation nothing was to do: as long as both are the same, nothing is.
    converged: Option<(Arc<UnitState>, ObservedUnit)>,
    /// A measurement that is being taken.
    pending: Option<Pending>,
    /// Whether the catalog has said anything yet. Before that nothing new becomes effective: what holds it may not be known.
    told: bool,
    /// Why the documents don't render; from the catalog, not from the journal: the next commit tells anew.
    broken: Option<String>,
    /// Whether it may be gone only because history was rewritten or too much went at once; until somebody says.
    needs_ack: Option<crate::domain::unit::held::HeldReason>,
    /// Its new name, and why it can't be taken over yet; from the catalog.
    moving: Option<(UnitId, String)>,
}

impl Unit {
    /// Reads a unit from the journal; one that was never seen is empty.
    ///
    /// # Errors
    ///
    /// Its stream can't be read.
    pub async fn open(world: Arc<World>, id: UnitId) -> Result<Arc<Self>, LogError> {
        let stream = unit_log::stream(&id);
        let log = Log::open(world.journal.clone(), world.epoch, stream, UnitState::default()).await?;
        let glance = RwLock::new(Arc::new(Glance::of(log.shared())));
        let inner = Inner {
            log,
            observed: None,
            plan: None,
            converged: None,
            pending: None,
            told: false,
            broken: None,
            needs_ack: None,
            moving: None,
        };
        Ok(Arc::new(Unit {
            id,
            world,
            inner: Mutex::new(inner),
            wake: Arc::new(Notify::new()),
            glance,
            asked: std::sync::Mutex::default(),
        }))
    }

    /// Which unit it is.
    pub fn id(&self) -> &UnitId {
        &self.id
    }

    /// There may be something to do.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// What waits for its next try is tried at once.
    pub fn try_now(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.world.now());
        self.wake();
    }

    /// When that was asked for last.
    fn asked(&self) -> Option<Timestamp> {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was woken since this was asked last; for who drives it turn by turn instead of with [`task::run`].
    pub fn take_wake(&self) -> bool {
        self.wake.notified().now_or_never().is_some()
    }

    /// How it stood when it last looked: never waits.
    pub fn glance(&self) -> Arc<Glance> {
        self.glance.read().expect("a glance is replaced as a whole").clone()
    }

    async fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().await
    }

    /// Appends events and shows the new state.
    async fn append(&self, inner: &mut Inner, events: &[UnitEvent]) -> Result<(), LogError> {
        let needed = pins::needed(inner.log.state());
        inner.log.append(self.world.now(), events).await?;
        self.publish(inner, |_| {});
        pins::keep(&self.world, &needed, &pins::needed(inner.log.state())).await;
        Ok(())
    }

    /// Shows the present state, with what `change` has to add.
    fn publish(&self, inner: &Inner, change: impl FnOnce(&mut Glance)) {
        let before = self.glance();
        let mut glance = before.as_ref().clone();
        glance.state = inner.log.shared();
        glance.observed.clone_from(&inner.observed);
        glance.plan = inner.plan.as_ref().map(|(_, plan)| plan.clone());
        let rollout = glance.state.rollout.as_ref();
        let planned = rollout.filter(|rollout| inner.plan.as_ref().is_some_and(|(id, _)| *id == rollout.id));
        glance.plan_digest = planned.map(|rollout| rollout.plan.clone());
        glance.told = inner.told;
        glance.broken.clone_from(&inner.broken);
        glance.needs_ack.clone_from(&inner.needs_ack);
        glance.moving.clone_from(&inner.moving);
        change(&mut glance);
        if glance.is_like(&before) {
            return;
        }
        *self.glance.write().expect("a glance is replaced as a whole") = Arc::new(glance);
        self.world.hub.changed();
    }

    /// Git no longer asks for what a rollback left.
    ///
    /// # Errors
    ///
    /// Those of the journal.
    pub async fn rollback_settled(&self, revision: &Revision) -> Result<(), LogError> {
        let mut inner = self.lock().await;
        let Some(id) = inner.log.state().rollback.as_ref().map(|rollback| rollback.id.clone()) else { return Ok(()) };
        self.append(&mut inner, &[UnitEvent::RollbackSettled { id, revision: revision.clone() }]).await?;
        self.wake();
        Ok(())
    }

    /// Writes down how far the recording of a rollback has come, if that rollback is still under way.
    ///
    /// # Errors
    ///
    /// Those of the journal.
    pub async fn record_rollback(&self, id: &RollbackId, event: UnitEvent) -> Result<(), LogError> {
        let mut inner = self.lock().await;
        if inner.log.state().rollback.as_ref().is_some_and(|rollback| rollback.id == *id) {
            self.append(&mut inner, &[event]).await?;
            self.wake();
        }
        Ok(())
    }

    /// Makes a snapshot of its state, unless it is at work: then the next one is soon enough.
    pub async fn snapshot(&self) {
        if let Ok(mut inner) = self.inner.try_lock() {
            inner.log.snapshot().await;
        }
    }

    /// Waits until the step under way has ended.
    pub async fn quiesce(&self) {
        drop(self.lock().await);
    }

    /// Takes in what the catalog says of it, and wakes it if that is news.
    ///
    /// # Errors
    ///
    /// Those of the journal.
    pub async fn see(&self, news: News, registry: &Registry) -> Result<(), LogError> {
        // Most commits change few units, and one that is at work must not hold up the others.
        let glance = self.glance();
        let known = (&glance.broken, &glance.needs_ack, &glance.moving);
        if glance.told && news.candidate.is_none() && (&news.broken, &news.needs_ack, &news.moving) == known {
            return Ok(());
        }
        let mut inner = self.lock().await;
        let around = |inner: &Inner| (inner.told, inner.broken.clone(), inner.needs_ack.clone(), inner.moving.clone());
        let before = around(&inner);
        inner.told = true;
        inner.broken = news.broken;
        inner.needs_ack = news.needs_ack;
        inner.moving = news.moving;
        let events: Vec<UnitEvent> = news.candidate.into_iter().collect();
        let changed = !events.is_empty() || before != around(&inner);
        self.append(&mut inner, &events).await?;
        if changed {
            self.wake();
            registry.wake_dependents(&self.id);
        }
        Ok(())
    }
}

/// What the catalog says of a unit.
#[derive(Debug, Default)]
pub struct News {
    /// `CandidateSeen` or `CandidateGone`, where it differs from what was known.
    pub candidate: Option<UnitEvent>,
    /// Why its documents don't render.
    pub broken: Option<String>,
    /// Why somebody must look before the candidate becomes effective.
    pub needs_ack: Option<crate::domain::unit::held::HeldReason>,
    /// Its new name, and why it can't be taken over yet.
    pub moving: Option<(UnitId, String)>,
}
