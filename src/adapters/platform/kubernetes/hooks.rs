//! Hooks that are objects: each is made once for its run, which its object is marked with, and goes as its policy says.
//!
//! The journal knows which run a hook is at; the object tells what became of it. A daemon that was killed finds the object of its
//! run by the mark; one that has lost its state takes over what still runs for the same rendered state.

use std::time::Instant;

use http::Method;
use serde_json::{Value, json};

use super::apply::{READ_AGAIN, SETTLED, hidden};
use super::claims::is_same;
use super::client::{Call, JSON, MERGE};
use super::cluster::Cluster;
use super::compose::{Composed, Frame, inner, member};
use super::discovery::Kind;
use super::fault::Fault;
use super::health::Health;
use super::inventory::{Entry, Parent};
use super::labels;
use super::live::{Form, Live};
use super::prepare::Work;
use super::refusal::ApiError;
use super::versions::version;
use super::view;
use crate::domain::id::{Epoch, RunId, UnitId};
use crate::domain::observed::ObservedRun;
use crate::domain::workload::Workload;
use crate::domain::workload::hooks::{Ended, HookObject};
use crate::domain::workload::kubernetes::{KubernetesSpec, Object, ObjectId};
use crate::ports::platform::{EnsureGroup, HookRequest};
use crate::secrets::value::SecretValues;

/// A Job that has ended stays so long at least, whatever it says itself: its end must be seen.
const LEAST_TTL: u64 = 600;

/// What the object of a hook is marked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its run.
    pub run: RunId,
    /// The rendered state that it is of.
    pub rendered: String,
    /// After which ends it goes.
    pub delete: Vec<Ended>,
}

impl Mark {
    /// The mark of an object; none where it is no hook's.
    pub fn read(metadata: &Value) -> Option<Box<Mark>> {
        let note = |name: &str| metadata.get("annotations")?.get(name)?.as_str();
        let run = RunId(note(labels::RUN)?.to_owned());
        let policies = note(labels::RUN_ENDS).unwrap_or_default();
        let delete = [(Ended::Succeeded, "succeeded"), (Ended::Failed, "failed")];
        Some(Box::new(Mark {
            run,
            rendered: note(labels::RUN_OF).unwrap_or_default().to_owned(),
            delete: delete.into_iter().filter(|(_, word)| policies.contains(word)).map(|(end, _)| end).collect(),
        }))
    }

    fn write(request: &HookRequest, hook: &HookObject, body: &mut Value) {
        let ends = hook.delete.iter().map(|end| match end {
            Ended::Succeeded => "succeeded",
            Ended::Failed => "failed",
        });
        let ends: Vec<&str> = ends.collect();
        let notes = inner(member(body, "metadata"), "annotations");
        notes.insert(labels::RUN.into(), request.run.0.as_str().into());
        notes.insert(labels::RUN_OF.into(), request.rendered.short().into());
        if !ends.is_empty() {
            notes.insert(labels::RUN_ENDS.into(), ends.join(",").into());
        }
    }
}

/// How the object of a hook ended; none while it has not.
pub(super) fn ended(id: &ObjectId, live: &Live) -> Option<Ended> {
    match (live.more.over, &live.health) {
        (Some(end), _) => Some(end),
        // What is well while it runs has not ended.
        (None, _) if (id.group.as_str(), id.kind.as_str()) == ("", "Pod") || id.kind == "Workflow" => None,
        (None, Health::Healthy) => Some(Ended::Succeeded),
        (None, Health::Degraded { for_good: true, .. }) => Some(Ended::Failed),
        _ => None,
    }
}

/// Whether the object of a hook has ended and is to go for that.
pub(super) fn is_to_go(parent: &Parent, id: &ObjectId, live: &Live) -> bool {
    let delete = live.mark.as_ref().map(|mark| mark.delete.as_slice()).unwrap_or_default();
    is_hook_of(parent, live) && live.deleting.is_none() && ended(id, live).is_some_and(|end| delete.contains(&end))
}

/// Whether an object is a hook's of the parent's unit.
pub(super) fn is_hook_of(parent: &Parent, live: &Live) -> bool {
    live.mark.is_some() && live.unit.as_deref() == Some(parent.unit_key())
}

/// The object of a run on its way.
struct Made<'a> {
    request: &'a HookRequest,
    spec: &'a KubernetesSpec,
    hook: &'a HookObject,
    composed: Composed,
    kind: Kind,
    key: String,
}

impl Made<'_> {
    fn account(&self) -> Option<&str> {
        self.spec.place.service_account.as_deref()
    }
}

impl Cluster {
    async fn made<'a>(&self, request: &'a HookRequest) -> Result<Made<'a>, Fault> {
        let unknown = || Fault::Refused(format!("{} has no hook {}", request.unit, request.number));
        let Workload::Kubernetes(spec) = &request.desired.workload else { return Err(unknown()) };
        let index = usize::try_from(request.number).map_err(|_| unknown())?;
        let hook = spec.hooks.get(index).ok_or_else(unknown)?;
        let key = {
            let state = self.cache.lock();
            state.parent(&request.unit).map(|parent| parent.key().to_owned())
        };
        let key = key.unwrap_or_else(|| self.fresh_key(&request.unit));
        self.cache.know_hooks(&key, &request.unit);
        let frame = Frame { spec, installation: &self.installation, unit: &key, restarts: 0 };
        let (composed, kind) = self.composed(&frame, &bounded(hook.made_for(&request.rendered))).await?;
        self.read_kind(&composed.id, &kind).await?;
        Ok(Made { request, spec, hook, composed, kind, key })
    }

    /// See [`crate::ports::platform::Platform::start_hook`].
    pub async fn start_hook(&self, epoch: Epoch, request: &HookRequest) -> Result<(), Fault> {
        self.parents_read().await?;
        self.fence_unit(&request.unit, epoch)?;
        let made = self.made(request).await?;
        let id = &made.composed.id;
        let live = self.cache.lock().live(id).cloned();
        if let Some(live) = live {
            let other = {
                let state = self.cache.lock();
                // Of a unit that has no group yet its hooks alone are known; one that Git does not name either is no more.
                let there = |unit: &UnitId| state.parents_of(unit).next().is_some() || self.claims.of(unit).is_some();
                state.unit_of(Some(&live)).filter(|unit| *unit != request.unit && there(unit))
            };
            if let Some(other) = other {
                return Err(Fault::Refused(format!("{id} belongs to {other}: two apps can't have the same object")));
            }
            match &live.mark {
                Some(mark) if mark.run == request.run && live.deleting.is_none() => return Ok(()),
                // The state that knew of its run was lost.
                Some(mark)
                    if mark.rendered == request.rendered.short()
                        && live.deleting.is_none()
                        && ended(id, &live).is_none() =>
                {
                    return self.mark_again(&made).await;
                }
                _ => self.delete_run(&made, Some(&live.uid)).await?,
            }
        }
        self.make_own_namespace(&made).await?;
        self.own(epoch, &made).await?;
        self.make_run(&made).await
    }

    /// Before a hook is made, a parent of its unit names it: whatever becomes of the version, it is known whose it is, and it goes with
    /// the unit.
    async fn own(&self, epoch: Epoch, made: &Made<'_>) -> Result<(), Fault> {
        let id = &made.composed.id;
        let parent = {
            let state = self.cache.lock();
            let staying = || state.parents_of(&made.request.unit).filter(|parent| !parent.retiring);
            let names = |parent: &Parent| parent.objects.get(id).is_some_and(|entry| entry.applied.is_some());
            if staying().any(names) {
                return Ok(());
            }
            staying().max_by_key(|parent| parent.serial).cloned()
        };
        let Some(mut parent) = parent else { return self.own_first(epoch, made).await };
        parent.objects.insert(id.clone(), Entry::hook(&made.composed.api_version, made.hook.wave));
        self.write_parent(&Parent { epoch, ..parent }).await.map(drop)
    }

    /// For the first hook of a unit that has nothing yet, the parent of its first group is made, of hooks alone. Where that group is to
    /// take over what somebody else runs, nothing says so before its hooks have succeeded: what was found goes with no app until then.
    async fn own_first(&self, epoch: Epoch, made: &Made<'_>) -> Result<(), Fault> {
        let HookRequest { unit, desired, rendered, restarts, .. } = made.request;
        if self.found(unit).await?.is_some() {
            return Ok(());
        }
        let nothing = EnsureGroup {
            desired: desired.as_ref().clone(),
            rendered: rendered.clone(),
            group: desired.group_id(*restarts),
            restarts: *restarts,
            replicas: 0,
            artifact: None,
            secrets: SecretValues::new(),
        };
        let parent = match &made.spec.versioned {
            None => self.parent_for_group(epoch, &nothing, made.spec, None, &made.key)?,
            Some(versioned) => {
                let version = version(made.spec, versioned, &nothing, false);
                let key = format!("{}-{}", made.key, version.group);
                let parent = self.parent_for_group(epoch, &nothing, made.spec, None, &key)?;
                Parent { version_of: Some(version), ..parent }
            }
        };
        let mut work = Work { spec: made.spec, secrets: &nothing.secrets, parent, objects: Vec::new() };
        self.remember_hooks(&mut work).await;
        match self.write_parent(&work.parent).await {
            // Where it will be made, it is made with the objects.
            Err(Fault::NoNamespace(_)) => Ok(()),
            written => written.map(drop),
        }
    }

    /// A namespace that comes with the objects is there before the hooks in it.
    async fn make_own_namespace(&self, made: &Made<'_>) -> Result<(), Fault> {
        let Some(namespace) = &made.composed.id.namespace else { return Ok(()) };
        let is_own = |object: &&Object| object.kind() == "Namespace" && object.group().is_empty();
        let mut own = made.spec.objects.iter().filter(is_own);
        let Some(own) = own.find(|object| object.name() == namespace) else { return Ok(()) };
        let frame = Frame { spec: made.spec, installation: &self.installation, unit: &made.key, restarts: 0 };
        let (composed, kind) = self.composed(&frame, own).await?;
        match self.server().await?.call(&Call::get(kind.object(&composed.id))).await {
            Err(error) if error.code() == Some(404) => {}
            found => return found.map(drop).map_err(Fault::from),
        }
        let secrets = &made.request.secrets;
        let body = composed.filled(secrets).map_err(Fault::Refused)?;
        let made = self.post(made, &composed, &kind, &body).await?;
        made.map(drop).map_err(|error| hidden(&composed, secrets, error).about(&composed.id.to_string(), ""))
    }

    async fn post(
        &self,
        made: &Made<'_>,
        composed: &Composed,
        kind: &Kind,
        body: &Value,
    ) -> Result<Result<Value, ApiError>, Fault> {
        let collection = kind.collection(composed.id.namespace.as_deref());
        let path = format!("{collection}?fieldManager={}&fieldValidation=Strict", labels::MANAGER);
        let call = Call::new(Method::POST, path).with(JSON, body).account(made.account());
        Ok(self.server().await?.call(&call).await)
    }

    async fn make_run(&self, made: &Made<'_>) -> Result<(), Fault> {
        let (composed, secrets) = (&made.composed, &made.request.secrets);
        let mut body = composed.filled(secrets).map_err(Fault::Refused)?;
        Mark::write(made.request, made.hook, &mut body);
        for _ in 0..2 {
            let error = match self.post(made, composed, &made.kind, &body).await? {
                Ok(answer) => {
                    self.saw_run(&answer);
                    return Ok(());
                }
                Err(error) => error,
            };
            if error.code() != Some(409) {
                return Err(hidden(composed, secrets, error).about(&composed.id.to_string(), ""));
            }
            // It is there, and the watch, which sees what is ours, did not show it.
            if self.is_made(made).await? {
                return Ok(());
            }
            if !made.spec.adopt {
                return Err(Fault::Refused(format!(
                    "{} is there already and nobody said that it is this app's: take it over with `adopt: true`, or remove it",
                    composed.id
                )));
            }
            self.delete_run(made, None).await?;
        }
        Err(Fault::Failed(format!("{} is made by others again and again", composed.id)))
    }

    fn saw_run(&self, answer: &Value) {
        if let Some((id, live)) = Live::read(answer, Form::Whole) {
            self.cache.put(id, live, false);
        }
    }

    async fn is_made(&self, made: &Made<'_>) -> Result<bool, Fault> {
        let call = Call::get(made.kind.object(&made.composed.id)).account(made.account());
        match self.server().await?.call(&call).await {
            Ok(found) => {
                let mark = found.get("metadata").and_then(Mark::read);
                Ok(mark.is_some_and(|mark| mark.run == made.request.run))
            }
            Err(error) if error.code() == Some(404) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn mark_again(&self, made: &Made<'_>) -> Result<(), Fault> {
        let notes = json!({ "metadata": { "annotations": { labels::RUN: made.request.run.0 } } });
        let path = format!("{}?fieldManager={}", made.kind.object(&made.composed.id), labels::MANAGER);
        let call = Call::new(Method::PATCH, path).with(MERGE, &notes);
        let answer = self.server().await?.call(&call.account(made.account())).await?;
        self.saw_run(&answer);
        Ok(())
    }

    /// Deletes what an earlier run left, its pods too, and waits until it is gone: two runs never are at work at once.
    async fn delete_run(&self, made: &Made<'_>, uid: Option<&str>) -> Result<(), Fault> {
        let id = &made.composed.id;
        let mut options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground" });
        if let Some(uid) = uid {
            options["preconditions"] = json!({ "uid": uid });
        }
        let account = made.account();
        let path = made.kind.object(id);
        let call = Call::new(Method::DELETE, &path).with(JSON, &options).account(account);
        let server = self.server().await?;
        match server.call(&call).await {
            Err(error) if matches!(error.code(), Some(404 | 409)) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        let begun = Instant::now();
        while begun.elapsed() < SETTLED {
            match server.call(&Call::get(&path).account(account)).await {
                Err(error) if error.code() == Some(404) => {
                    self.cache.remove(id);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
                Ok(_) => tokio::time::sleep(READ_AGAIN).await,
            }
        }
        Err(Fault::Failed(format!("{id} of an earlier run is to go first, and is not gone after {SETTLED:?}")))
    }

    /// See [`crate::ports::platform::Platform::hook`].
    pub async fn hook(&self, request: &HookRequest) -> Result<ObservedRun, Fault> {
        let made = self.made(request).await?;
        let id = &made.composed.id;
        let (live, diagnosis) = {
            let state = self.cache.lock();
            (state.live(id).cloned(), state.diagnosis(id).cloned())
        };
        let is_own = |live: &Live| live.mark.as_ref().is_some_and(|mark| mark.run == request.run);
        let Some(live) = live.filter(is_own) else { return Ok(ObservedRun::NotStarted) };
        let told = live.health.message().map(str::to_owned);
        let hopeless = diagnosis.as_ref().filter(|diagnosis| diagnosis.for_good);
        Ok(match ended(id, &live) {
            Some(Ended::Succeeded) => ObservedRun::Exited(0),
            Some(Ended::Failed) => {
                let lines = self.told_by_pods(id, &live).await;
                let all: Vec<String> = told.into_iter().chain(lines).collect();
                ObservedRun::Failed(if all.is_empty() { "it failed".into() } else { all.join("; ") })
            }
            None => match hopeless {
                Some(diagnosis) => ObservedRun::Failed(diagnosis.message.clone().unwrap_or_default()),
                None => {
                    let cause = diagnosis.and_then(|diagnosis| diagnosis.message);
                    ObservedRun::Busy(told.into_iter().chain(cause).collect::<Vec<_>>().join("; "))
                }
            },
        })
    }

    /// Hooks are the unit's: those that are there and that a group on its way out names are named by one that stays.
    pub(super) async fn hand_on_hooks(&self, epoch: Epoch, parent: &Parent) -> Result<(), Fault> {
        let heir = {
            let state = self.cache.lock();
            let staying = state.parents_of(&parent.unit).filter(|one| !one.retiring && one.key() != parent.key());
            let Some(mut heir) = staying.max_by_key(|one| one.serial).cloned() else { return Ok(()) };
            let there = |id: &ObjectId| state.live(id).is_some_and(|live| is_hook_of(parent, live));
            let left = parent.hooks().filter(|(id, _)| there(id) && !heir.objects.contains_key(*id));
            let left: Vec<_> = left.map(|(id, entry)| (id.clone(), entry.clone())).collect();
            if left.is_empty() {
                return Ok(());
            }
            heir.objects.extend(left);
            heir
        };
        self.write_parent(&Parent { epoch, ..heir }).await.map(drop)
    }

    /// Removes the objects of hooks that have ended and are to go for that.
    pub(super) async fn tidy_hooks(&self, parent: &Parent) -> Result<(), Fault> {
        let due: Vec<(ObjectId, String)> = {
            let state = self.cache.lock();
            let live = parent.hooks().filter_map(|(id, _)| Some((id, state.live(id)?)));
            live.filter(|(id, live)| is_to_go(parent, id, live))
                .map(|(id, live)| (id.clone(), live.uid.clone()))
                .collect()
        };
        for (id, uid) in due {
            self.remove(parent, &id, &uid).await.map_err(|fault| fault.about(&view::name(parent, &id), ""))?;
        }
        Ok(())
    }

    /// The objects of a unit's hooks as a parent remembers them: those that are asked for, and those of earlier runs that are there.
    pub(super) async fn remember_hooks(&self, work: &mut Work<'_>) {
        for hook in &work.spec.hooks {
            let object = hook.made_for(&work.parent.rendered);
            // A kind that is not there yet has no objects either.
            let Ok(kind) = self.kind_of(work.spec, &object).await else { continue };
            let place = &work.spec.place.namespace;
            let namespace = kind.namespaced.then(|| object.namespace().unwrap_or(place).to_owned());
            let entry = Entry::hook(object.api_version(), hook.wave);
            work.parent.objects.insert(ObjectId { namespace, ..object.id() }, entry);
        }
        let state = self.cache.lock();
        let asked: Vec<Object> = work.spec.hooks.iter().map(|hook| hook.made_for(&work.parent.rendered)).collect();
        let asked = |id: &ObjectId| asked.iter().any(|object| is_same(work.spec, object, id));
        work.parent.objects.retain(|id, entry| !entry.is_hook() || asked(id) || state.live(id).is_some());
    }
}

/// A Job or Pod as it is made for a run.
fn bounded(object: Object) -> Object {
    let ttl = (object.group(), object.kind()) == ("batch", "Job");
    let mut fields = object.fields().clone();
    if let Some(Value::Object(spec)) = fields.get_mut("spec").filter(|_| ttl)
        && let Some(left) = spec.get("ttlSecondsAfterFinished").and_then(Value::as_u64)
    {
        spec.insert("ttlSecondsAfterFinished".into(), left.max(LEAST_TTL).into());
    }
    Object::try_from(Value::Object(fields)).unwrap_or(object)
}
