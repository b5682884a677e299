//! What is kept of an object on a cluster: enough to tell whether it is as it shall be, and how it is doing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::deleting::Deleting;
use super::fields::{self, Owner};
use super::health::{Health, health};
use super::hooks::Mark;
use super::inventory::Settings;
use super::keeps::Keeps;
use super::labels;
use super::pods::order::Order;
use super::strays::{self, Stray};
use super::versions::led::Led;
use crate::domain::workload::hooks::Ended;
use crate::domain::workload::kubernetes::ObjectId;

/// An object as it was seen last.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// Which incarnation it is.
    pub uid: String,
    /// Which of two looks at it is the newer one.
    pub version: u64,
    /// The key of the unit that it belongs to.
    pub unit: Option<String>,
    /// What was applied last, by the object itself.
    pub applied: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// It is being deleted, and what that waits for.
    pub deleting: Option<Box<Deleting>>,
    /// How it is doing.
    pub health: Health,
    /// By which rules of the manifest that was judged, where any are for it.
    pub judged: Option<Arc<str>>,
    /// Which pods are its own, as a selector in a query.
    pub pods: Option<String>,
    /// The run of a hook that it was made for.
    pub mark: Option<Box<Mark>>,
    /// What only some kinds have.
    pub more: More,
    /// Whether it stays when it would be removed.
    pub keeps: Keeps,
    /// The fields that were applied, as the server keeps them now.
    fields: String,
    /// The same right after the last apply, where that was seen.
    baseline: Option<String>,
    /// Who else has fields, where some were lost.
    others: Vec<Value>,
    /// What somebody changed while nobody looked.
    changed: Option<String>,
    /// What somebody added by hand.
    strays: Vec<Stray>,
}

/// What only some kinds have and looking at versions needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct More {
    /// How many pods a Deployment shall have.
    pub replicas: Option<u32>,
    /// How many of them have been ready for long enough.
    pub available: u32,
    /// All of them have been at once, once.
    pub complete: bool,
    /// Where requests to a pod go.
    pub address: Option<SocketAddr>,
    /// How often a pod's containers were started again.
    pub restarts: u32,
    /// What leads requests: where.
    pub led: Option<Box<Led>>,
    /// What runs once has ended.
    pub over: Option<Ended>,
    /// The versions of what replaces its pods in order.
    pub order: Option<Box<Order>>,
}

impl More {
    fn read(object: &Value) -> More {
        let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let number =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let list = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        let of = |part: &Value, field: &str| part.get(field).and_then(Value::as_str).map(str::to_owned);
        match kind {
            "Deployment" => More {
                replicas: number("/spec/replicas"),
                available: number("/status/availableReplicas").unwrap_or_default(),
                complete: list("/status/conditions").any(|one| {
                    of(one, "type").as_deref() == Some("Progressing")
                        && of(one, "reason").as_deref() == Some("NewReplicaSetAvailable")
                }),
                ..More::default()
            },
            "StatefulSet" => More { order: Order::read(object).map(Box::new), ..More::default() },
            "Pod" => More {
                address: text("/status/podIP").and_then(|text| text.parse::<IpAddr>().ok()).map(|address| {
                    let port = number("/spec/containers/0/ports/0/containerPort").and_then(|port| port.try_into().ok());
                    SocketAddr::new(address, port.unwrap_or_default())
                }),
                restarts: list("/status/containerStatuses")
                    .filter_map(|one| u32::try_from(one.get("restartCount")?.as_u64()?).ok())
                    .sum(),
                over: match text("/status/phase") {
                    Some("Succeeded") => Some(Ended::Succeeded),
                    Some("Failed") => Some(Ended::Failed),
                    _ => None,
                },
                ..More::default()
            },
            "Service" | "HTTPRoute" => More { led: Some(Box::new(Led::read(object))), ..More::default() },
            // Of Argo Workflows.
            "Workflow" => More {
                over: match text("/status/phase") {
                    Some("Succeeded") => Some(Ended::Succeeded),
                    Some("Failed" | "Error") => Some(Ended::Failed),
                    _ => None,
                },
                ..More::default()
            },
            _ => More::default(),
        }
    }
}

/// How much of an object there is to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of it.
    Whole,
    /// Its metadata, which tells all that matters of its kind.
    Metadata,
    /// Its metadata, where its status matters too: the answer to an apply.
    Answer,
}

impl Live {
    /// What a server sends: a whole object, or its metadata.
    pub fn read(object: &Value, form: Form) -> Option<(ObjectId, Live)> {
        let metadata = object.get("metadata")?;
        let text = |field: &str| metadata.get(field).and_then(Value::as_str);
        let mark = |field: &str, name: &str| metadata.get(field)?.get(name)?.as_str().map(str::to_owned);
        let api_version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let id = ObjectId {
            group: api_version.rsplit_once('/').map_or("", |(group, _)| group).to_owned(),
            kind: object.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned(),
            namespace: text("namespace").map(str::to_owned),
            name: text("name")?.to_owned(),
        };
        let managed = metadata.get("managedFields").unwrap_or(&Value::Null);
        let live = Live {
            uid: text("uid")?.to_owned(),
            version: text("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or_default(),
            unit: mark("labels", labels::UNIT),
            applied: mark("annotations", labels::APPLIED),
            created: text("creationTimestamp").and_then(|at| at.parse().ok()),
            deleting: Deleting::read(object).map(Box::new),
            mark: Mark::read(metadata),
            keeps: Keeps::read(metadata),
            health: match form {
                Form::Whole => health(object),
                Form::Metadata => Health::Healthy,
                Form::Answer => Health::Progressing("its controller has yet to see it".into()),
            },
            judged: None,
            pods: (form == Form::Whole).then(|| selector(object)).flatten(),
            more: if form == Form::Whole { More::read(object) } else { More::default() },
            fields: fields::applied(managed).map(Value::to_string).unwrap_or_default(),
            baseline: None,
            others: fields::others(managed),
            changed: None,
            strays: strays::strays(managed),
        };
        Some((id, live))
    }

    /// What a later look at it shows, or the answer to an apply. Whichever of the two is older tells nothing but what an apply left.
    pub fn after(self, before: Option<Live>, applied: bool) -> Live {
        let mut next = match before {
            None => Live { baseline: applied.then(|| self.fields.clone()), ..self },
            Some(before) if before.uid != self.uid => Live { baseline: applied.then(|| self.fields.clone()), ..self },
            Some(before) if self.version < before.version => {
                let same = applied && before.applied == self.applied;
                Live { baseline: if same { Some(self.fields) } else { before.baseline.clone() }, ..before }
            }
            Some(before) => {
                let kept = before.baseline.filter(|_| before.applied == self.applied);
                // The answer to an apply tells of the metadata alone: what changed nothing changed no health.
                let same = applied && self.version == before.version;
                let (health, judged) = if same { (before.health, before.judged) } else { (self.health, self.judged) };
                let (pods, more) = if applied { (before.pods, before.more) } else { (self.pods, self.more) };
                let changed = before.changed.filter(|_| !applied);
                let baseline = if applied { Some(self.fields.clone()) } else { kept };
                Live { baseline, health, judged, pods, more, changed, ..self }
            }
        };
        if next.baseline.as_ref().is_none_or(|baseline| *baseline == next.fields) {
            next.others = Vec::new();
        }
        next
    }

    /// What leads requests: where.
    pub fn led(&self) -> Option<&Led> {
        self.more.led.as_deref()
    }

    /// Compares it with what was applied, where nobody saw the answer to that: this process has started since. `applied` is without
    /// values of secrets.
    pub fn audit(&mut self, applied: &Value) {
        if self.baseline.is_none() && self.deleting.is_none() {
            let owned = serde_json::from_str::<Value>(&self.fields).unwrap_or_default();
            self.changed = fields::missing(applied, &owned);
            self.baseline = self.changed.is_none().then(|| self.fields.clone());
        }
    }

    /// Whether a rule of the manifest leaves a manager's fields to it.
    pub fn left_to(settings: &Settings, id: &ObjectId, owner: &Owner) -> bool {
        settings.ignore.iter().any(|rule| rule.concerns(id) && rule.managers.contains(&owner.manager))
    }

    /// What somebody added by hand, or changed, and no rule of the manifest leaves to them.
    pub fn strays(&self, id: &ObjectId, settings: &Settings) -> Vec<&Stray> {
        let left = |stray: &&Stray| {
            let rules = settings.ignore.iter().filter(|rule| rule.concerns(id));
            let mut paths = rules.flat_map(|rule| &rule.paths);
            Live::left_to(settings, id, &stray.owner) || paths.any(|path| stray.is_below(path))
        };
        self.strays.iter().filter(|stray| !left(stray)).collect()
    }

    /// What somebody else changed of what was applied, or added to it, for people.
    pub fn drift(&self, id: &ObjectId, settings: &Settings) -> Option<String> {
        let added = self.added(id, settings);
        let all: Vec<String> = self.loss(id, settings).into_iter().chain(added).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }

    fn added(&self, id: &ObjectId, settings: &Settings) -> Option<String> {
        let mut added = self.strays(id, settings);
        if added.is_empty() {
            return None;
        }
        // What was applied tells it from what was changed.
        let known: Value = serde_json::from_str(self.baseline.as_deref()?).ok()?;
        added.retain(|stray| !stray.is_among(&known));
        (!added.is_empty()).then(|| strays::told(&added))
    }

    fn loss(&self, id: &ObjectId, settings: &Settings) -> Option<String> {
        if let Some(field) = &self.changed {
            return Some(format!("somebody changed {field} while trimtab did not look"));
        }
        let baseline = self.baseline.as_ref().filter(|baseline| **baseline != self.fields)?;
        let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
        let lost = fields::lost(&parse(baseline), &parse(&self.fields));
        let ignored = |owner: &Owner| owner.scales() || Live::left_to(settings, id, owner);
        let changes = fields::takers(&lost, &self.others, &ignored);
        (!changes.is_empty()).then(|| fields::told(&changes))
    }
}

/// The label selector of a workload, as a query has it.
fn selector(object: &Value) -> Option<String> {
    let selector = object.pointer("/spec/selector")?;
    // A Service's selector is the labels themselves; it runs nothing.
    let labels = selector.get("matchLabels")?.as_object()?;
    let pairs: Vec<String> =
        labels.iter().filter_map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(version: u64, fields: &Value) -> (ObjectId, Live) {
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "a", "namespace": "b", "uid": "u", "resourceVersion": version.to_string(),
            "annotations": { "trimtab.dev/applied": "x" },
            "managedFields": [
                { "manager": "trimtab", "operation": "Apply", "fieldsV1": fields },
                { "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:data": { "f:a": {} } } },
            ],
        } });
        Live::read(&object, Form::Whole).expect("it is an object")
    }

    #[test]
    fn a_field_that_was_lost_since_the_apply_is_drift() {
        let all = json!({ "f:data": { "f:a": {}, "f:b": {} } });
        let (id, applied) = seen(1, &all);
        let applied = applied.after(None, true);
        let settings = Settings::default();
        assert_eq!(applied.drift(&id, &settings), None);
        let (_, edited) = seen(2, &json!({ "f:data": { "f:b": {} } }));
        let edited = edited.after(Some(applied.clone()), false);
        assert_eq!(edited.drift(&id, &settings).as_deref(), Some("kubectl changed .data.a"));
        // An event that comes late changes nothing.
        assert_eq!(applied.clone().after(Some(edited.clone()), false), edited);
    }

    #[test]
    fn an_event_that_overtakes_the_answer_is_no_drift() {
        let (id, event) = seen(5, &json!({ "f:data": { "f:b": {} } }));
        let event = event.after(None, false);
        assert_eq!(event.drift(&id, &Settings::default()), None);
        let (_, answer) = seen(4, &json!({ "f:data": { "f:a": {}, "f:b": {} } }));
        let both = answer.after(Some(event), true);
        assert_eq!(both.version, 5);
        assert!(both.drift(&id, &Settings::default()).is_some());
    }
}
