//! What a group comes to before anything of it is done: its objects as they are sent, their kinds, and its parent.

use std::collections::BTreeMap;

use super::claims::is_same;
use super::cluster::Cluster;
use super::compose::{Composed, Frame};
use super::discovery::Kind;
use super::fault::Fault;
use super::inventory::{Entry, LATER, Parent, Settings};
use crate::domain::id::Epoch;
use crate::domain::workload::kubernetes::{KubernetesSpec, Object, ObjectId};
use crate::ports::platform::EnsureGroup;
use crate::secrets::value::SecretValues;

/// One group on its way.
pub(super) struct Work<'a> {
    /// What it is made from.
    pub spec: &'a KubernetesSpec,
    /// The values of its secrets.
    pub secrets: &'a SecretValues,
    /// Its parent.
    pub parent: Parent,
    /// What is sent.
    pub objects: Vec<(Composed, Kind)>,
}

impl Cluster {
    /// What a group comes to, nothing of it done.
    pub(super) async fn prepare_any<'a>(
        &self,
        epoch: Epoch,
        request: &'a EnsureGroup,
        spec: &'a KubernetesSpec,
    ) -> Result<Work<'a>, Fault> {
        let unit = &request.desired.unit;
        match &spec.versioned {
            Some(versioned) => {
                let before = self.cache.lock().parent_of(unit, &request.group).cloned();
                self.prepare_version(epoch, request, spec, versioned, before.as_ref()).await
            }
            None => {
                let before = self.cache.lock().parent(unit).cloned();
                self.prepare(epoch, request, spec, before.as_ref()).await
            }
        }
    }

    pub(super) async fn prepare<'a>(
        &self,
        epoch: Epoch,
        request: &'a EnsureGroup,
        spec: &'a KubernetesSpec,
        before: Option<&Parent>,
    ) -> Result<Work<'a>, Fault> {
        let key = before.map_or_else(|| self.fresh_key(&request.desired.unit), |parent| parent.key().to_owned());
        let restarts = request.restarts;
        let frame = Frame { spec, installation: &self.installation, unit: &key, restarts };
        let mut objects = Vec::with_capacity(spec.objects.len());
        let mut later = spec.in_waves();
        let asked = usize::try_from(request.replicas).unwrap_or(usize::MAX).min(later.len());
        for (object, wave) in later.drain(..asked) {
            let (mut composed, kind) = self.composed(&frame, object).await?;
            composed.wave = wave;
            objects.push((composed, kind));
        }
        let mut entries = entries(before, &objects)?;
        for (object, _) in later {
            let same = entries.iter_mut().find(|(id, _)| is_same(spec, object, id));
            same.into_iter().for_each(|(_, entry)| entry.applied = Some(LATER.into()));
        }
        let parent = self.parent_for_group(epoch, request, spec, before, &key)?;
        let parent = Parent { objects: entries, ..parent };
        let mut work = Work { spec, secrets: &request.secrets, parent, objects };
        self.remember_hooks(&mut work).await;
        Ok(work)
    }

    /// An object as it is sent, and its kind; refused where the daemon may not write it.
    pub(super) async fn composed(&self, frame: &Frame<'_>, object: &Object) -> Result<(Composed, Kind), Fault> {
        let kind = self.kind_of(frame.spec, object).await?;
        let namespace = kind.namespaced.then(|| object.namespace().unwrap_or(&frame.spec.place.namespace));
        let composed = frame.compose(object, namespace);
        self.scope.admits(&composed.id, &kind)?;
        Ok((composed, kind))
    }

    /// The parent of a group as it will be written, without what it has; refused where the daemon may not write it.
    pub(super) fn parent_for_group(
        &self,
        epoch: Epoch,
        request: &EnsureGroup,
        spec: &KubernetesSpec,
        before: Option<&Parent>,
        key: &str,
    ) -> Result<Parent, Fault> {
        let parent = Parent {
            serial: self.serial(request, before),
            version_of: None,
            namespace: before.map_or(&spec.place.namespace, |parent| &parent.namespace).clone(),
            name: format!("trimtab-{key}"),
            resource_version: before.and_then(|parent| parent.resource_version.clone()),
            unit: request.desired.unit.clone(),
            group: request.group.clone(),
            rendered: request.rendered.clone(),
            version: request.desired.version.clone(),
            epoch,
            retiring: false,
            account: spec.place.service_account.clone(),
            objects: BTreeMap::new(),
            settings: Settings { drift: spec.drift, ignore: spec.ignore.clone(), health: spec.health.clone() },
        };
        self.scope.admits_parent(&parent)?;
        Ok(parent)
    }

    /// The kind of an object, also of one whose definition comes with it.
    pub(super) async fn kind_of(&self, spec: &KubernetesSpec, object: &Object) -> Result<Kind, Fault> {
        if let Some(kind) =
            self.discovery.kind(self.server().await?.as_ref(), object.api_version(), object.kind()).await?
        {
            return Ok(kind);
        }
        let defined = Cluster::defines(spec, object).map(|definition| {
            let text = |pointer: &str| definition.fields().get("spec")?.pointer(pointer)?.as_str();
            Kind {
                api_version: object.api_version().to_owned(),
                plural: text("/names/plural").unwrap_or_default().to_owned(),
                namespaced: text("/scope") == Some("Namespaced"),
            }
        });
        let lack = || self.discovery.lack(object.api_version(), object.kind());
        defined.ok_or_else(|| Fault::NoKind {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
            told: format!("{} has {}", self.name, lack()),
        })
    }

    /// The definition of an object's kind that comes with it.
    pub(super) fn defines<'a>(spec: &'a KubernetesSpec, object: &Object) -> Option<&'a Object> {
        spec.objects.iter().find(|definition| {
            let text = |pointer: &str| definition.fields().get("spec")?.pointer(pointer)?.as_str();
            definition.kind() == "CustomResourceDefinition"
                && text("/group") == Some(object.group())
                && text("/names/kind") == Some(object.kind())
        })
    }
}

/// An inventory: what there was, and what is asked for now.
pub(super) fn entries(
    before: Option<&Parent>,
    objects: &[(Composed, Kind)],
) -> Result<BTreeMap<ObjectId, Entry>, Fault> {
    let mut entries: BTreeMap<ObjectId, Entry> = BTreeMap::new();
    for (id, entry) in before.into_iter().flat_map(|parent| &parent.objects) {
        let applied = entry.applied.clone().filter(|_| entry.is_hook());
        entries.insert(id.clone(), Entry { applied, ..entry.clone() });
    }
    for (composed, _) in objects {
        let (version, applied) = (composed.api_version.clone(), Some(composed.applied.clone()));
        let entry = Entry { version, applied, rests: composed.rests, wave: composed.wave };
        if entries
            .insert(composed.id.clone(), entry)
            .is_some_and(|before| before.applied.is_some() && !before.is_hook())
        {
            return Err(Fault::Refused(format!("{} is there twice", composed.id)));
        }
    }
    Ok(entries)
}
