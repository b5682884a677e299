//! The Services of a unit as the data planes that lead its requests to one version or another.
//!
//! Where requests go stands on each Service, written together with the selector that makes it so. With several versions at once a
//! Service selects the pods of all of them: their numbers make the shares.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use async_trait::async_trait;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::parts::{Leads, preview, selects, service};
use super::sight;
use crate::adapters::platform::kubernetes::KubernetesPlatform;
use crate::adapters::platform::kubernetes::cache::{KindName, State};
use crate::adapters::platform::kubernetes::client::{Call, MERGE};
use crate::adapters::platform::kubernetes::cluster::{Cluster, Fault};
use crate::adapters::platform::kubernetes::compose::Frame;
use crate::adapters::platform::kubernetes::discovery::Kind;
use crate::adapters::platform::kubernetes::inventory::Parent;
use crate::adapters::platform::kubernetes::labels;
use crate::adapters::platform::kubernetes::live::Live;
use crate::adapters::platform::kubernetes::prepare::Work;
use crate::domain::action::Which;
use crate::domain::counters::Counters;
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{Epoch, GroupId, UnitId};
use crate::domain::observed::{ObservedBackend, ObservedTraffic, Seen};
use crate::domain::route;
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{Object, ObjectId};
use crate::ports::platform::PlatformError;
use crate::ports::traffic::{SetTraffic, Traffic, TrafficError};
use crate::secrets::value::SecretValues;

/// What a Service says of where its requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// The later of two that differ has the higher.
    serial: u64,
    which: Which,
    settings: Digest,
    backends: BTreeMap<GroupId, Share>,
    /// All Services that say the same.
    services: BTreeSet<String>,
}

/// What a version gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Share {
    weight: u32,
    slots: u32,
}

impl Record {
    fn read(live: &Live) -> Option<Record> {
        serde_json::from_str(live.more.traffic.as_deref()?).ok()
    }

    /// The same but for its number.
    fn is_like(&self, other: &Record) -> bool {
        Record { serial: other.serial, ..self.clone() } == *other
    }

    fn leads(&self) -> Leads<'_> {
        let mut groups = self.backends.iter().filter(|(_, share)| share.weight > 0).map(|(group, _)| group);
        match (groups.next(), groups.next()) {
            (None, _) => Leads::Nowhere,
            (Some(group), None) => Leads::To(super::short(group)),
            (Some(_), Some(_)) => Leads::ToAll,
        }
    }

    /// Whether a Service is as it says.
    fn holds(&self, live: &Live) -> bool {
        live.deleting.is_none()
            && Record::read(live).as_ref() == Some(self)
            && live.more.selects.as_deref() == selects(self.leads())
    }
}

/// The Services of a unit that say where requests go.
fn saying<'s>(state: &'s State, unit: &'s UnitId, which: Which) -> Vec<(&'s ObjectId, &'s Live, Record)> {
    let keys: BTreeSet<&str> = state.parents_of(unit).map(Parent::key).collect();
    let services = state.all(KindName::service());
    let ours = services.filter(|(_, live)| live.unit.as_deref().is_some_and(|key| keys.contains(key)));
    let read = ours.filter_map(|(id, live)| Some((id, live, Record::read(live)?)));
    read.filter(|(_, _, record)| record.which == which).collect()
}

/// Where the requests of a unit go. Services that differ are told as settings that nobody asks for, so that they are set again.
fn observed(state: &State, unit: &UnitId, which: Which) -> Result<Option<ObservedTraffic>, String> {
    if state.parents_of(unit).all(|parent| parent.version_of.is_none()) {
        return Ok(None);
    }
    state.known(&KindName::service())?;
    state.known(&KindName::pod())?;
    let all = saying(state, unit, which);
    let Some((_, _, latest)) = all.iter().max_by_key(|(_, _, record)| record.serial) else { return Ok(None) };
    let held = |name: &String| all.iter().any(|(id, live, _)| id.name == *name && latest.holds(live));
    let settings = match latest.services.iter().all(held) {
        true => latest.settings.clone(),
        false => Digest::of("s1", &json!("the Services differ")),
    };
    let backend = |(group, share): (&GroupId, &Share)| {
        let endpoints = endpoints(state, unit, group, share.slots);
        (group.clone(), ObservedBackend { weight: share.weight, endpoints, testers: false })
    };
    let backends = latest.backends.iter().map(backend).collect();
    Ok(Some(ObservedTraffic { backends, hold: false, settings, draining: BTreeMap::new() }))
}

/// The pods that serve of a version, as many as it was last set for.
fn endpoints(state: &State, unit: &UnitId, group: &GroupId, slots: u32) -> BTreeMap<String, SocketAddr> {
    let Some(parent) = state.parent_of(unit, group).filter(|parent| !parent.retiring) else { return BTreeMap::new() };
    let Some(version) = &parent.version_of else { return BTreeMap::new() };
    let instances = sight::instances(state, parent, version).into_iter();
    instances.filter(|one| one.slot < slots).filter_map(|one| Some((one.id, one.address?))).collect()
}

impl Cluster {
    async fn set_traffic(&self, epoch: Epoch, request: &SetTraffic) -> Result<(), Fault> {
        let unit = &request.desired.unit;
        let Workload::Kubernetes(spec) = &request.desired.workload else {
            return Err(Fault::Refused(format!("{unit} has no Services")));
        };
        let Some(versioned) = &spec.versioned else {
            return Err(Fault::Refused(format!("{unit} is replaced in place: nothing leads its requests")));
        };
        self.parents_read().await?;
        self.fence_unit(unit, epoch)?;
        let parent = self.parent_for(request, epoch).await?;
        let kind = Kind { api_version: "v1".into(), plural: "services".into(), namespaced: true };
        let any = ObjectId { group: String::new(), kind: "Service".into(), namespace: None, name: String::new() };
        self.read_kind(&any, &kind).await?;
        let objects: Vec<Object> = spec.objects.iter().filter(|one| versioned.is_routed(&one.id())).cloned().collect();
        let objects: Vec<Object> = match request.kind {
            Which::Main => objects,
            Which::Preview => objects.iter().map(preview).collect(),
        };
        let record = self.record(request, objects.iter().map(|object| object.name().to_owned()).collect());
        let written = serde_json::to_string(&record).map_err(|error| Fault::Refused(error.to_string()))?;
        let frame = Frame { spec, installation: &self.installation, unit: parent.key(), restarts: 0 };
        let composed = |object: &Object| {
            let namespace = object.namespace().unwrap_or(&spec.place.namespace);
            (frame.compose(&service(object, record.leads(), &written), Some(namespace)), kind.clone())
        };
        let objects = objects.iter().map(composed).collect();
        let no_secrets = SecretValues::new();
        let work = Work { spec, secrets: &no_secrets, parent: parent.clone(), objects };
        for (one, kind) in &work.objects {
            let live = self.cache.lock().live(&one.id).cloned();
            let right = live.is_some_and(|live| live.applied.as_ref() == Some(&one.applied) && record.holds(&live));
            if !right {
                let name = super::super::view::name(&work.parent, &one.id);
                self.send(&work, one, kind).await.map_err(|fault| fault.about(&name, ""))?;
            }
        }
        Ok(())
    }

    /// What Services will say.
    fn record(&self, request: &SetTraffic, services: BTreeSet<String>) -> Record {
        let share = |backend: &ObservedBackend| Share {
            weight: backend.weight,
            slots: u32::try_from(backend.endpoints.len()).unwrap_or(u32::MAX),
        };
        let unit = &request.desired.unit;
        let mut record = Record {
            serial: 1,
            which: request.kind,
            settings: settings_of(&request.desired, request.kind),
            backends: request.backends.iter().map(|(group, backend)| (group.clone(), share(backend))).collect(),
            services,
        };
        let state = self.cache.lock();
        let latest = saying(&state, unit, request.kind).into_iter().map(|(_, _, record)| record);
        if let Some(latest) = latest.max_by_key(|record| record.serial) {
            record.serial = latest.serial + u64::from(!latest.is_like(&record));
        }
        record
    }

    /// The group that Services belong to which lead as it says; written anew where another daemon acted on it last.
    async fn parent_for(&self, request: &SetTraffic, epoch: Epoch) -> Result<Parent, Fault> {
        let unit = &request.desired.unit;
        let parent = {
            let state = self.cache.lock();
            let staying = state.parents_of(unit).filter(|parent| parent.version_of.is_some() && !parent.retiring);
            staying.max_by_key(|parent| (parent.rendered == request.rendered, parent.serial)).cloned()
        };
        let Some(parent) = parent else { return Err(Fault::Failed(format!("no version of {unit} is there"))) };
        match parent.epoch == epoch {
            true => Ok(parent),
            false => self.write_parent(&Parent { epoch, ..parent }).await,
        }
    }

    async fn remove_traffic(&self, epoch: Epoch, unit: &UnitId, which: Which) -> Result<(), Fault> {
        self.parents_read().await?;
        self.fence_unit(unit, epoch)?;
        let all: Vec<(ObjectId, Live)> = {
            let state = self.cache.lock();
            saying(&state, unit, which).into_iter().map(|(id, live, _)| (id.clone(), live.clone())).collect()
        };
        let kind = Kind { api_version: "v1".into(), plural: "services".into(), namespaced: true };
        let account = self.cache.lock().parents_of(unit).find_map(|parent| parent.account.clone());
        for (id, live) in all {
            if which == Which::Preview {
                self.delete(&id, &kind, &live.uid, account.as_deref())
                    .await
                    .map_err(|fault| fault.about(&id.to_string(), ""))?;
                continue;
            }
            // It leads to all that its own selector names, as it did before.
            let notes = json!({ labels::TRAFFIC: Value::Null });
            let plain = json!({
                "metadata": { "uid": live.uid, "annotations": notes },
                "spec": { "selector": { labels::GROUP: Value::Null } },
            });
            let path = format!("{}?fieldManager={}", kind.object(&id), labels::MANAGER);
            let call = Call::new(Method::PATCH, path).with(MERGE, &plain).account(account.as_deref());
            match self.server().await?.call(&call).await {
                Err(error) if error.code() == Some(404) => {}
                Err(error) => return Err(Fault::from(error).about(&id.to_string(), "")),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

fn settings_of(desired: &DesiredUnit, which: Which) -> Digest {
    route::settings(desired, which).unwrap_or_else(|| Digest::of("s1", &()))
}

impl KubernetesPlatform {
    fn refused(&self, fault: Fault, epoch: Epoch) -> TrafficError {
        match self.told(fault, epoch) {
            PlatformError::Unreachable { platform: plane, reason } => TrafficError::Unreachable { plane, reason },
            PlatformError::Stale { platform: plane, epoch } => TrafficError::Stale { plane, epoch },
            PlatformError::Refused { platform: plane, reason } => TrafficError::Refused { plane, reason },
            PlatformError::Failed { platform: plane, reason } => TrafficError::Failed { plane, reason },
        }
    }
}

#[async_trait]
impl Traffic for KubernetesPlatform {
    async fn observe(&self, unit: &UnitId, kind: Which) -> Seen<Option<ObservedTraffic>> {
        let state = self.cluster.cache.lock();
        if let Err(reason) = state.parents_known() {
            return Seen::Unknown(reason);
        }
        observed(&state, unit, kind).map_or_else(Seen::Unknown, Seen::Known)
    }

    fn settings(&self, desired: &DesiredUnit, kind: Which) -> Digest {
        settings_of(desired, kind)
    }

    async fn set(&self, epoch: Epoch, request: &SetTraffic) -> Result<(), TrafficError> {
        self.cluster.set_traffic(epoch, request).await.map_err(|fault| self.refused(fault, epoch))
    }

    async fn remove(&self, epoch: Epoch, unit: &UnitId, kind: Which) -> Result<(), TrafficError> {
        self.cluster.remove_traffic(epoch, unit, kind).await.map_err(|fault| self.refused(fault, epoch))
    }

    async fn counters(&self, unit: &UnitId) -> Seen<Counters> {
        Seen::Unknown(format!("the Services of {unit} don't count what they carry"))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.cluster.cache.changes()
    }

    async fn check(&self) -> Result<Vec<String>, TrafficError> {
        Ok(Vec::new())
    }
}
