//! Versions of a Deployment side by side: each is a group with a parent of its own.
//!
//! A version's Deployment, autoscaler and disruption budgets are clones, `NAME-GROUP`. All other objects are shared: they are as the
//! latest group asks for them, from its start on; when it goes, the one before it has them again. Services go with the requests:
//! they are set with the traffic alone. How many pods a Deployment has is set apart from it, so that an autoscaler can take over.

pub mod parts;
pub mod sight;
mod traffic;

use http::Method;
use serde_json::json;

use super::cache::KindName;
use super::client::{Call, MERGE};
use super::cluster::{Cluster, Fault};
use super::compose::Frame;
use super::discovery::Kind;
use super::inventory::{Entry, Parent, ROUTED, Version};
use super::labels;
use super::live::{Form, Live};
use super::prepare::{Work, entries};
use crate::domain::capabilities::{Capabilities, Split};
use crate::domain::desired::DesiredUnit;
use crate::domain::id::{Epoch, GroupId};
use crate::domain::strategy::Strategy;
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{KubernetesSpec, ObjectId};
use crate::domain::workload::versioned::Versioned;
use crate::ports::platform::EnsureGroup;
use parts::{Marks, Role, clone_name, parts, preview_name};

/// How much of a group's id its objects are named by.
const SHORT: usize = 8;

/// What can be done for a unit.
pub fn capabilities(desired: &DesiredUnit) -> Capabilities {
    let Workload::Kubernetes(KubernetesSpec { versioned: Some(versioned), .. }) = &desired.workload else {
        return Capabilities::IN_PLACE;
    };
    let routed = !versioned.services.is_empty();
    Capabilities {
        versioned_groups: true,
        surge: true,
        split: if routed { Split::Replicas } else { Split::None },
        preview: routed,
        runs: true,
        ..Capabilities::NONE
    }
}

/// The value of the label of a group's pods.
pub fn short(group: &GroupId) -> &str {
    let text = group.as_str();
    text.get(..SHORT).unwrap_or(text)
}

impl Cluster {
    /// Makes one version so.
    pub(super) async fn ensure_version(
        &self,
        epoch: Epoch,
        request: &EnsureGroup,
        spec: &KubernetesSpec,
        versioned: &Versioned,
    ) -> Result<(), Fault> {
        let before = self.cache.lock().parent_of(&request.desired.unit, &request.group).cloned();
        let mut work = self.prepare_version(epoch, request, spec, versioned, before.as_ref()).await?;
        let pod = Kind { api_version: "v1".into(), plural: "pods".into(), namespaced: true };
        self.watch_kind(&KindName::pod(), &pod).await?;
        let scaled = work.parent.version_of.as_ref().is_some_and(|version| version.scaled);
        if !scaled {
            self.unscale(&work.parent, before.as_ref()).await?;
        }
        self.make(&mut work, before.as_ref()).await?;
        self.resize(&work, request.replicas).await?;
        self.tidy_hooks(&work.parent).await?;
        self.prune(epoch, &work.parent).await
    }

    pub(super) async fn prepare_version<'a>(
        &self,
        epoch: Epoch,
        request: &'a EnsureGroup,
        spec: &'a KubernetesSpec,
        versioned: &Versioned,
        before: Option<&Parent>,
    ) -> Result<Work<'a>, Fault> {
        let unit = &request.desired.unit;
        let group = short(&request.group);
        let key = before.map_or_else(|| format!("{}-{group}", self.fresh_key(unit)), |parent| parent.key().to_owned());
        // A group that is not whole has no autoscaler: it would make it so.
        let scaled = versioned.scaler.is_some() && request.replicas >= request.desired.replicas;
        let marks = Marks { installation: &self.installation, unit: &key, group };
        let frame = Frame { spec, installation: &self.installation, unit: &key, restarts: request.restarts };
        let (mut objects, mut routed) = (Vec::new(), Vec::new());
        for (object, role) in parts(spec, versioned, &marks) {
            let (composed, kind) = self.composed(&frame, &object).await?;
            match role {
                Role::Scaler if !scaled => {}
                Role::Own | Role::Scaler | Role::Shared => objects.push((composed, kind)),
                Role::Routed => routed.push(composed.id),
            }
        }
        let mut entries = entries(before, &objects)?;
        if matches!(request.desired.strategy, Strategy::BlueGreen(_)) {
            let previews: Vec<ObjectId> =
                routed.iter().map(|id| ObjectId { name: preview_name(&id.name), ..id.clone() }).collect();
            routed.extend(previews);
        }
        for id in routed {
            let entry = Entry { version: "v1".into(), applied: Some(ROUTED.into()), rests: false, wave: 0 };
            entries.insert(id, entry);
        }
        let deployment = ObjectId {
            name: clone_name(&versioned.deployment.name, group),
            namespace: Some(versioned.deployment.namespace.clone().unwrap_or_else(|| spec.place.namespace.clone())),
            ..versioned.deployment.clone()
        };
        let version = Version { group: group.into(), replicas: request.replicas, deployment, scaled };
        let parent = self.parent_for_group(epoch, request, spec, before, &key)?;
        let parent = Parent { version_of: Some(version), objects: entries, ..parent };
        let mut work = Work { spec, secrets: &request.secrets, parent, objects };
        self.remember_hooks(&mut work).await;
        Ok(work)
    }

    /// Takes the autoscaler away from a group that is about to become smaller than it keeps it.
    async fn unscale(&self, parent: &Parent, before: Option<&Parent>) -> Result<(), Fault> {
        let was = before.and_then(|before| before.version_of.as_ref()).is_some_and(|version| version.scaled);
        if !was {
            return Ok(());
        }
        for (id, entry) in parent.objects.iter().filter(|(id, _)| id.kind == "HorizontalPodAutoscaler") {
            let live = self.cache.lock().live(id).cloned();
            let kind = self.discovery.kind(self.server().await?.as_ref(), &entry.version, &id.kind).await?;
            if let (Some(live), Some(kind), None) = (live, kind, &entry.applied) {
                self.delete(id, &kind, &live.uid, parent.account.as_deref()).await?;
            }
        }
        Ok(())
    }

    /// Gives a version's Deployment its number of pods, unless an autoscaler has given it more.
    async fn resize(&self, work: &Work<'_>, asked: u32) -> Result<(), Fault> {
        let Some(version) = &work.parent.version_of else { return Ok(()) };
        let Some((_, kind)) = work.objects.iter().find(|(one, _)| one.id == version.deployment) else { return Ok(()) };
        let has = self.cache.lock().live(&version.deployment).and_then(|live| live.more.replicas);
        let size = if version.scaled { self.scaled_size(work, has, asked) } else { asked };
        if has == Some(size) {
            return Ok(());
        }
        let path = format!("{}?fieldManager={}-size", kind.object(&version.deployment), labels::MANAGER);
        let call = Call::new(Method::PATCH, path).with(MERGE, &json!({ "spec": { "replicas": size } }));
        let call = call.account(work.parent.account.as_deref());
        let answer = self.server().await?.call(&call).await.map_err(Fault::from);
        let answer = answer.map_err(|fault| fault.about(&super::view::name(&work.parent, &version.deployment), ""))?;
        if let Some((id, live)) = Live::read(&answer, Form::Whole) {
            self.cache.put(id, live, false);
        }
        Ok(())
    }

    /// The number of pods where an autoscaler keeps it: what it has made of it, and for a group that is new, what it has made of the
    /// group that serves now.
    fn scaled_size(&self, work: &Work<'_>, has: Option<u32>, asked: u32) -> u32 {
        let state = self.cache.lock();
        let complete = |live: &Live| live.more.complete;
        let own = work.parent.version_of.as_ref().and_then(|version| state.live(&version.deployment));
        if own.is_some_and(complete) {
            return has.unwrap_or(asked).max(asked);
        }
        let others = state.parents_of(&work.parent.unit).filter(|other| other.key() != work.parent.key());
        let deployments = others.flat_map(|other| other.objects.keys().filter(|id| id.kind == "Deployment"));
        let most = deployments.filter_map(|id| state.live(id)?.more.replicas).max().unwrap_or_default();
        asked.max(most)
    }
}
