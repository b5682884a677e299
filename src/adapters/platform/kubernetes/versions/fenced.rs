//! Writes to what leads requests. Each names the version of the object that was looked at, and what a later daemon has taken over says
//! so: whoever was replaced and does not know it yet writes nothing.

use http::Method;
use serde_json::{Value, json};

use super::led::Led;
use super::record::{Said, is_route};
use crate::adapters::platform::kubernetes::apply::ROUNDS;
use crate::adapters::platform::kubernetes::cache::KindName;
use crate::adapters::platform::kubernetes::client::{Call, MERGE};
use crate::adapters::platform::kubernetes::cluster::Cluster;
use crate::adapters::platform::kubernetes::compose::Frame;
use crate::adapters::platform::kubernetes::discovery::Kind;
use crate::adapters::platform::kubernetes::fault::Fault;
use crate::adapters::platform::kubernetes::inventory::Parent;
use crate::adapters::platform::kubernetes::labels;
use crate::adapters::platform::kubernetes::live::{Form, Live};
use crate::adapters::platform::kubernetes::prepare::Work;
use crate::adapters::platform::kubernetes::refusal::ApiError;
use crate::adapters::platform::kubernetes::view;
use crate::domain::action::Which;
use crate::domain::id::{Epoch, UnitId};
use crate::domain::workload::kubernetes::{KubernetesSpec, Object, ObjectId};
use crate::net::client::segment;
use crate::secrets::value::SecretValues;

impl Cluster {
    /// Marks all that leads requests of a unit with the epoch, before anything depends on where it leads: from there on no daemon
    /// before this one can write it.
    pub(in super::super) async fn fence_routed(&self, unit: &UnitId, epoch: Epoch) -> Result<(), Fault> {
        let (due, account) = {
            let state = self.cache.lock();
            let all = [Which::Main, Which::Preview].map(|which| Said::of(&state, unit, which));
            let saying = all.iter().flat_map(|said| said.services.iter().chain(&said.routes));
            let saying = saying.map(|(id, live, _)| (*id, *live));
            let all = saying.chain(all.iter().flat_map(|said| said.beside.iter().copied()));
            let marked = |live: &Live| live.led().is_some_and(|led| led.epoch == epoch.0);
            let due: Vec<ObjectId> = all.filter(|(_, live)| !marked(live)).map(|(id, _)| id.clone()).collect();
            (due, state.parents_of(unit).find_map(|parent| parent.account.clone()))
        };
        for id in due {
            self.mark(unit, epoch, &id, account.as_deref()).await.map_err(|fault| fault.about(&id.to_string(), ""))?;
        }
        Ok(())
    }

    async fn mark(&self, unit: &UnitId, epoch: Epoch, id: &ObjectId, account: Option<&str>) -> Result<(), Fault> {
        let Some(kind) = self.kind_of_routed(unit, id).await? else { return Ok(()) };
        for _ in 0..ROUNDS {
            let Some(live) = self.cache.lock().live(id).cloned() else { return Ok(()) };
            if replaced(&live, epoch)? {
                return Ok(());
            }
            let mark = json!({ "metadata": { "annotations": { labels::EPOCH: epoch.0.to_string() } } });
            let manager = format!("{}-epoch", labels::MANAGER);
            let call = patch_of(&kind, id, &live, &manager, mark).account(account);
            match self.server().await?.call(&call).await {
                Ok(answer) => {
                    self.take(&answer);
                    return Ok(());
                }
                Err(error) if error.code() == Some(404) => return Ok(()),
                Err(error) if error.code() == Some(409) => self.look_again(id, &kind, account).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Fault::Failed("others change it again and again".into()))
    }

    /// Sends what leads requests, if it is not so already and nobody else wrote it since it was looked at.
    pub(super) async fn send_fenced(
        &self,
        epoch: Epoch,
        parent: &Parent,
        spec: &KubernetesSpec,
        object: &Object,
    ) -> Result<(), Fault> {
        let kind = self.kind_of(spec, object).await?;
        let namespace = object.namespace().unwrap_or(&spec.place.namespace);
        let frame = Frame { spec, installation: &self.installation, unit: parent.key(), restarts: 0 };
        let composed = frame.compose(object, Some(namespace));
        self.scope.admits(&composed.id, &kind)?;
        let wanted = Led::read(&Value::Object(object.fields().clone()));
        let no_secrets = SecretValues::new();
        let work = Work { spec, secrets: &no_secrets, parent: parent.clone(), objects: Vec::new() };
        let named = |fault: Fault| fault.about(&view::name(parent, &composed.id), "");
        for _ in 0..ROUNDS {
            let live = self.cache.lock().live(&composed.id).cloned();
            if let Some(live) = &live {
                replaced(live, epoch)?;
                let same = live.applied.as_ref() == Some(&composed.applied) && view::owns(parent, live);
                if same && live.deleting.is_none() && live.led().is_some_and(|led| led.leads_like(&wanted)) {
                    return Ok(());
                }
            }
            let mut sent = composed.clone();
            sent.at = live.map(|live| live.version);
            match self.send(&work, &sent, &kind).await {
                Err(Fault::Api(ApiError::Refused(refusal))) if refusal.code == 409 => {
                    let account = parent.account.as_deref();
                    self.look_again(&composed.id, &kind, account).await.map_err(named)?;
                }
                sent => return sent.map_err(named),
            }
        }
        Err(named(Fault::Failed("others change it again and again while it is applied".into())))
    }

    async fn look_again(&self, id: &ObjectId, kind: &Kind, account: Option<&str>) -> Result<(), Fault> {
        match self.server().await?.call(&Call::get(kind.object(id)).account(account)).await {
            Ok(found) => self.take(&found),
            Err(error) if error.code() == Some(404) => self.cache.remove(id),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn take(&self, answer: &Value) {
        if let Some((id, live)) = Live::read(answer, Form::Whole) {
            self.cache.put(id, live, false);
        }
    }

    /// Leads to all that its own selector or rules name, as it did before.
    pub(super) async fn let_go(
        &self,
        unit: &UnitId,
        id: &ObjectId,
        live: &Live,
        account: Option<&str>,
    ) -> Result<(), Fault> {
        let mut plain = json!({ "metadata": { "annotations": { labels::TRAFFIC: Value::Null } } });
        if !is_route(id) {
            plain["spec"] = json!({ "selector": { labels::GROUP: Value::Null } });
        }
        let Some(kind) = self.kind_of_routed(unit, id).await? else { return Ok(()) };
        let call = patch_of(&kind, id, live, labels::MANAGER, plain).account(account);
        match self.server().await?.call(&call).await {
            Err(error) if error.code() == Some(404) => Ok(()),
            Err(error) => Err(Fault::from(error).about(&id.to_string(), "")),
            Ok(_) => Ok(()),
        }
    }

    pub(super) async fn delete_routed(
        &self,
        unit: &UnitId,
        id: &ObjectId,
        live: &Live,
        account: Option<&str>,
    ) -> Result<(), Fault> {
        let Some(kind) = self.kind_of_routed(unit, id).await? else { return Ok(()) };
        let deleted = self.delete(id, &kind, &live.uid, account).await;
        deleted.map_err(|fault| fault.about(&id.to_string(), ""))
    }

    /// Whether a Service leads to a pod that is ready, by its EndpointSlices. Who may not read these goes without.
    pub(super) async fn has_endpoints(
        &self,
        namespace: &str,
        service: &str,
        account: Option<&str>,
    ) -> Result<bool, Fault> {
        let selector = segment(&format!("kubernetes.io/service-name={service}"));
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector={selector}");
        let list = match self.server().await?.call(&Call::get(path).account(account)).await {
            Ok(list) => list,
            Err(error) if error.code() == Some(403) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        let items =
            |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let slices = items(&list, "items");
        let mut endpoints = slices.iter().flat_map(|slice| items(slice, "endpoints"));
        Ok(endpoints.any(|one| one.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false)))
    }

    /// The kind of a Service or route of a unit; `None`: the server has it no more, nor any such object.
    async fn kind_of_routed(&self, unit: &UnitId, id: &ObjectId) -> Result<Option<Kind>, Fault> {
        if KindName::of(id) == KindName::service() {
            return Ok(Some(service_kind()));
        }
        let version = {
            let state = self.cache.lock();
            let mut versions = state.parents_of(unit).filter_map(|parent| parent.objects.get(id));
            versions.next().map(|entry| entry.version.clone())
        };
        let Some(version) = version else { return Ok(None) };
        Ok(self.discovery.kind(self.server().await?.as_ref(), &version, &id.kind).await?)
    }
}

/// A patch of what was looked at: of no other object under its name, and of no later version of it.
fn patch_of(kind: &Kind, id: &ObjectId, live: &Live, manager: &str, mut patch: Value) -> Call {
    patch["metadata"]["uid"] = live.uid.as_str().into();
    patch["metadata"]["resourceVersion"] = live.version.to_string().into();
    Call::new(Method::PATCH, format!("{}?fieldManager={manager}", kind.object(id))).with(MERGE, &patch)
}

pub(super) fn service_kind() -> Kind {
    Kind { api_version: "v1".into(), plural: "services".into(), namespaced: true }
}

/// Refuses who was replaced; whether it bears this epoch.
fn replaced(live: &Live, epoch: Epoch) -> Result<bool, Fault> {
    match live.led().map_or(0, |led| led.epoch) {
        later if later > epoch.0 => Err(Fault::Stale),
        known => Ok(known == epoch.0),
    }
}
