//! What is known of a cluster, kept up by the watches: the units' parents and their objects.

mod diagnoses;
mod kind;
mod objects;
mod state;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::watch;

pub use self::diagnoses::{Diagnosis, Unwell};
pub use self::kind::KindName;
pub(super) use self::state::State;
use super::deleting::Deleting;
use super::health::custom::Rules;
use super::inventory::Parent;
use super::live::Live;
use super::scope::{Known, Part, Scope};
use super::view;
use crate::domain::id::{Epoch, UnitId};
use crate::domain::observed::{ObservedGroup, Seen};
use crate::domain::workload::kubernetes::ObjectId;

/// What is known.
pub struct Cache {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
    /// Changes when whoever waits before the next look shall look at once.
    looks: watch::Sender<u64>,
    /// The units that something has changed of since somebody asked.
    dirty: Mutex<BTreeSet<UnitId>>,
}

impl Cache {
    /// Nothing is known yet. `cluster`: what it is called, for people.
    pub fn new(cluster: &str, scope: &Scope) -> Self {
        let state = State {
            cluster: cluster.to_owned(),
            parents_known: Known::nothing(scope.parts(true), "it has not been read yet"),
            failures: 0,
            failed: None,
            parents: HashMap::new(),
            by_unit: HashMap::new(),
            hooks: HashMap::new(),
            kinds: HashMap::new(),
            diagnoses: HashMap::new(),
            rules: HashMap::new(),
            judged_otherwise: BTreeSet::new(),
            obstacles: HashMap::new(),
            lost: HashMap::new(),
        };
        let (changes, looks) = (watch::Sender::new(0), watch::Sender::new(0));
        Cache { state: Mutex::new(state), changes, looks, dirty: Mutex::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that changes with what is known.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whoever waits before another look at the cluster, since the last one failed, looks now.
    pub fn look_now(&self) {
        self.looks.send_modify(|count| *count += 1);
    }

    /// Changes with each [`look_now`](Self::look_now).
    pub fn looks(&self) -> watch::Receiver<u64> {
        self.looks.subscribe()
    }

    /// The units that something has changed of since this was asked last.
    pub fn take_dirty(&self) -> BTreeSet<UnitId> {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something is to be looked at that is no unit's own state.
    pub fn changed(&self) {
        self.tell([]);
    }

    fn tell(&self, units: impl IntoIterator<Item = UnitId>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        dirty.extend(units);
        drop(dirty);
        self.changes.send_modify(|count| *count += 1);
    }

    /// What a unit looks like.
    pub fn observe(&self, unit: &UnitId) -> Seen<Vec<ObservedGroup>> {
        let state = self.lock();
        if let Err(reason) = state.parents_seen() {
            return Seen::Unknown(reason);
        }
        let groups: Result<Vec<ObservedGroup>, String> =
            state.parents_of(unit).map(|parent| view::group(&state, parent)).collect();
        groups.map_or_else(Seen::Unknown, Seen::Known)
    }

    /// All units.
    pub fn units(&self) -> Seen<Vec<UnitId>> {
        let state = self.lock();
        match state.parents_seen() {
            Err(reason) => Seen::Unknown(reason),
            Ok(()) => Seen::Known(state.by_unit.keys().cloned().collect::<BTreeSet<_>>().into_iter().collect()),
        }
    }

    /// The highest epoch that acted.
    pub fn epoch(&self) -> Epoch {
        self.lock().parents.values().map(|parent| parent.epoch).max().unwrap_or_default()
    }

    /// All parents of a part, complete.
    pub fn replace_parents(&self, part: &Part, all: Vec<Parent>) {
        let mut state = self.lock();
        let here = |parent: &Parent| part.as_ref().is_none_or(|namespace| *namespace == parent.namespace);
        let mut units: Vec<UnitId> =
            state.parents.values().filter(|one| here(one)).map(|one| one.unit.clone()).collect();
        state.parents.retain(|_, parent| !here(parent));
        state.parents.extend(all.into_iter().map(|parent| (parent.key().to_owned(), parent)));
        let mut by_unit: HashMap<UnitId, BTreeSet<String>> = HashMap::new();
        for (key, parent) in &state.parents {
            by_unit.entry(parent.unit.clone()).or_default().insert(key.clone());
        }
        state.by_unit = by_unit;
        let ruled = |parent: &&Parent| !parent.settings.health.is_empty();
        let ruled = state.parents.values().filter(ruled).map(|parent| parent.key().to_owned());
        let ruled: BTreeSet<String> = ruled.chain(state.rules.keys().cloned()).collect();
        for key in ruled {
            let parent = state.parents.get(&key).cloned();
            state.take_rules(&key, parent.as_ref());
        }
        state.parents_known.set(part, Ok(()));
        state.failed = None;
        units.extend(state.by_unit.keys().cloned());
        drop(state);
        self.tell(units);
    }

    /// A parent as it is now.
    pub fn put_parent(&self, parent: Parent) {
        let mut state = self.lock();
        let version = |parent: &Parent| parent.resource_version.as_deref().and_then(|text| text.parse::<u64>().ok());
        let known = state.parents.get(parent.key());
        if known.is_some_and(|known| version(known) > version(&parent)) {
            return;
        }
        let (unit, key) = (parent.unit.clone(), parent.key().to_owned());
        state.take_rules(&key, Some(&parent));
        let mut units = vec![unit.clone()];
        if let Some(before) = state.parents.insert(key.clone(), parent)
            && before.unit != unit
        {
            state.forget(&before.unit, &key);
            units.push(before.unit);
        }
        state.by_unit.entry(unit).or_default().insert(key);
        drop(state);
        self.tell(units);
    }

    /// A parent is gone.
    pub fn remove_parent(&self, key: &str) {
        let mut state = self.lock();
        let Some(parent) = state.parents.remove(key) else { return };
        state.take_rules(key, None);
        state.forget(&parent.unit, key);
        state.obstacles.retain(|id, _| !parent.objects.contains_key(id));
        state.lost.retain(|_, lost| lost != key);
        drop(state);
        self.tell([parent.unit]);
    }

    /// The parents of a part can't be seen; why. `None`: their watch goes on where it broke off.
    pub fn parents_lost(&self, part: &Part, reason: Option<&str>) {
        let mut state = self.lock();
        let changed = state.parents_known.set(part, told(reason));
        state.failures += u64::from(reason.is_some());
        state.failed = reason.map(|_| Instant::now());
        if !changed {
            drop(state);
            return self.tell([]);
        }
        let units: Vec<UnitId> = state.by_unit.keys().cloned().collect();
        drop(state);
        self.tell(units);
    }

    /// A kind is followed in these parts: all of it is known when each of them is.
    pub fn expect(&self, kind: &KindName, parts: &[Part]) {
        let mut state = self.lock();
        state.kinds.entry(kind.clone()).or_default().known.expect(parts);
    }

    /// All objects of a kind in a part, complete.
    pub fn replace(&self, kind: &KindName, part: &Part, all: Vec<(ObjectId, Live)>) {
        let mut state = self.lock();
        let objects = state.kinds.entry(kind.clone()).or_default();
        let here = |id: &ObjectId| part.is_none() || *part == id.namespace;
        let (mut before, others): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut objects.all).into_iter().partition(|(id, _)| here(id));
        objects.by_unit.clear();
        others.into_iter().for_each(|(id, live)| objects.put(id, live));
        for (id, live) in all {
            let live = live.after(before.remove(&id), false);
            objects.put(id, live);
        }
        objects.known.set(part, Ok(()));
        before.iter().for_each(|(id, gone)| state.lose(id, Some(gone)));
        let units = users(&state, kind);
        drop(state);
        self.tell(units);
    }

    /// A kind is followed no longer: nothing is known of it.
    pub fn forget_kind(&self, kind: &KindName) {
        self.lock().kinds.remove(kind);
    }

    /// An object as it was seen, or as an apply left it. `applied`: the latter.
    pub fn put(&self, id: ObjectId, live: Live, applied: bool) {
        let mut state = self.lock();
        let objects = state.kinds.entry(KindName::of(&id)).or_default();
        let before = objects.all.get(&id).cloned();
        let live = live.after(before.clone(), applied);
        if before.as_ref() == Some(&live) {
            return;
        }
        objects.put(id.clone(), live.clone());
        state.lost.remove(&id);
        let units = [state.unit_of(Some(&live)), state.unit_of(before.as_ref())];
        drop(state);
        self.tell(units.into_iter().flatten());
    }

    /// An object was told to go and does not at once.
    pub fn note_deleting(&self, id: &ObjectId, uid: &str, deleting: Deleting) {
        let mut state = self.lock();
        let live = state.kinds.get_mut(&KindName::of(id)).and_then(|objects| objects.all.get_mut(id));
        let Some(live) = live.filter(|live| live.uid == uid && live.deleting.is_none()) else { return };
        live.deleting = Some(Box::new(deleting));
        let unit = live.clone();
        let unit = state.unit_of(Some(&unit));
        drop(state);
        self.tell(unit);
    }

    /// An object is gone.
    pub fn remove(&self, id: &ObjectId) {
        let mut state = self.lock();
        let gone = state.kinds.get_mut(&KindName::of(id)).and_then(|objects| objects.remove(id));
        state.lose(id, gone.as_ref());
        state.diagnoses.remove(id);
        let unit = state.unit_of(gone.as_ref());
        drop(state);
        self.tell(unit);
    }

    /// Why an object of a unit could not be applied; `None`: it was.
    pub fn hinder(&self, unit: &UnitId, id: &ObjectId, why: Option<String>) {
        let mut state = self.lock();
        if !note(&mut state.obstacles, id, why) {
            return;
        }
        drop(state);
        self.tell([unit.clone()]);
    }

    /// The objects of a kind in a part can't be seen; why. `None`: the watch goes on where it broke off.
    pub fn lost(&self, kind: &KindName, part: &Part, reason: Option<&str>) {
        let mut state = self.lock();
        if !state.kinds.entry(kind.clone()).or_default().known.set(part, told(reason)) {
            return;
        }
        let units = users(&state, kind);
        drop(state);
        self.tell(units);
    }

    /// Compares a group's objects with what was applied, where that was before this process started. `applied` answers an object
    /// of the group. Answers whether all of them could be seen.
    pub fn audit(&self, key: &str, applied: &dyn Fn(&ObjectId, &str) -> Option<serde_json::Value>) -> bool {
        let mut state = self.lock();
        let Some(parent) = state.parents.get(key).cloned() else { return false };
        if parent.wanted().any(|(id, _)| state.known(&KindName::of(id)).is_err()) {
            return false;
        }
        let mut found = false;
        for (id, entry) in parent.wanted() {
            let live = state.kinds.get_mut(&KindName::of(id)).and_then(|objects| objects.all.get_mut(id));
            let live = live.filter(|live| live.unit.as_deref() == Some(parent.key()) && live.applied == entry.applied);
            if let (Some(live), Some(applied)) = (live, applied(id, parent.key())) {
                live.audit(&applied);
                found |= live.drift(id, &parent.settings).is_some();
            }
        }
        drop(state);
        if found {
            self.tell([parent.unit]);
        }
        true
    }

    /// The rules of health that are for an object of a unit.
    pub fn rules_for(&self, id: &ObjectId, unit: Option<&str>) -> Option<Arc<Rules>> {
        self.lock().rules_for(id, unit).cloned()
    }

    /// A unit's hooks are looked at, whose objects have this key.
    pub fn know_hooks(&self, key: &str, unit: &UnitId) {
        self.lock().hooks.insert(key.to_owned(), unit.clone());
    }

    /// The kinds of which objects were judged by other rules since this was asked last: they must be read anew.
    pub fn take_judged_otherwise(&self) -> BTreeSet<KindName> {
        std::mem::take(&mut self.lock().judged_otherwise)
    }

    /// The kinds that units have objects of, with a version of each.
    pub fn kinds_in_use(&self) -> BTreeMap<KindName, String> {
        let state = self.lock();
        let entries = state.parents.values().flat_map(|parent| &parent.objects);
        let mut kinds: BTreeMap<KindName, String> =
            entries.map(|(id, entry)| (KindName::of(id), entry.version.clone())).collect();
        if state.parents.values().any(|parent| parent.version_of.is_some()) {
            kinds.insert(KindName::pod(), "v1".into());
        }
        kinds
    }
}

/// Notes what is to be told of an object; `None`: nothing any more. Answers whether that is new.
fn note<T: PartialEq>(notes: &mut HashMap<ObjectId, T>, id: &ObjectId, told: Option<T>) -> bool {
    if notes.get(id) == told.as_ref() {
        return false;
    }
    match told {
        Some(told) => drop(notes.insert(id.clone(), told)),
        None => drop(notes.remove(id)),
    }
    true
}

fn told(reason: Option<&str>) -> Result<(), String> {
    reason.map_or(Ok(()), |reason| Err(reason.to_owned()))
}

/// The units with objects of a kind.
fn users(state: &State, kind: &KindName) -> Vec<UnitId> {
    let has = |parent: &&Parent| {
        let pods = parent.version_of.is_some() && *kind == KindName::pod();
        pods || parent.objects.keys().any(|id| id.kind == kind.kind && id.group == kind.group)
    };
    state.parents.values().filter(has).map(|parent| parent.unit.clone()).collect()
}
