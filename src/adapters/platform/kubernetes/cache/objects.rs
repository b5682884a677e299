//! The objects of one kind.

use std::collections::{BTreeSet, HashMap};

use crate::adapters::platform::kubernetes::live::Live;
use crate::adapters::platform::kubernetes::scope::Known;
use crate::domain::workload::http_route;
use crate::domain::workload::kubernetes::ObjectId;

/// What is known of the objects of one kind.
#[derive(Default)]
pub(super) struct Objects {
    /// Of which parts all of them are known.
    pub known: Known,
    /// All of them, by what they are called.
    pub all: HashMap<ObjectId, Live>,
    /// The same by the keys of their units, of kinds that are looked up so.
    pub by_unit: HashMap<String, BTreeSet<ObjectId>>,
}

impl Objects {
    /// One as it is now.
    pub fn put(&mut self, id: ObjectId, live: Live) {
        let kind = (id.group.as_str(), id.kind.as_str());
        if !matches!(kind, ("", "Pod" | "Service") | (http_route::GROUP, http_route::KIND)) {
            self.all.insert(id, live);
            return;
        }
        let unit = live.unit.clone();
        let before = self.all.insert(id.clone(), live).and_then(|before| before.unit);
        if before != unit {
            self.leave(before, &id);
            if let Some(unit) = unit {
                self.by_unit.entry(unit).or_default().insert(id);
            }
        }
    }

    /// One is gone; what it was.
    pub fn remove(&mut self, id: &ObjectId) -> Option<Live> {
        let gone = self.all.remove(id)?;
        self.leave(gone.unit.clone(), id);
        Some(gone)
    }

    fn leave(&mut self, unit: Option<String>, id: &ObjectId) {
        let Some(unit) = unit else { return };
        if let Some(ids) = self.by_unit.get_mut(&unit) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_unit.remove(&unit);
            }
        }
    }
}
