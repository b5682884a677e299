//! Workloads that are not well, and what their pods tell of them.

use super::{Cache, State, note};
use crate::adapters::platform::kubernetes::health::Health;
use crate::adapters::platform::kubernetes::hooks;
use crate::adapters::platform::kubernetes::inventory::Parent;
use crate::adapters::platform::kubernetes::pods::order::{InTheWay, Order};
use crate::adapters::platform::kubernetes::view::owns;
use crate::domain::workload::kubernetes::ObjectId;

/// What a workload's pods and events tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// How often its containers were started again.
    pub restarts: u32,
    /// What is wrong, for people.
    pub message: Option<String>,
    /// It will not mend by itself.
    pub for_good: bool,
    /// A pod that keeps it from replacing its pods.
    pub in_the_way: Option<InTheWay>,
}

/// A workload that is not well.
#[derive(Clone, Debug)]
pub struct Unwell {
    /// Which.
    pub id: ObjectId,
    /// The selector of its pods.
    pub pods: String,
    /// Which incarnation it is.
    pub uid: String,
    /// Its versions, where it replaces its pods in order.
    pub order: Option<Order>,
    /// A Job that has ended, as of this version of it: its pods tell nothing new.
    pub ended: Option<u64>,
}

impl State {
    /// The pod that keeps an object of a unit's from replacing its pods.
    pub fn in_the_way(&self, parent: &Parent, id: &ObjectId) -> Option<&InTheWay> {
        self.live(id).filter(|live| owns(parent, live) && live.deleting.is_none())?;
        self.diagnosis(id)?.in_the_way.as_ref()
    }
}

impl Cache {
    /// What the pods of a workload tell now; `None`: all is well.
    pub fn diagnose(&self, id: &ObjectId, diagnosis: Option<Diagnosis>) {
        let mut state = self.lock();
        if !note(&mut state.diagnoses, id, diagnosis) {
            return;
        }
        let unit = state.unit_of(state.live(id));
        drop(state);
        self.tell(unit);
    }

    /// The workloads that are not well, without those that rest on purpose.
    pub fn unwell(&self) -> Vec<Unwell> {
        let state = self.lock();
        let all = state.kinds.values().flat_map(|objects| &objects.all);
        let unwell = all.filter(|(_, live)| {
            live.deleting.is_none()
                && live.unit.is_some()
                && !matches!(live.health, Health::Healthy | Health::Suspended(_))
        });
        let told = unwell.filter_map(|(id, live)| {
            let ended = hooks::ended(id, live).is_some();
            // Whoever runs a hook asks how it ended.
            let asked = live.mark.is_none() || !ended;
            let is_job = (id.group.as_str(), id.kind.as_str()) == ("batch", "Job");
            let ended = (ended && is_job).then_some(live.version);
            let order = live.more.order.as_deref().cloned();
            asked.then_some(Unwell { id: id.clone(), pods: live.pods.clone()?, uid: live.uid.clone(), order, ended })
        });
        told.collect()
    }

    /// The pod that was in a workload's way is deleted.
    pub fn went(&self, id: &ObjectId) {
        if let Some(diagnosis) = self.lock().diagnoses.get_mut(id) {
            diagnosis.in_the_way = None;
        }
    }

    /// The workloads of which something is told that may be over.
    pub fn diagnosed(&self) -> Vec<ObjectId> {
        self.lock().diagnoses.keys().cloned().collect()
    }
}
