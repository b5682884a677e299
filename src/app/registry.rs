//! All units of the installation, and who waits for whom.

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use super::unit::Unit;
use crate::domain::id::{Name, UnitId};

/// All units.
#[derive(Default)]
pub struct Registry {
    units: RwLock<BTreeMap<UnitId, Arc<Unit>>>,
}

impl Registry {
    /// All of them, by id.
    pub fn all(&self) -> Vec<Arc<Unit>> {
        self.read().values().cloned().collect()
    }

    /// One of them.
    pub fn get(&self, id: &UnitId) -> Option<Arc<Unit>> {
        self.read().get(id).cloned()
    }

    /// Adds one; answers the one that was there already, if there was.
    pub fn add(&self, unit: Arc<Unit>) -> Arc<Unit> {
        let mut units = self.units.write().expect("the map is only changed by total functions");
        units.entry(unit.id().clone()).or_insert(unit).clone()
    }

    /// The targets of one app in one environment.
    pub fn targets(&self, app: &Name, environment: &Name) -> Vec<Arc<Unit>> {
        let same = |id: &UnitId| id.app == *app && id.environment == *environment;
        self.read().iter().filter(|(id, _)| same(id)).map(|(_, unit)| unit.clone()).collect()
    }

    /// Wakes whoever may wait for a unit: the other apps of its environment, and its other targets.
    pub fn wake_dependents(&self, id: &UnitId) {
        for (other, unit) in self.read().iter() {
            if other.environment == id.environment && other != id && !unit.glance().state.held.is_empty() {
                unit.wake();
            }
        }
    }

    /// Wakes all units.
    pub fn wake_all(&self) {
        for unit in self.read().values() {
            unit.wake();
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<UnitId, Arc<Unit>>> {
        self.units.read().expect("the map is only changed by total functions")
    }
}
