//! What is known of a cluster at one moment.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::objects::Objects;
use super::{Diagnosis, KindName};
use crate::adapters::platform::kubernetes::health::custom::Rules;
use crate::adapters::platform::kubernetes::inventory::Parent;
use crate::adapters::platform::kubernetes::live::Live;
use crate::adapters::platform::kubernetes::scope::Known;
use crate::domain::id::{GroupId, UnitId};
use crate::domain::workload::kubernetes::{HealthRule, ObjectId};

/// See the module.
pub(in crate::adapters::platform::kubernetes) struct State {
    /// What the cluster is called, for people.
    pub(super) cluster: String,
    /// Of which parts all parents are known.
    pub(super) parents_known: Known,
    /// How often the parents could not be read.
    pub failures: u64,
    /// When that was last, since they were read.
    pub failed: Option<Instant>,
    /// The parents by their keys.
    pub parents: HashMap<String, Parent>,
    pub(super) by_unit: HashMap<UnitId, BTreeSet<String>>,
    /// The units whose hooks are looked at, by their keys: they may have no parent yet.
    pub(super) hooks: HashMap<String, UnitId>,
    pub(super) kinds: HashMap<KindName, Objects>,
    pub(super) diagnoses: HashMap<ObjectId, Diagnosis>,
    /// The rules of health of the units that have some, by their keys.
    pub(super) rules: HashMap<String, Arc<Rules>>,
    /// The kinds of which objects were judged by other rules.
    pub(super) judged_otherwise: BTreeSet<KindName>,
    /// Why objects could not be applied when that was tried last.
    pub(super) obstacles: HashMap<ObjectId, String>,
    /// Objects that units ask for and had, by the units' keys: they were deleted, or lost their marks.
    pub(super) lost: HashMap<ObjectId, String>,
}

impl State {
    /// Whether all parents are known; else the cause why not, which names no cluster.
    pub fn parents_known(&self) -> Result<(), String> {
        self.parents_known.all()
    }

    /// The same for whoever looks at the cluster.
    pub fn parents_seen(&self) -> Result<(), String> {
        self.parents_known().map_err(|reason| format!("{} can't be seen: {reason}", self.cluster))
    }

    /// The parents of a unit's groups.
    pub fn parents_of(&self, unit: &UnitId) -> impl Iterator<Item = &Parent> {
        self.by_unit.get(unit).into_iter().flatten().filter_map(|key| self.parents.get(key))
    }

    /// The parent of a unit that is replaced in place.
    pub fn parent(&self, unit: &UnitId) -> Option<&Parent> {
        self.parents_of(unit).find(|parent| parent.version_of.is_none())
    }

    /// The parent of a group.
    pub fn parent_of(&self, unit: &UnitId, group: &GroupId) -> Option<&Parent> {
        self.parents_of(unit).find(|parent| parent.group == *group)
    }

    /// The parent of another group of the same unit that an object belongs to, where what that one asks for goes before.
    pub fn superseded(&self, parent: &Parent, live: &Live) -> bool {
        let other = live.unit.as_deref().filter(|key| *key != parent.key()).and_then(|key| self.parents.get(key));
        other.is_some_and(|other| other.unit == parent.unit && !other.retiring && other.serial > parent.serial)
    }

    /// Whether another group of the unit that stays asks for an object.
    pub fn wanted_beside(&self, parent: &Parent, id: &ObjectId) -> bool {
        let others = self.parents_of(&parent.unit).filter(|other| other.key() != parent.key() && !other.retiring);
        others.into_iter().any(|other| other.objects.get(id).is_some_and(|entry| entry.applied.is_some()))
    }

    /// The pods of a version.
    pub fn pods_of<'s>(&'s self, parent: &'s Parent) -> impl Iterator<Item = (&'s ObjectId, &'s Live)> {
        self.of_parent(KindName::pod(), parent)
    }

    /// The objects of a kind that are marked as a parent's.
    pub fn of_parent<'s>(
        &'s self,
        kind: KindName,
        parent: &'s Parent,
    ) -> impl Iterator<Item = (&'s ObjectId, &'s Live)> {
        let objects = self.kinds.get(&kind);
        let ids = objects.and_then(|objects| objects.by_unit.get(parent.key())).into_iter().flatten();
        ids.filter_map(move |id| objects?.all.get_key_value(id))
    }

    pub(super) fn forget(&mut self, unit: &UnitId, key: &str) {
        if let Some(keys) = self.by_unit.get_mut(unit) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_unit.remove(unit);
            }
        }
    }

    /// Whether all objects of a kind are known.
    pub fn known(&self, kind: &KindName) -> Result<(), String> {
        match self.kinds.get(kind) {
            Some(objects) => objects.known.all(),
            None => Err(format!("the {} objects have not been read yet", kind.kind)),
        }
    }

    /// An object.
    pub fn live(&self, id: &ObjectId) -> Option<&Live> {
        self.kinds.get(&KindName::of(id))?.all.get(id)
    }

    /// What the pods of a workload tell.
    pub fn diagnosis(&self, id: &ObjectId) -> Option<&Diagnosis> {
        self.diagnoses.get(id)
    }

    /// The rules of health that are for an object.
    pub fn rules_for(&self, id: &ObjectId, unit: Option<&str>) -> Option<&Arc<Rules>> {
        self.rules.get(unit?).filter(|rules| rules.concern(id))
    }

    /// Takes over the rules of a parent. What was judged by others is to be looked at anew.
    pub(super) fn take_rules(&mut self, key: &str, parent: Option<&Parent>) {
        let rules = parent.map(|parent| parent.settings.health.as_slice()).unwrap_or_default();
        let known = self.rules.get(key);
        if known.map(|known| known.written()).unwrap_or_default() == rules {
            return;
        }
        let both = known.map(|known| known.written()).unwrap_or_default().iter().chain(rules);
        let both: Vec<HealthRule> = both.cloned().collect();
        let concerned = parent.into_iter().flat_map(|parent| parent.objects.keys());
        let concerned = concerned.filter(|id| both.iter().any(|rule| rule.concerns(id))).map(KindName::of);
        self.judged_otherwise.extend(concerned);
        match rules {
            [] => drop(self.rules.remove(key)),
            rules => drop(self.rules.insert(key.to_owned(), Arc::new(Rules::of(rules)))),
        }
    }

    /// Why an object could not be applied when that was tried last.
    pub fn obstacle(&self, id: &ObjectId) -> Option<&str> {
        self.obstacles.get(id).map(String::as_str)
    }

    /// The key of the unit that had an object and still asks for it.
    pub fn lost(&self, id: &ObjectId) -> Option<&str> {
        self.lost.get(id).map(String::as_str)
    }

    /// An object is not seen any more.
    pub(super) fn lose(&mut self, id: &ObjectId, gone: Option<&Live>) {
        let Some(key) = gone.and_then(|gone| gone.unit.clone()) else { return };
        let asked = self.parents.get(&key).and_then(|parent| parent.objects.get(id));
        if asked.is_some_and(|entry| entry.applied.is_some() && !entry.is_hook()) {
            self.lost.insert(id.clone(), key);
        }
    }

    /// The unit that an object belongs to.
    pub fn unit_of(&self, live: Option<&Live>) -> Option<UnitId> {
        let key = live?.unit.as_ref()?;
        self.parents.get(key).map(|parent| &parent.unit).or_else(|| self.hooks.get(key)).cloned()
    }
}
