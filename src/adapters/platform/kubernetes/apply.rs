//! Making a unit's objects so: what is right already is not sent again, and nothing of others is touched without consent.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Method;
use serde_json::{Value, json};

use super::cache::KindName;
use super::client::{APPLY, Call, JSON, METADATA};
use super::cluster::Cluster;
use super::compose::Composed;
use super::conflicts::{Settlement, settle};
use super::deleting::Deleting;
use super::discovery::Kind;
use super::fault::Fault;
use super::fields::Owner;
use super::heals::fought_over;
use super::health::Health;
use super::inventory::Parent;
use super::labels;
use super::live::{Form, Live};
use super::prepare::Work;
use super::refusal::ApiError;
use super::view;
use crate::domain::id::Epoch;
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{Drift, ObjectId, has_no_status};
use crate::domain::workload::order::{Rank, rank};
use crate::ports::platform::EnsureGroup;
use crate::secrets::value::SecretValues;

/// How many objects of a unit are under way at once; the server has its own limit over all units.
const AT_ONCE: usize = 32;
/// How long a kind's objects may take to be read for the first time.
const READ: Duration = Duration::from_secs(20);
/// How long a definition may take to be established, and an object to be gone that is made again.
pub(super) const SETTLED: Duration = Duration::from_secs(30);
/// From one look at an object that is to go to the next.
pub(super) const READ_AGAIN: Duration = Duration::from_millis(200);
/// How often an object is sent again after conflicts were settled.
pub(super) const ROUNDS: u32 = 4;

impl Cluster {
    /// See [`crate::ports::platform::Platform::ensure_group`].
    pub async fn ensure(&self, epoch: Epoch, request: &EnsureGroup) -> Result<(), Fault> {
        let Workload::Kubernetes(spec) = &request.desired.workload else {
            return Err(Fault::Refused(format!("{} asks for something else than objects", request.desired.unit)));
        };
        self.parents_read().await?;
        self.fence_unit(&request.desired.unit, epoch)?;
        if let Some(versioned) = &spec.versioned {
            return self.ensure_version(epoch, request, spec, versioned).await;
        }
        let before = self.cache.lock().parent(&request.desired.unit).cloned();
        let mut work = self.prepare(epoch, request, spec, before.as_ref()).await?;
        self.make(&mut work, before.as_ref()).await?;
        self.tidy_hooks(&work.parent).await?;
        self.clear_the_way(&work.parent).await?;
        self.prune(epoch, &work.parent).await
    }

    /// Makes what is prepared so: the parent first, then object after object, wave after wave.
    pub(super) async fn make(&self, work: &mut Work<'_>, before: Option<&Parent>) -> Result<(), Fault> {
        if before != Some(&work.parent) {
            work.parent = self.write_first(work).await?;
        }
        let waves: BTreeSet<i32> = work.objects.iter().map(|(one, _)| one.wave).collect();
        // What ran as a whole is put back as far as that goes: nothing of it waits for what can't be.
        let healed = self.was_whole(&work.parent);
        let mut failed = None;
        for wave in waves {
            for rank in [Rank::Definitions, Rank::Namespaces, Rank::Config, Rank::Access, Rank::Workloads, Rank::Rest] {
                match self.apply_rank(work, wave, rank).await {
                    Err(Fault::Failed(why)) if healed => drop(failed.get_or_insert(Fault::Failed(why))),
                    Err(Fault::Refused(why)) if healed => drop(failed.get_or_insert(Fault::Refused(why))),
                    Err(Fault::Wrong(why)) if healed => drop(failed.get_or_insert(Fault::Wrong(why))),
                    applied => applied?,
                }
            }
        }
        match failed {
            Some(fault) => return Err(fault),
            None if work.parent.rises() => {}
            None => self.note_whole(&work.parent),
        }
        // All that it has was made just now.
        if before.is_none_or(|before| before.wanted().next().is_none()) {
            self.saw(work.parent.key());
        }
        Ok(())
    }

    /// Writes the parent before any object; its namespace may be one of the objects.
    async fn write_first(&self, work: &Work<'_>) -> Result<Parent, Fault> {
        let error = match self.write_parent(&work.parent).await {
            Err(error @ Fault::NoNamespace(_)) => error,
            written => return written,
        };
        let namespace = &work.parent.namespace;
        let own = work.objects.iter().find(|(one, _)| one.id.kind == "Namespace" && one.id.name == *namespace);
        match own {
            Some((composed, kind)) => {
                self.read_kind(&composed.id, kind).await?;
                self.send(work, composed, kind).await?;
                self.write_parent(&work.parent).await
            }
            None => Err(error),
        }
    }

    async fn apply_rank(&self, work: &Work<'_>, wave: i32, now: Rank) -> Result<(), Fault> {
        let is_here = |one: &Composed| one.wave == wave && rank(&one.id.group, &one.id.kind) == now;
        let here: Vec<&(Composed, Kind)> = work.objects.iter().filter(|(one, _)| is_here(one)).collect();
        let mut kinds: BTreeMap<KindName, (&ObjectId, &Kind)> = BTreeMap::new();
        for (composed, kind) in &here {
            kinds.entry(KindName::of(&composed.id)).or_insert((&composed.id, kind));
        }
        for (id, kind) in kinds.into_values() {
            self.read_kind(id, kind).await?;
        }
        let due: Vec<&(Composed, Kind)> = {
            let state = self.cache.lock();
            let right = |id: &ObjectId| {
                work.parent.objects.get(id).is_some_and(|entry| view::is_right(&state, &work.parent, id, entry))
            };
            here.iter().filter(|(one, _)| !right(&one.id)).copied().collect()
        };
        let mut under_way = FuturesUnordered::new();
        let (mut left, mut failed) = (due.iter(), Vec::new());
        loop {
            while under_way.len() < AT_ONCE
                && let Some((one, kind)) = left.next()
            {
                under_way.push(async move { (&one.id, self.send(work, one, kind).await) });
            }
            match under_way.next().await {
                None => break,
                Some((id, Err(fault))) => failed.push((id, fault)),
                Some((id, Ok(()))) => self.cache.hinder(&work.parent.unit, id, None),
            }
        }
        for (id, fault) in &failed {
            self.note_lack_of(&work.parent.unit, id, fault);
            self.cache.hinder(&work.parent.unit, id, Some(fault.why()));
        }
        let (count, all) = (failed.len(), due.len());
        // What will never come about decides.
        let told = failed.iter().position(|(_, fault)| fault.is_for_good()).unwrap_or_default();
        if let Some((id, fault)) = failed.into_iter().nth(told) {
            let rest = if count > 1 { format!(" ({count} of {all} objects failed)") } else { String::new() };
            return Err(fault.about(&view::name(&work.parent, id), &rest));
        }
        if now == Rank::Definitions && !due.is_empty() {
            for (composed, _) in due {
                self.established(&composed.id).await?;
            }
            self.discovery.refresh(self.server().await?.as_ref()).await?;
        }
        Ok(())
    }

    /// Waits until all objects of a kind are known.
    pub(super) async fn read_kind(&self, id: &ObjectId, kind: &Kind) -> Result<(), Fault> {
        let name = KindName::of(id);
        self.watch_kind(&name, kind).await?;
        self.cache_until(READ, |state| state.known(&name).is_ok()).await.map_err(|()| {
            let known = self.cache.lock().known(&name);
            Fault::Unreachable(
                known.err().unwrap_or_else(|| format!("the {} objects were not read in time", name.kind)),
            )
        })
    }

    async fn established(&self, id: &ObjectId) -> Result<(), Fault> {
        let settled = |health: Option<&Health>| matches!(health, Some(Health::Healthy | Health::Degraded { .. }));
        let waited = self.cache_until(SETTLED, |state| settled(state.live(id).map(|live| &live.health))).await;
        let health = self.cache.lock().live(id).map(|live| live.health.clone());
        match (waited, health) {
            (Ok(()), Some(Health::Healthy)) => Ok(()),
            (_, health) => {
                let why = health.as_ref().and_then(Health::message).unwrap_or("it is not there").to_owned();
                Err(Fault::Failed(format!("{id} is not established: {why}")))
            }
        }
    }

    /// Sends one object, and settles what stands in its way.
    pub(super) async fn send(&self, work: &Work<'_>, composed: &Composed, kind: &Kind) -> Result<(), Fault> {
        let mut composed = Cow::Borrowed(composed);
        let live = self.cache.lock().live(&composed.id).cloned();
        let mut claim = self.claim(work, &composed, live.as_ref())?;
        let id = composed.id.clone();
        let mut healing = self.heals.one(&id);
        if let Some(live) = live.filter(|_| claim != Claim::New && work.spec.drift == Drift::Heal) {
            self.take_strays(work, &composed, kind, &live, &mut healing).await?;
        }
        let mut adopted = false;
        for _ in 0..ROUNDS {
            let error = match self.patch(work, &composed, kind, claim).await {
                Ok(()) if adopted => return self.disown_others(work, &composed, kind).await,
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let Fault::Api(ApiError::Refused(refusal)) = &error else { return Err(error) };
            let conflicts = refusal.conflicts();
            let immutable = refusal.is_immutable();
            match refusal.code {
                // Whose it is comes before who has which field.
                409 if claim == Claim::New => {
                    claim = self.met(work, &composed, kind).await?;
                    adopted = work.spec.adopt;
                }
                409 if !conflicts.is_empty() => {
                    let ignored = |owner: &Owner| Live::left_to(&work.parent.settings, &id, owner);
                    let heals = claim != Claim::New && work.spec.drift == Drift::Heal;
                    match settle(&conflicts, heals, work.spec.adopt, &ignored) {
                        Settlement::Take if work.spec.adopt || healing.allow() => claim = Claim::Take,
                        Settlement::Take => return Err(Fault::Failed(fought_over(&conflicts))),
                        Settlement::Leave(fields) => fields.iter().for_each(|field| composed.to_mut().leave(field)),
                        Settlement::Refuse(why) => {
                            return Err(Fault::Refused(format!("it has fields of others: {why}")));
                        }
                    }
                }
                _ if immutable && work.spec.recreate.contains(&composed.id.kind) => {
                    self.delete_and_wait(&composed.id, kind, work.parent.account.as_deref()).await?;
                    claim = Claim::New;
                }
                _ if immutable => return Err(error.with(&recreate_advice(&composed.id.kind))),
                _ => return Err(error),
            }
        }
        Err(Fault::Failed("others change it again and again while it is applied".into()))
    }

    /// By what right an object is sent.
    pub(super) fn claim(&self, work: &Work<'_>, composed: &Composed, live: Option<&Live>) -> Result<Claim, Fault> {
        let Some(live) = live else { return Ok(Claim::New) };
        if let Some(deleting) = &live.deleting {
            return Err(Fault::Failed(format!("the one that is there has to go first: {}", deleting.message())));
        }
        match &live.unit {
            Some(key) if key == work.parent.key() => Ok(Claim::Ours),
            Some(key) => self.hand_over(work, key, &composed.id),
            None => Ok(Claim::New),
        }
    }

    /// An object of another unit goes over to this one where that one no longer asks for it.
    fn hand_over(&self, work: &Work<'_>, key: &str, id: &ObjectId) -> Result<Claim, Fault> {
        let state = self.cache.lock();
        let Some(other) = state.parents.get(key) else { return Ok(Claim::Ours) };
        if other.unit == work.parent.unit {
            return Ok(Claim::Ours);
        }
        let given_up = match self.claims.wanted(&other.unit, id) {
            Some(wanted) => !wanted,
            None => other.objects.get(id).is_none_or(|entry| entry.applied.is_none()),
        };
        match given_up {
            true => Ok(Claim::Ours),
            false => Err(Fault::Refused(format!("it belongs to {}: two apps can't have the same object", other.unit))),
        }
    }

    /// An object that was to be new is there: whose is it?
    pub(super) async fn met(&self, work: &Work<'_>, composed: &Composed, kind: &Kind) -> Result<Claim, Fault> {
        let call = Call::get(kind.object(&composed.id)).accept(METADATA).account(work.parent.account.as_deref());
        let found = self.server().await?.call(&call).await?;
        let mark = |field: &str, name: &str| found.pointer(&format!("/metadata/{field}"))?.get(name)?.as_str();
        if let Some(key) = mark("labels", labels::UNIT).filter(|key| *key != work.parent.key()) {
            let theirs = mark("labels", labels::INSTALLATION).filter(|other| *other != self.installation);
            return match theirs {
                Some(other) => Err(Fault::Refused(format!("it belongs to another trimtab, installation {other}"))),
                None => self.hand_over(work, key, &composed.id),
            };
        }
        // What was applied before and lost its labels is still ours, and so is what somebody replaced as a whole.
        let marked = mark("labels", labels::UNIT).is_some() || mark("annotations", labels::APPLIED).is_some();
        let replaced = self.cache.lock().lost(&composed.id) == Some(work.parent.key());
        if marked || replaced || work.spec.adopt {
            return Ok(Claim::Ours);
        }
        let managed = found.pointer("/metadata/managedFields").and_then(Value::as_array);
        let managers = managed.into_iter().flatten().filter_map(|entry| entry.get("manager")?.as_str());
        let managers: BTreeSet<&str> = managers.collect();
        let managers: Vec<&str> = managers.into_iter().take(3).collect();
        Err(Fault::Refused(format!(
            "it is there already and nobody said that it is this app's (made by {}): take it over with `adopt: true`, or remove it",
            managers.join(", ")
        )))
    }

    async fn patch(&self, work: &Work<'_>, composed: &Composed, kind: &Kind, claim: Claim) -> Result<(), Fault> {
        let mut body = composed.filled(work.secrets).map_err(Fault::Refused)?;
        if claim == Claim::New {
            // No object has this version: one that exists is a conflict, and is looked at before anything of it changes.
            body["metadata"]["resourceVersion"] = "1".into();
        } else if let Some(at) = composed.at {
            body["metadata"]["resourceVersion"] = at.to_string().into();
        }
        let force = if claim == Claim::Take { "&force=true" } else { "" };
        let path = format!("{}{force}", kind.apply(&composed.id));
        let call = Call::new(Method::PATCH, path).with(APPLY, &body).accept(METADATA);
        let call = call.account(work.parent.account.as_deref());
        drop(body);
        let answer = self.server().await?.call(&call).await.map_err(|error| hidden(composed, work.secrets, error))?;
        let form = if metadata_only(&KindName::of(&composed.id)) { Form::Metadata } else { Form::Answer };
        if let Some((_, live)) = Live::read(&answer, form) {
            self.cache.put(composed.id.clone(), live, true);
        }
        Ok(())
    }

    /// Deletes an object and waits until it is gone.
    async fn delete_and_wait(&self, id: &ObjectId, kind: &Kind, account: Option<&str>) -> Result<(), Fault> {
        let uid = self.cache.lock().live(id).map(|live| live.uid.clone());
        if let Some(uid) = uid {
            self.delete(id, kind, &uid, account).await?;
        }
        self.cache_until(SETTLED, |state| state.live(id).is_none())
            .await
            .map_err(|()| Fault::Failed(format!("{id} is to be made again and is not gone after {SETTLED:?}")))
    }

    /// Deletes an object if it is still the same one. One that does not go at once is known to be on its way.
    pub(super) async fn delete(
        &self,
        id: &ObjectId,
        kind: &Kind,
        uid: &str,
        account: Option<&str>,
    ) -> Result<(), Fault> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": { "uid": uid },
        });
        let call = Call::new(Method::DELETE, kind.object(id)).with(JSON, &options).accept(METADATA).account(account);
        match self.server().await?.call(&call).await {
            // Gone, or another one under the same name.
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error.into()),
            Ok(answer) => {
                if let Some(deleting) = Deleting::read(&answer) {
                    self.cache.note_deleting(id, uid, deleting);
                }
                Ok(())
            }
        }
    }
}

/// By what right an object is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// It must not be there yet.
    New,
    /// It is this unit's.
    Ours,
    /// It is this unit's, fields of others included.
    Take,
}

/// Refuses who was replaced.
pub(super) fn fence(parent: Option<&Parent>, epoch: Epoch) -> Result<(), Fault> {
    match parent.is_some_and(|parent| parent.epoch > epoch) {
        true => Err(Fault::Stale),
        false => Ok(()),
    }
}

/// Whether the metadata of a kind's objects tells all that matters: they have no status.
pub(super) fn metadata_only(kind: &KindName) -> bool {
    has_no_status(&kind.group, &kind.kind)
}

/// What can be done about a field that can't be changed.
pub(super) fn recreate_advice(kind: &str) -> String {
    format!("; to let {kind} objects be deleted and made again, name the kind under `recreate`")
}

/// What a server says of an object with secret values must not repeat them.
pub(super) fn hidden(composed: &Composed, secrets: &SecretValues, error: ApiError) -> Fault {
    let conflict = matches!(&error, ApiError::Refused(refusal) if !refusal.conflicts().is_empty());
    if conflict {
        // Fields and managers, no values.
        return error.into();
    }
    let short = secrets.values().any(|value| value.expose().len() < crate::secrets::redact::SHORTEST);
    if composed.is_secret() || (composed.secret && short) {
        return error.without_words().into();
    }
    let ApiError::Refused(mut refusal) = error else { return error.into() };
    if composed.secret {
        let redactor = crate::secrets::Redactor::knowing(secrets.values());
        refusal.message = redactor.text(&refusal.message).into_owned();
        refusal.causes.iter_mut().for_each(|cause| cause.message = redactor.text(&cause.message).into_owned());
    }
    ApiError::Refused(refusal).into()
}
