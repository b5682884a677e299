//! What would come of a change: what is new is told without asking, what changes is applied by the server without keeping it, so that
//! defaults, admission and refusals show before anything is done.
//!
//! Values of secrets are not needed for it and are not used: a stand-in takes their place. What the server shows of an object that
//! has some, or may have had some, is told by the names of the fields alone.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Method;
use serde_json::Value;

use super::apply::{Claim, ROUNDS, hidden, recreate_advice};
use super::claims::is_same;
use super::client::{APPLY, Call};
use super::cluster::Cluster;
use super::compose::{Composed, Frame};
use super::conflicts::{Settlement, settle};
use super::discovery::Kind;
use super::fault::Fault;
use super::fields;
use super::fields::Owner;
use super::labels;
use super::live::{Form, Live};
use super::prepare::Work;
use super::refusal::ApiError;
use super::view;
use crate::domain::difference::{Difference, object_fields, object_leaves};
use crate::domain::id::Epoch;
use crate::domain::prediction::{ASKED, Outcome, Predicted, Prediction};
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{Drift, KubernetesSpec, Object, ObjectId};
use crate::ports::platform::{EnsureGroup, Predict};
use crate::secrets::value::{SecretBytes, SecretValues};

/// How long a prediction may take as a whole.
const LIMIT: Duration = Duration::from_secs(30);
/// How many objects are asked about at once.
const AT_ONCE: usize = 16;
/// The most fields that are told of one object.
const MOST_FIELDS: usize = 200;
/// Stands where a value of a secret will: a text that is JSON too, which some kinds of Secret want.
const STAND_IN: &str = "{}";
/// The same as `data` of a Secret has it.
const STAND_IN_ENCODED: &str = "e30=";

impl Cluster {
    /// See [`crate::ports::platform::Platform::predict`].
    pub async fn predict(&self, ask: Predict<'_>) -> Prediction {
        match tokio::time::timeout(LIMIT, self.foresee_all(ask)).await {
            Ok(Ok(prediction)) => prediction,
            Ok(Err(fault)) => Prediction::unpredictable(fault.told(&self.name, Epoch(0)).to_string()),
            Err(_) => {
                let name = &self.name;
                Prediction::unpredictable(format!("{name} did not tell within {LIMIT:?} what would come of it"))
            }
        }
    }

    async fn foresee_all(&self, ask: Predict<'_>) -> Result<Prediction, Fault> {
        let Workload::Kubernetes(spec) = &ask.desired.workload else { return Ok(Prediction::default()) };
        self.parents_read().await?;
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for object in &spec.objects {
            match self.kind_missing(spec, object).await? {
                None => known.push(object.clone()),
                Some(reason) => unknown.push((object.id(), reason)),
            }
        }
        let mut desired = ask.desired.clone();
        if let Workload::Kubernetes(spec) = &mut desired.workload {
            spec.objects = known;
        }
        let request = EnsureGroup {
            rendered: desired.digest(),
            group: desired.group_id(ask.restarts),
            restarts: ask.restarts,
            replicas: desired.replicas,
            artifact: None,
            secrets: stand_ins(spec),
            desired,
        };
        let Workload::Kubernetes(spec) = &request.desired.workload else { return Ok(Prediction::default()) };
        let work = self.prepare_any(Epoch(0), &request, spec).await?;
        let mut objects: Vec<Predicted> = unknown
            .iter()
            .map(|(id, reason)| {
                let outcome = Outcome::Unpredictable { reason: reason.clone() };
                Predicted { object: view::name(&work.parent, id), outcome }
            })
            .collect();
        objects.extend(self.removed(&work, unknown.iter().map(|(id, _)| id)));
        let past = Past { cluster: self, before: ask.before, key: work.parent.key(), restarts: ask.restarts };
        let due = self.due(&work);
        let (mut left, mut under_way) = (due.iter(), FuturesUnordered::new());
        loop {
            while under_way.len() < AT_ONCE
                && let Some((composed, kind)) = left.next()
            {
                let (work, past) = (&work, &past);
                under_way.push(async move { (&composed.id, self.foresee(work, composed, kind, past).await) });
            }
            let Some((id, outcome)) = under_way.next().await else { break };
            objects.extend(outcome.map(|outcome| Predicted { object: view::name(&work.parent, id), outcome }));
        }
        drop(under_way);
        objects.sort_by(|one, other| one.object.cmp(&other.object));
        Ok(Prediction { objects, unpredictable: None })
    }

    /// Why the kind of an object is not there to ask about.
    async fn kind_missing(&self, spec: &KubernetesSpec, object: &Object) -> Result<Option<String>, Fault> {
        let server = self.server().await?;
        if self.discovery.kind(server.as_ref(), object.api_version(), object.kind()).await?.is_some() {
            return Ok(None);
        }
        Ok(Some(match Cluster::defines(spec, object) {
            Some(definition) => format!(
                "its kind comes with {} of the same change: what the cluster makes of it is known once that is there",
                definition.id()
            ),
            None => format!("{} has {}", self.name, self.discovery.lack(object.api_version(), object.kind())),
        }))
    }

    /// What is not right already.
    fn due<'a>(&self, work: &'a Work<'_>) -> Vec<(&'a Composed, &'a Kind)> {
        let state = self.cache.lock();
        let right = |id: &ObjectId| {
            work.parent.objects.get(id).is_some_and(|entry| view::is_right(&state, &work.parent, id, entry))
        };
        work.objects.iter().filter(|(one, _)| !right(&one.id)).map(|(one, kind)| (one, kind)).collect()
    }

    /// What is there and no longer asked for, by this unit or another.
    fn removed<'a>(&self, work: &Work<'_>, unknown: impl Iterator<Item = &'a ObjectId>) -> Vec<Predicted> {
        let asked: BTreeSet<_> = unknown.map(|id| (&id.group, &id.kind, &id.name)).collect();
        let state = self.cache.lock();
        let goes = |id: &ObjectId| {
            !asked.contains(&(&id.group, &id.kind, &id.name))
                && state.live(id).is_some_and(|live| {
                    view::owns(&work.parent, live) && !live.keeps.dropped && live.deleting.is_none()
                })
                && !self.claims.wanted_by_others(&work.parent.unit, id)
        };
        let leftover = work.parent.leftover().map(|(id, _)| id).filter(|id| goes(id));
        leftover.map(|id| Predicted { object: view::name(&work.parent, id), outcome: Outcome::Removed }).collect()
    }

    /// What would come of one object; `None`: nothing.
    async fn foresee(&self, work: &Work<'_>, composed: &Composed, kind: &Kind, past: &Past<'_>) -> Option<Outcome> {
        let account = work.parent.account.as_deref();
        let found = async {
            self.server().await?.call(&Call::get(kind.object(&composed.id)).account(account)).await.map_err(Fault::from)
        };
        let found = match found.await {
            Ok(found) => found,
            Err(Fault::Api(ApiError::Refused(refusal))) if refusal.code == 404 => return Some(Outcome::New),
            Err(fault) => return Some(unpredictable(composed, work.secrets, fault)),
        };
        let (answer, composed) = match self.dry_run(work, composed, kind).await {
            Ok(answer) => answer,
            Err(outcome) => return Some(outcome),
        };
        let sight = past.sight(&composed, &found);
        let mut answer = answer;
        if work.spec.drift == Drift::Heal
            && let Some((id, live)) = Live::read(&found, Form::Metadata)
        {
            let added = live.strays(&id, &work.parent.settings).into_iter();
            let added = added.filter(|stray| !stray.is_in(composed.body()));
            added.for_each(|stray| fields::leave_out(&mut answer, &stray.field()));
        }
        let fields = told(&found, &answer, composed.body(), sight);
        (!fields.is_empty()).then_some(Outcome::Changed { fields })
    }

    /// Applies an object without keeping it. The object that was sent in the end comes along: fields of others may be left out.
    async fn dry_run(&self, work: &Work<'_>, composed: &Composed, kind: &Kind) -> Result<(Value, Composed), Outcome> {
        let mut composed = composed.clone();
        let live = self.cache.lock().live(&composed.id).cloned();
        let wrong = |composed: &Composed, fault: Fault| unpredictable(composed, work.secrets, fault);
        let mut claim = self.claim(work, &composed, live.as_ref()).map_err(|fault| wrong(&composed, fault))?;
        if claim == Claim::New {
            claim = self.met(work, &composed, kind).await.map_err(|fault| wrong(&composed, fault))?;
        }
        for _ in 0..ROUNDS {
            let error = match self.ask(work, &composed, kind, claim).await {
                Ok(answer) => return Ok((answer, composed)),
                Err(Fault::Api(ApiError::Refused(refusal))) => refusal,
                Err(fault) => return Err(wrong(&composed, fault)),
            };
            let conflicts = error.conflicts();
            if error.code == 409 && !conflicts.is_empty() {
                let ignored = |owner: &Owner| Live::left_to(&work.parent.settings, &composed.id, owner);
                let heals = live.is_some() && work.spec.drift == Drift::Heal;
                match settle(&conflicts, heals, work.spec.adopt, &ignored) {
                    Settlement::Take => claim = Claim::Take,
                    Settlement::Leave(fields) => fields.iter().for_each(|field| composed.leave(field)),
                    Settlement::Refuse(why) => {
                        return Err(Outcome::Refused { reason: format!("it has fields of others: {why}") });
                    }
                }
                continue;
            }
            let immutable = error.is_immutable();
            let fault = Fault::Api(ApiError::Refused(error));
            return Err(match immutable {
                true if work.spec.recreate.contains(&composed.id.kind) => {
                    Outcome::Recreated { reason: hidden_fault(&composed, work.secrets, fault).why() }
                }
                true => wrong(&composed, fault.with(&recreate_advice(&composed.id.kind))),
                false => wrong(&composed, fault),
            });
        }
        Err(Outcome::Unpredictable { reason: "others change it again and again".into() })
    }

    async fn ask(&self, work: &Work<'_>, composed: &Composed, kind: &Kind, claim: Claim) -> Result<Value, Fault> {
        let body = composed.filled(work.secrets).map_err(Fault::Refused)?;
        let force = if claim == Claim::Take { "&force=true" } else { "" };
        let path = format!("{}&dryRun=All{force}", kind.apply(&composed.id));
        let call = Call::new(Method::PATCH, path).with(APPLY, &body).account(work.parent.account.as_deref());
        Ok(self.server().await?.call(&call).await?)
    }
}

/// A stand-in for each secret.
fn stand_ins(spec: &KubernetesSpec) -> SecretValues {
    // A value of an encrypted file is put below `data` as it stands there, and named by where it stands: `db.yaml#1.data.token`.
    let place = |name: &str| name.rsplit_once('#').map(|(_, place)| place.to_owned()).unwrap_or_default();
    let is_data = |name: &str| {
        place(name).split('.').find(|step| *step != "items" && step.parse::<u32>().is_err()) == Some("data")
    };
    let text = |name: &str| if is_data(name) { STAND_IN_ENCODED } else { STAND_IN };
    spec.secrets.keys().map(|name| (name.clone(), SecretBytes::from(text(name)))).collect()
}

fn hidden_fault(composed: &Composed, secrets: &SecretValues, fault: Fault) -> Fault {
    match fault {
        Fault::Api(error) => hidden(composed, secrets, error),
        other => other,
    }
}

/// What a failure means: the server's no is one unless it may pass, or came of a stand-in.
fn unpredictable(composed: &Composed, secrets: &SecretValues, fault: Fault) -> Outcome {
    let no = match &fault {
        Fault::Refused(_) | Fault::Wrong(_) => true,
        Fault::Api(ApiError::Refused(refusal)) => {
            let asks_in_vain = refusal.message.contains("does not support dry run");
            matches!(refusal.code, 400 | 403 | 422) && !asks_in_vain
        }
        _ => false,
    };
    let api = matches!(&fault, Fault::Api(_));
    let reason = hidden_fault(composed, secrets, fault).why();
    match no {
        true if api && composed.secret => Outcome::Unpredictable {
            reason: format!("the cluster was asked without the values of its secrets and refused: {reason}"),
        },
        true => Outcome::Refused { reason },
        false => Outcome::Unpredictable { reason },
    }
}

/// How much of the values of an object may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    /// All.
    All,
    /// What is there now came from something that is not known any more, and may have been a secret.
    New,
    /// The names of its fields.
    Names,
}

/// What was applied before, as far as it is known.
struct Past<'a> {
    cluster: &'a Cluster,
    before: Option<&'a crate::domain::desired::DesiredUnit>,
    key: &'a str,
    restarts: u32,
}

impl Past<'_> {
    /// How much of an object may be shown. `found` is what is there.
    fn sight(&self, composed: &Composed, found: &Value) -> Sight {
        if composed.is_secret() || composed.secret {
            return Sight::Names;
        }
        let Some(Workload::Kubernetes(spec)) = self.before.map(|before| &before.workload) else { return Sight::New };
        let id = &composed.id;
        let Some(object) = spec.objects.iter().find(|object| is_same(spec, object, id)) else { return Sight::New };
        let frame = Frame { spec, installation: &self.cluster.installation, unit: self.key, restarts: self.restarts };
        let before = frame.compose(object, id.namespace.as_deref());
        let applied = found.pointer("/metadata/annotations").and_then(|notes| notes.get(labels::APPLIED));
        match applied.and_then(Value::as_str) == Some(before.applied.as_str()) {
            true if before.secret => Sight::Names,
            true => Sight::All,
            false => Sight::New,
        }
    }
}

/// The fields that would change, each with who asks for it.
fn told(found: &Value, answer: &Value, asked: &Value, sight: Sight) -> Vec<Difference> {
    let asked = object_leaves(asked);
    let mut fields = object_fields(&content(found), &content(answer));
    let all = fields.len();
    fields.truncate(MOST_FIELDS);
    for field in &mut fields {
        field.effect = match (&field.after, asked.get(&field.path)) {
            (Some(after), Some(wanted)) if after == wanted => ASKED,
            (None, None) => "no longer asked for",
            (_, Some(_)) => "asked for otherwise: the cluster writes it so",
            (_, None) => "by the cluster",
        }
        .into();
        let hide = |side: &mut Option<String>| {
            if let Some(value) = side {
                "hidden".clone_into(value);
            }
        };
        match sight {
            Sight::All => {}
            Sight::New => hide(&mut field.before),
            Sight::Names => {
                hide(&mut field.before);
                hide(&mut field.after);
            }
        }
    }
    if all > MOST_FIELDS {
        let more = format!("{} more fields", all - MOST_FIELDS);
        fields.push(Difference { path: more, before: None, after: None, effect: "change too".into() });
    }
    fields
}

/// An object without what the server keeps account with.
fn content(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(members) = &mut object {
        members.remove("status");
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            for account in ["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"] {
                metadata.remove(account);
            }
            if let Some(Value::Object(notes)) = metadata.get_mut("annotations") {
                notes.remove(labels::APPLIED);
                // The whole object once more.
                notes.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(sight: Sight) -> Vec<(String, Option<String>, Option<String>, String)> {
        let live = json!({ "metadata": { "name": "web", "generation": 1, "annotations": { "trimtab.dev/applied": "a" } },
            "spec": { "image": "a", "cpu": "1", "old": "x" }, "status": { "x": 1 } });
        let answer = json!({ "metadata": { "name": "web", "generation": 2, "annotations": { "trimtab.dev/applied": "b" } },
            "spec": { "image": "b", "cpu": "2", "policy": "Always" } });
        let asked = json!({ "metadata": { "name": "web" }, "spec": { "image": "b", "cpu": "2000m" } });
        let all = told(&live, &answer, &asked, sight);
        all.into_iter().map(|one| (one.path, one.before, one.after, one.effect)).collect()
    }

    #[test]
    fn what_the_cluster_adds_is_told_from_what_is_asked_for() {
        let text = |text: &str| Some(text.to_owned());
        let told = |path: &str, before, after, effect: &str| (path.to_owned(), before, after, effect.to_owned());
        assert_eq!(
            fields(Sight::All),
            [
                told(".spec.cpu", text("1"), text("2"), "asked for otherwise: the cluster writes it so"),
                told(".spec.image", text("a"), text("b"), "asked for"),
                told(".spec.old", text("x"), None, "no longer asked for"),
                told(".spec.policy", None, text("Always"), "by the cluster"),
            ]
        );
    }

    #[test]
    fn what_may_have_been_a_secret_is_not_shown() {
        assert!(fields(Sight::New).iter().all(|(_, before, ..)| before.as_deref().is_none_or(|text| text == "hidden")));
        let names = fields(Sight::Names);
        assert!(
            names
                .iter()
                .all(|(_, before, after, _)| [before, after].into_iter().flatten().all(|text| text == "hidden"))
        );
    }
}
