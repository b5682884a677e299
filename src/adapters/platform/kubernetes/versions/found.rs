//! What somebody else made and an app takes over straight into versions: it counts as a group that is replaced in place, whose objects
//! stay as they were found.
//!
//! Until the app's first version starts it is only looked at. Then its objects are marked and a parent of its own names them, so that
//! from there on it is a group like any other: it serves until its successor does, and goes after its delay.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::Method;
use serde_json::json;

use crate::adapters::platform::kubernetes::client::{APPLY, Call, METADATA};
use crate::adapters::platform::kubernetes::cluster::Cluster;
use crate::adapters::platform::kubernetes::compose::Frame;
use crate::adapters::platform::kubernetes::discovery::Kind;
use crate::adapters::platform::kubernetes::fault::Fault;
use crate::adapters::platform::kubernetes::health::Health;
use crate::adapters::platform::kubernetes::inventory::{Entry, FOUND, Parent, Settings};
use crate::adapters::platform::kubernetes::labels;
use crate::adapters::platform::kubernetes::live::{Form, Live};
use crate::adapters::platform::kubernetes::view;
use crate::domain::digest::Digest;
use crate::domain::id::{Epoch, GroupId, UnitId};
use crate::domain::observed::{ObservedGroup, ObservedInstance};
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{Drift, KubernetesSpec, ObjectId};

/// How long it is not looked at again.
const FRESH: Duration = Duration::from_secs(2);
/// Its version, where it names none.
const UNNAMED: &str = "as found";

/// What was found.
#[derive(Clone)]
struct Found {
    /// As its parent will be.
    parent: Parent,
    objects: BTreeMap<ObjectId, (Kind, Live)>,
}

/// What was found of units when it was looked for last.
pub type Looked = std::sync::Mutex<BTreeMap<UnitId, (Instant, Option<ObservedGroup>)>>;

impl Cluster {
    /// What somebody else runs that a unit without any group will take over.
    pub(in super::super) async fn found(&self, unit: &UnitId) -> Result<Option<ObservedGroup>, Fault> {
        let Some(desired) = self.claims.of(unit) else { return Ok(None) };
        let Workload::Kubernetes(spec) = &desired.workload else { return Ok(None) };
        if !spec.adopt || spec.versioned.is_none() {
            return Ok(None);
        }
        let known = self.looked.lock().unwrap_or_else(PoisonError::into_inner).get(unit).cloned();
        if let Some((_, group)) = known.filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(group);
        }
        let group = self.look_for(unit, spec).await?.map(|found| found.group());
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.insert(unit.clone(), (Instant::now(), group.clone()));
        Ok(group)
    }

    /// Takes over what was found, before the first version of a unit starts.
    pub(super) async fn take_found(&self, epoch: Epoch, unit: &UnitId, spec: &KubernetesSpec) -> Result<(), Fault> {
        let begun = self.cache.lock().parents_of(unit).next().is_some();
        if begun || !spec.adopt {
            return Ok(());
        }
        let Some(found) = self.look_for(unit, spec).await? else { return Ok(()) };
        let parent = Parent { epoch, ..found.parent };
        // Marked first: what is marked and has no parent yet is found again.
        for (id, (kind, live)) in &found.objects {
            self.read_kind(id, kind).await?;
            let marked = self.mark_found(&parent, id, kind, live).await;
            marked.map_err(|fault| fault.about(&view::name(&parent, id), ""))?;
        }
        self.write_parent(&parent).await.map(drop)
    }

    async fn look_for(&self, unit: &UnitId, spec: &KubernetesSpec) -> Result<Option<Found>, Fault> {
        let Some(versioned) = &spec.versioned else { return Ok(None) };
        let key = self.fresh_key(unit);
        let frame = Frame { spec, installation: &self.installation, unit: &key, restarts: 0 };
        let mut asked = Vec::new();
        for object in &spec.objects {
            let (composed, kind) = match self.composed(&frame, object).await {
                Ok(composed) => composed,
                // Of a kind that the server does not know there is nothing, and where nothing may be written nothing is taken.
                Err(Fault::Failed(_) | Fault::Refused(_)) => continue,
                Err(fault) => return Err(fault),
            };
            asked.push((composed.id, kind, object.id() == versioned.deployment));
        }
        // Without the Deployment there is nothing that serves.
        asked.sort_by_key(|(_, _, serves)| !serves);
        let (first, others) = asked.split_at(asked.len().min(1));
        let mut objects = BTreeMap::new();
        let mut uid = String::new();
        for (id, kind, _) in first {
            let Some(live) = self.theirs(spec, id, kind, &key).await? else { return Ok(None) };
            uid.clone_from(&live.uid);
            objects.insert(id.clone(), (kind.clone(), live));
        }
        let looked = others.iter().map(|(id, kind, _)| self.theirs(spec, id, kind, &key));
        for ((id, kind, _), found) in others.iter().zip(join_all(looked).await) {
            if let Some(live) = found? {
                objects.insert(id.clone(), (kind.clone(), live));
            }
        }
        let entry = |(id, (kind, _)): (&ObjectId, &(Kind, Live))| {
            let entry = Entry { version: kind.api_version.clone(), applied: Some(FOUND.into()), rests: false, wave: 0 };
            (id.clone(), entry)
        };
        let parent = Parent {
            namespace: spec.place.namespace.clone(),
            name: format!("trimtab-{key}"),
            resource_version: None,
            unit: unit.clone(),
            group: GroupId(Digest::of("g0", &uid).short().to_owned()),
            rendered: Digest::of("r0", &uid),
            version: UNNAMED.into(),
            epoch: Epoch(0),
            retiring: false,
            serial: 0,
            version_of: None,
            account: spec.place.service_account.clone(),
            objects: objects.iter().map(entry).collect(),
            settings: Settings { drift: Drift::Report, ..Settings::default() },
        };
        self.scope.admits_parent(&parent)?;
        Ok(Some(Found { parent, objects }))
    }

    /// An object that somebody else made, or that was marked for this unit and not more.
    async fn theirs(
        &self,
        spec: &KubernetesSpec,
        id: &ObjectId,
        kind: &Kind,
        key: &str,
    ) -> Result<Option<Live>, Fault> {
        let call = Call::get(kind.object(id)).account(spec.place.service_account.as_deref());
        let found = match self.server().await?.call(&call).await {
            Ok(found) => found,
            Err(error) if error.code() == Some(404) => return Ok(None),
            Err(error) => return Err(Fault::from(error).about(&id.to_string(), "")),
        };
        let Some((_, live)) = Live::read(&found, Form::Whole) else { return Ok(None) };
        let marked = live.unit.as_deref() == Some(key) && live.applied.as_deref() == Some(FOUND);
        let theirs = marked || (live.unit.is_none() && live.applied.is_none());
        Ok(Some(live).filter(|live| theirs && live.deleting.is_none()))
    }

    async fn mark_found(&self, parent: &Parent, id: &ObjectId, kind: &Kind, live: &Live) -> Result<(), Fault> {
        let marks = json!({ labels::INSTALLATION: self.installation, labels::UNIT: parent.key() });
        let body = json!({
            "apiVersion": kind.api_version,
            "kind": id.kind,
            "metadata": {
                "name": id.name,
                "namespace": id.namespace,
                // It is marked where it is still the one that was found, and never made.
                "uid": live.uid,
                "labels": marks,
                "annotations": { labels::APPLIED: FOUND },
            },
        });
        let path = format!("{}?fieldManager={}&force=true", kind.object(id), labels::MANAGER);
        let call = Call::new(Method::PATCH, path).with(APPLY, &body).accept(METADATA);
        let answer = self.server().await?.call(&call.account(parent.account.as_deref())).await?;
        if let Some((_, mut next)) = Live::read(&answer, Form::Metadata) {
            // A mark changes nothing of how it is doing.
            next.health = live.health.clone();
            next.pods.clone_from(&live.pods);
            next.more = live.more.clone();
            self.cache.put(id.clone(), next, false);
        }
        Ok(())
    }
}

impl Found {
    fn group(&self) -> ObservedGroup {
        let instance = |(slot, (id, (_, live))): (u32, (&ObjectId, &(Kind, Live)))| ObservedInstance {
            id: view::name(&self.parent, id),
            slot,
            running: true,
            stopping: false,
            ready: live.health == Health::Healthy,
            address: None,
            started: live.created,
            restarts: 0,
            given_up: false,
            message: live.health.message().map(str::to_owned),
        };
        ObservedGroup {
            group: self.parent.group.clone(),
            rendered: self.parent.rendered.clone(),
            version: self.parent.version.clone(),
            replicas: u32::try_from(self.objects.len()).unwrap_or(u32::MAX),
            retiring: false,
            in_place: true,
            found: true,
            leaving: Vec::new(),
            instances: (0..).zip(&self.objects).map(instance).collect(),
        }
    }
}
