//! Versions of a Deployment side by side: each is a group with a parent of its own.
//!
//! A version's Deployment, autoscaler and disruption budgets are clones, `NAME-GROUP`. All other objects are shared: they are as the
//! latest group asks for them, from its start on; when it goes, the one before it has them again. Services and HTTPRoutes go with the
//! requests: they are set with the traffic alone. How many pods a Deployment has is set apart from it, so that an autoscaler can take
//! over.

mod fenced;
pub mod found;
pub mod led;
pub mod parts;
mod record;
mod shares;
mod shift;
pub mod sight;
mod traffic;

use std::collections::BTreeMap;

use http::Method;
use serde_json::json;

use super::cache::KindName;
use super::client::{Call, MERGE};
use super::cluster::Cluster;
use super::compose::Frame;
use super::discovery::Kind;
use super::fault::Fault;
use super::inventory::{Entry, Parent, ROUTED, Version};
use super::labels;
use super::live::{Form, Live};
use super::prepare::{Work, entries};
use crate::domain::capabilities::{Capabilities, Split};
use crate::domain::desired::DesiredUnit;
use crate::domain::id::{Epoch, GroupId};
use crate::domain::strategy::Strategy;
use crate::domain::workload::Workload;
use crate::domain::workload::http_route;
use crate::domain::workload::kubernetes::{KubernetesSpec, ObjectId};
use crate::domain::workload::versioned::Versioned;
use crate::ports::platform::EnsureGroup;
use parts::{Marks, Role, clone_name, parts, preview_name};
use shares::beside_name;

/// How much of a group's id its objects are named by.
const SHORT: usize = 8;

/// What can be done for a unit, without a route.
fn capabilities(desired: &DesiredUnit) -> Capabilities {
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

/// How finely routes divide requests.
const WEIGHTS: Split = Split::Weights(http_route::MOST_WEIGHT);

/// The value of the label of a group's pods.
pub fn short(group: &GroupId) -> &str {
    let text = group.as_str();
    text.get(..SHORT).unwrap_or(text)
}

/// What the parent of a group says of its version.
pub(super) fn version(spec: &KubernetesSpec, versioned: &Versioned, request: &EnsureGroup, scaled: bool) -> Version {
    let group = short(&request.group);
    let deployment = ObjectId {
        name: clone_name(&versioned.deployment.name, group),
        namespace: Some(versioned.deployment.namespace.clone().unwrap_or_else(|| spec.place.namespace.clone())),
        ..versioned.deployment.clone()
    };
    Version { group: group.into(), replicas: request.replicas, deployment, scaled }
}

impl Cluster {
    /// What can be done for a unit.
    pub(super) async fn capabilities(&self, desired: &DesiredUnit) -> Result<Capabilities, Fault> {
        let can = capabilities(desired);
        let weighs = match &desired.workload {
            Workload::Kubernetes(spec) if can.split == Split::Replicas => self.has_routes(spec).await?,
            _ => false,
        };
        Ok(if weighs { Capabilities { split: WEIGHTS, ..can } } else { can })
    }

    /// Whether routes lead to a unit's Services, and the server knows what they are.
    async fn has_routes(&self, spec: &KubernetesSpec) -> Result<bool, Fault> {
        let routes = spec.versioned.iter().flat_map(|versioned| &versioned.routes);
        let mut found = false;
        for route in spec.objects.iter().filter(|one| routes.clone().any(|id| *id == one.id())) {
            let server = self.server().await?;
            let known = self.discovery.kind(server.as_ref(), route.api_version(), route.kind()).await?;
            if known.is_none() && Cluster::defines(spec, route).is_none() {
                return Ok(false);
            }
            found = true;
        }
        Ok(found)
    }

    /// Makes one version so.
    pub(super) async fn ensure_version(
        &self,
        epoch: Epoch,
        request: &EnsureGroup,
        spec: &KubernetesSpec,
        versioned: &Versioned,
    ) -> Result<(), Fault> {
        self.take_found(epoch, &request.desired.unit, spec).await?;
        let before = self.cache.lock().parent_of(&request.desired.unit, &request.group).cloned();
        let mut work = self.prepare_version(epoch, request, spec, versioned, before.as_ref()).await?;
        let pod = Kind { api_version: "v1".into(), plural: "pods".into(), namespaced: true };
        self.watch_kind(&KindName::pod(), &pod).await?;
        let scaled = work.parent.version_of.as_ref().is_some_and(|version| version.scaled);
        if !scaled {
            self.unscale(&work.parent, before.as_ref()).await?;
        }
        self.make(&mut work, before.as_ref()).await?;
        self.resize(&work, request, before.as_ref()).await?;
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
        // A group that is not whole has no autoscaler where its pods are its share: it would make it so.
        let whole = request.replicas >= request.desired.replicas || !versioned.routes.is_empty();
        let scaled = versioned.scaler.is_some() && whole;
        let marks = Marks { installation: &self.installation, unit: &key, group };
        let frame = Frame { spec, installation: &self.installation, unit: &key, restarts: request.restarts };
        let (mut objects, mut routed) = (Vec::new(), BTreeMap::new());
        for (object, role) in parts(spec, versioned, &marks) {
            let (composed, kind) = self.composed(&frame, &object).await?;
            match role {
                Role::Scaler if !scaled => {}
                Role::Own | Role::Scaler | Role::Shared => objects.push((composed, kind)),
                Role::Routed => drop(routed.insert(composed.id, kind.api_version)),
            }
        }
        let mut entries = entries(before, &objects)?;
        let named = |name: &dyn Fn(&str) -> String| -> Vec<ObjectId> {
            let services = routed.keys().filter(|id| id.kind == "Service");
            services.map(|id| ObjectId { name: name(&id.name), ..id.clone() }).collect()
        };
        let mut more = Vec::new();
        if matches!(request.desired.strategy, Strategy::BlueGreen(_)) {
            more.extend(named(&preview_name));
        }
        if !versioned.routes.is_empty() {
            more.extend(named(&|service| beside_name(service, group)));
        }
        routed.extend(more.into_iter().map(|id| (id, "v1".to_owned())));
        for (id, version) in routed {
            let entry = Entry { version, applied: Some(ROUTED.into()), rests: false, wave: 0 };
            entries.insert(id, entry);
        }
        let version = version(spec, versioned, request, scaled);
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
    async fn resize(&self, work: &Work<'_>, request: &EnsureGroup, before: Option<&Parent>) -> Result<(), Fault> {
        let Some(version) = &work.parent.version_of else { return Ok(()) };
        let Some((_, kind)) = work.objects.iter().find(|(one, _)| one.id == version.deployment) else { return Ok(()) };
        let has = self.cache.lock().live(&version.deployment).and_then(|live| live.more.replicas);
        let asked = request.replicas;
        let size = if version.scaled { self.scaled_size(work, request, has, before) } else { asked };
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

    /// The number of pods where an autoscaler keeps it: what it has made of it. A group that is new, or that gets a greater share,
    /// begins with as large a part of what an autoscaler has made of the group that serves now.
    fn scaled_size(&self, work: &Work<'_>, request: &EnsureGroup, has: Option<u32>, before: Option<&Parent>) -> u32 {
        let asked = request.replicas;
        let state = self.cache.lock();
        let own = work.parent.version_of.as_ref().and_then(|version| state.live(&version.deployment));
        let known = before.and_then(|before| before.version_of.as_ref()).map_or(0, |version| version.replicas);
        let kept = own.filter(|live| live.more.complete).map_or(asked, |_| has.unwrap_or(asked).max(asked));
        if own.is_some_and(|live| live.more.complete) && asked <= known {
            return kept;
        }
        let others = state.parents_of(&work.parent.unit).filter(|other| other.key() != work.parent.key());
        let deployments = others.flat_map(|other| other.objects.keys().filter(|id| id.kind == "Deployment"));
        let most = deployments.filter_map(|id| state.live(id)?.more.replicas).max().unwrap_or_default();
        let part = (u64::from(most) * u64::from(asked)).div_ceil(u64::from(request.desired.replicas.max(1)));
        kept.max(u32::try_from(part).unwrap_or(most).min(most))
    }
}
