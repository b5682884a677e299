//! Removing: what is no longer asked for, and everything of a unit, its parent last.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;

use super::apply::{SETTLED, fence};
use super::cache::State;
use super::client::{Call, JSON};
use super::cluster::Cluster;
use super::fault::Fault;
use super::hooks::is_hook_of;
use super::inventory::{Entry, Parent};
use super::live::Live;
use super::view;
use crate::domain::id::{Epoch, GroupId, UnitId};
use crate::domain::workload::kubernetes::ObjectId;
use crate::domain::workload::order::rank;
use crate::ports::platform::EnsureGroup;

/// How often what could not be removed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a group serves on after the requests went to another. Nothing that an API server has tells when the last kube-proxy has
/// written its rules anew: EndpointSlices say what was asked of it, its own metrics stand on each node alone.
const SERVES_ON: Duration = Duration::from_secs(5);

impl Cluster {
    /// Removes what a unit no longer asks for, once all that it asks for is well. What the objects of another unit became stays. What
    /// does not go at once stays in the inventory, where it is told of; nothing waits for it but what is of a lower wave.
    pub(super) async fn prune(&self, epoch: Epoch, parent: &Parent) -> Result<(), Fault> {
        let (ready, known) = {
            let state = self.cache.lock();
            let known = parent.leftover().all(|(id, _)| state.known(&super::cache::KindName::of(id)).is_ok());
            (view::all_ready(&state, parent), known)
        };
        if parent.leftover().next().is_none() || !ready || !known || parent.rises() {
            return Ok(());
        }
        let mut left = self.owned(parent);
        left.retain(|(id, _)| !self.claims.wanted_by_others(&parent.unit, id));
        let mut staying: BTreeSet<ObjectId> = BTreeSet::new();
        while let Some(highest) = left.first().map(|(id, _)| wave(parent, id)) {
            let lower = left.split_off(left.partition_point(|(id, _)| wave(parent, id) == highest));
            self.remove_all(parent, &left).await?;
            // What has yet to go needs it no longer once it is gone.
            let held = !lower.is_empty() && !self.all_gone(&left).await;
            staying.extend(self.on_their_way(&left));
            if held {
                staying.extend(lower.into_iter().map(|(id, _)| id));
                break;
            }
            left = lower;
        }
        let stays = |(id, entry): &(&ObjectId, &Entry)| entry.applied.is_some() || staying.contains(*id);
        let objects = parent.objects.iter().filter(stays).map(|(id, entry)| (id.clone(), entry.clone())).collect();
        let after = Parent { objects, epoch, ..parent.clone() };
        if after != *parent {
            self.write_parent(&after).await?;
        }
        Ok(())
    }

    /// Those that are known to be still there, on their way out.
    fn on_their_way(&self, objects: &[(ObjectId, Live)]) -> Vec<ObjectId> {
        let state = self.cache.lock();
        let ids = objects.iter().map(|(id, _)| id);
        ids.filter(|id| state.live(id).is_some_and(|live| live.deleting.is_some())).cloned().collect()
    }

    async fn remove_all(&self, parent: &Parent, objects: &[(ObjectId, Live)]) -> Result<(), Fault> {
        for (id, live) in objects {
            if live.deleting.is_some() {
                continue;
            }
            self.remove(parent, id, &live.uid).await.map_err(|fault| fault.about(&view::name(parent, id), ""))?;
        }
        Ok(())
    }

    /// Waits until all of them are gone, where any of them has just been told to go. Whether they are.
    async fn all_gone(&self, objects: &[(ObjectId, Live)]) -> bool {
        let gone = |state: &State| objects.iter().all(|(id, _)| state.live(id).is_none());
        match objects.iter().any(|(_, live)| live.deleting.is_none()) {
            true => self.cache_until(SETTLED, gone).await.is_ok(),
            false => gone(&self.cache.lock()),
        }
    }

    /// See [`crate::ports::platform::Platform::retire_group`].
    pub async fn retire(&self, epoch: Epoch, unit: &UnitId, group: &GroupId) -> Result<(), Fault> {
        self.parents_read().await?;
        self.fence_unit(unit, epoch)?;
        // Where it is not there, another group has taken its place.
        let Some(parent) = self.cache.lock().parent_of(unit, group).cloned() else { return Ok(()) };
        let parent = match parent.retiring && parent.epoch == epoch {
            true => parent,
            false => {
                self.fence_routed(unit, epoch).await?;
                self.hand_on_hooks(epoch, &parent).await?;
                let none = |entry: &Entry| Entry { applied: None, ..entry.clone() };
                let objects = parent.objects.iter().map(|(id, entry)| (id.clone(), none(entry))).collect();
                self.write_parent(&Parent { objects, retiring: true, epoch, ..parent }).await?
            }
        };
        self.sweep(&parent).await
    }

    /// Removes the objects of a unit that is to go, and its parent once none is left.
    async fn sweep(&self, parent: &Parent) -> Result<(), Fault> {
        {
            let state = self.cache.lock();
            for id in parent.objects.keys() {
                state.known(&super::cache::KindName::of(id)).map_err(Fault::Unreachable)?;
            }
        }
        let mut left = self.owned(parent);
        left.retain(|(id, _)| !self.claims.wanted_by_others(&parent.unit, id));
        if self.serves_on(parent) {
            return Ok(());
        }
        if left.is_empty() {
            // Its pods are still on their way out.
            let pods = self.cache.lock().pods_of(parent).next().is_some();
            return if pods { Ok(()) } else { self.remove_parent(parent).await };
        }
        let highest = left.first().map(|(id, _)| wave(parent, id));
        let now = left.iter().take_while(|(id, _)| Some(wave(parent, id)) == highest);
        for (id, live) in now.filter(|(_, live)| live.deleting.is_none()) {
            let removed = self.remove(parent, id, &live.uid).await;
            self.cache.hinder(&parent.unit, id, removed.as_ref().err().map(Fault::why));
            removed.map_err(|fault| fault.about(&view::name(parent, id), ""))?;
        }
        Ok(())
    }

    /// What is to go and is there, in the order in which it goes.
    fn owned(&self, parent: &Parent) -> Vec<(ObjectId, Live)> {
        let state = self.cache.lock();
        // Hooks are the unit's, and go with its last group.
        let alone = state.parents_of(&parent.unit).all(|other| other.key() == parent.key());
        let mut all: Vec<(ObjectId, Live)> = parent
            .leftover()
            .filter_map(|(id, _)| Some((id.clone(), state.live(id)?.clone())))
            .filter(|(id, live)| {
                (view::owns(parent, live) || (alone && is_hook_of(parent, live)))
                    && !state.wanted_beside(parent, id)
                    && !view::stays(&state, parent, id, live)
            })
            .collect();
        all.sort_by_key(|(id, _)| Reverse((wave(parent, id), rank(&id.group, &id.kind))));
        all
    }

    pub(super) async fn remove(&self, parent: &Parent, id: &ObjectId, uid: &str) -> Result<(), Fault> {
        let version = parent.objects.get(id).map(|entry| entry.version.as_str()).unwrap_or_default();
        match self.discovery.kind(self.server().await?.as_ref(), version, &id.kind).await? {
            Some(kind) => self.delete(id, &kind, uid, parent.account.as_deref()).await,
            // The kind itself is gone, and its objects with it.
            None => Ok(()),
        }
    }

    /// Whether a group that is to go serves on for a moment beside another that stays: whoever sends it requests learns late that
    /// they go elsewhere now.
    fn serves_on(&self, parent: &Parent) -> bool {
        let beside = self.cache.lock().parents_of(&parent.unit).any(|other| !other.retiring);
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *leaving.entry(parent.key().to_owned()).or_insert_with(Instant::now);
        beside && since.elapsed() < SERVES_ON
    }

    fn forget_leaving(&self, retiring: &[Parent]) {
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        leaving.retain(|key, _| retiring.iter().any(|parent| parent.key() == key));
    }

    async fn remove_parent(&self, parent: &Parent) -> Result<(), Fault> {
        let path = format!("/api/v1/namespaces/{}/configmaps/{}", parent.namespace, parent.name);
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": { "resourceVersion": parent.resource_version },
        });
        match self.server().await?.call(&Call::new(Method::DELETE, path).with(JSON, &options)).await {
            Err(error) if error.code() == Some(404) => {}
            // It was written meanwhile: whoever did that decides.
            Err(error) if error.code() == Some(409) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        self.cache.remove_parent(parent.key());
        Ok(())
    }

    /// Ends what was begun: removes what is left of units that are to go, as it goes.
    pub async fn finish_retiring(self: Arc<Self>) {
        let mut changes = self.cache.changes();
        loop {
            changes.borrow_and_update();
            let retiring: Vec<Parent> =
                self.cache.lock().parents.values().filter(|parent| parent.retiring).cloned().collect();
            for parent in &retiring {
                if let Err(fault) = self.sweep(parent).await {
                    let error = fault.told(&self.name, parent.epoch);
                    tracing::warn!(unit = %parent.unit, %error, "not removed yet");
                }
            }
            let pause = if retiring.is_empty() { Duration::from_secs(3_600) } else { AGAIN };
            self.forget_leaving(&retiring);
            tokio::time::sleep(Duration::from_millis(20)).await;
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// See [`crate::ports::platform::Platform::take_over`]: the parent alone has the unit's name.
    pub async fn rename(&self, epoch: Epoch, from: &UnitId, request: &EnsureGroup) -> Result<(), Fault> {
        self.parents_read().await?;
        let (old, new) = {
            let state = self.cache.lock();
            let parent = |unit: &UnitId| state.parent_of(unit, &request.group).cloned();
            (parent(from), parent(&request.desired.unit))
        };
        fence(old.as_ref(), epoch)?;
        fence(new.as_ref(), epoch)?;
        let Some(old) = old else {
            return match new.is_some() {
                true => Ok(()),
                false => Err(Fault::Refused(format!("group {} of {from} is not there", request.group))),
            };
        };
        let (unit, rendered) = (request.desired.unit.clone(), request.rendered.clone());
        self.write_parent(&Parent { unit, rendered, epoch, ..old }).await.map(drop)
    }
}

/// The wave that an object of a group was of.
fn wave(parent: &Parent, id: &ObjectId) -> i32 {
    parent.objects.get(id).map_or(0, |entry| entry.wave)
}
