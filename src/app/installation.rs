//! The installation's own state, shared by everybody who decides.

use std::sync::{Arc, RwLock};

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::installation_log::STREAM;
use super::log::{Log, LogError};
use super::world::World;
use crate::domain::id::Name;
use crate::domain::installation::{InstallationEvent, InstallationState};

/// The installation's stream and its state.
pub struct Installation {
    log: Mutex<Log<InstallationState>>,
    state: RwLock<Arc<InstallationState>>,
    world: Arc<World>,
}

impl Installation {
    /// Reads it from the journal.
    ///
    /// # Errors
    ///
    /// Its stream can't be read.
    pub async fn open(world: Arc<World>) -> Result<Self, LogError> {
        let log = Log::open(world.journal.clone(), world.epoch, STREAM.into(), InstallationState::default()).await?;
        let state = RwLock::new(Arc::new(log.state().clone()));
        Ok(Installation { log: Mutex::new(log), state, world })
    }

    /// The state: never waits.
    pub fn state(&self) -> Arc<InstallationState> {
        self.state.read().expect("the state is replaced as a whole").clone()
    }

    /// Appends an event.
    ///
    /// # Errors
    ///
    /// It can't have happened in this state, or the journal failed.
    pub async fn append(&self, event: InstallationEvent) -> Result<(), LogError> {
        let mut log = self.log.lock().await;
        log.append(self.world.now(), &[event]).await?;
        *self.state.write().expect("the state is replaced as a whole") = Arc::new(log.state().clone());
        self.world.hub.changed();
        Ok(())
    }

    /// Makes a snapshot of it.
    pub async fn snapshot(&self) {
        self.log.lock().await.snapshot().await;
    }

    /// Who suspended an environment, while it is.
    pub fn environment_suspended(&self, environment: &Name) -> Option<String> {
        self.state().suspended.get(environment).cloned()
    }

    /// When an environment had its automatic rollbacks of the last hour.
    pub fn recent_rollbacks(&self, environment: &Name, now: Timestamp) -> Vec<Timestamp> {
        self.state().recent_rollbacks(environment, now)
    }
}
