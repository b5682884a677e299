//! What units ask for, so that an object goes over from one to another and is not removed in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::desired::DesiredUnit;
use crate::domain::id::UnitId;
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{KubernetesSpec, Object, ObjectId};

/// What units ask for by Git's head: an object that one unit gives up and another takes goes over, it is not deleted.
#[derive(Default)]
pub struct Claims {
    by_unit: Mutex<HashMap<UnitId, Arc<DesiredUnit>>>,
}

impl Claims {
    /// All that is asked for.
    pub fn set(&self, all: &[Arc<DesiredUnit>]) {
        let all = all.iter().map(|desired| (desired.unit.clone(), desired.clone())).collect();
        *self.by_unit.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// What a unit asks for.
    pub fn of(&self, unit: &UnitId) -> Option<Arc<DesiredUnit>> {
        self.by_unit.lock().unwrap_or_else(PoisonError::into_inner).get(unit).cloned()
    }

    /// Whether a unit asks for an object; `None`: it is not known what is asked for.
    pub fn wanted(&self, unit: &UnitId, id: &ObjectId) -> Option<bool> {
        let all = self.by_unit.lock().unwrap_or_else(PoisonError::into_inner);
        (!all.is_empty()).then(|| all.get(unit).is_some_and(|desired| asks(desired, id)))
    }

    /// Whether another unit asks for an object.
    pub fn wanted_by_others(&self, unit: &UnitId, id: &ObjectId) -> bool {
        let all = self.by_unit.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().any(|(other, desired)| other != unit && asks(desired, id))
    }
}

fn asks(desired: &DesiredUnit, id: &ObjectId) -> bool {
    let Workload::Kubernetes(spec) = &desired.workload else { return false };
    spec.objects.iter().any(|object| is_same(spec, object, id))
}

/// Whether an object of a unit is the one that an id of the cluster names.
pub(super) fn is_same(spec: &KubernetesSpec, object: &Object, id: &ObjectId) -> bool {
    let namespace = object.namespace().unwrap_or(&spec.place.namespace);
    object.name() == id.name
        && object.kind() == id.kind
        && object.group() == id.group
        && id.namespace.as_deref().is_none_or(|there| there == namespace)
}
