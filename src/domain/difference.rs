//! Differences between two desired states, field by field, with what each one means.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::desired::DesiredUnit;
use super::digest::Digest;
use super::secret::show_digest;
use super::workload::Workload;
use super::workload::kubernetes::{Object, SECRET_KEY, SECRET_TEXT_KEY};

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Where: `workload.process.env.LOG_LEVEL`.
    pub path: String,
    /// Before; `None`: it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// After; `None`: it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What comes of it: `starts new instances`, `changes the number of instances`, `changes the next rollout only`.
    pub effect: String,
}

/// What differs between two desired states, in the order of the paths. Both in their canonical form, so that neither the
/// order of keys nor an empty list that is left out is a difference.
pub fn differences(before: Option<&DesiredUnit>, after: Option<&DesiredUnit>) -> Vec<Difference> {
    let objects = [before, after].into_iter().flatten().any(|unit| matches!(unit.workload, Workload::Kubernetes(_)));
    let (before, after) = (leaves(before, after), leaves(after, before));
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| Difference {
            path: path.clone(),
            before: before.get(path).map(|value| shown(path, value, false)),
            after: after.get(path).map(|value| shown(path, value, before.contains_key(path))),
            effect: effect(path, objects).to_owned(),
        })
        .collect()
}

/// The text of every field of an object, by its path: `.spec.template.spec.containers[web].image`.
pub fn object_leaves(object: &Value) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    walk(object, OBJECTS.to_owned(), &mut all);
    all.into_iter().map(|(path, value)| (path.strip_prefix(OBJECTS).unwrap_or(&path).to_owned(), value)).collect()
}

/// The fields that differ between two states of one object, by the same paths; without what comes of it.
pub fn object_fields(before: &Value, after: &Value) -> Vec<Difference> {
    let (before, after) = (object_leaves(before), object_leaves(after));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    differing
        .map(|path| Difference {
            path: path.clone(),
            before: before.get(path).cloned(),
            after: after.get(path).cloned(),
            effect: String::new(),
        })
        .collect()
}

/// The text of a field; of a secret its name and the beginning of its digest.
fn shown(path: &str, value: &str, changed: bool) -> String {
    match secret_of(path) {
        _ if is_hidden(path) => if changed { "hidden, changed" } else { "hidden" }.to_owned(),
        Some(name) => {
            let digest = show_digest(Some(&Digest::from_text(value)));
            format!("secret {name} ({digest}{})", if changed { ", changed" } else { "" })
        }
        None => value.to_owned(),
    }
}

/// The name of the secret whose digest stands at a path.
fn secret_of(path: &str) -> Option<&str> {
    path.strip_suffix(".digest")?.split_once("secrets.").map(|(_, name)| name)
}

/// Where the objects of a cluster stand, each by what it is called.
const OBJECTS: &str = "objects.";
/// Where those stand that are hooks.
const HOOKS: &str = "hooks of objects.";

/// Whether a value is nobody's to see: of a Secret that stands in clear in the repository.
fn is_hidden(path: &str) -> bool {
    path.strip_prefix(OBJECTS).or_else(|| path.strip_prefix(HOOKS)).is_some_and(|id| id.starts_with("Secret "))
        && [".data.", ".stringData.", "last-applied-configuration"].iter().any(|part| path.contains(part))
        && !path.ends_with(SECRET_KEY)
        && !path.ends_with(SECRET_TEXT_KEY)
}

/// The text of every field that has one. An object that `other` does not have is one line: all of it is new, or goes.
fn leaves(desired: Option<&DesiredUnit>, other: Option<&DesiredUnit>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let Some(Ok(mut value)) = desired.map(serde_json::to_value) else { return all };
    if let Some(Workload::Kubernetes(spec)) = desired.map(|desired| &desired.workload) {
        let known = match other.map(|other| &other.workload) {
            Some(Workload::Kubernetes(other)) => other.all().map(Object::id).collect(),
            _ => BTreeSet::new(),
        };
        for (number, object) in spec.all().enumerate() {
            let (id, mut fields) = (object.id(), BTreeMap::new());
            let path = format!("{}{id}", if number < spec.objects.len() { OBJECTS } else { HOOKS });
            walk(&Value::Object(object.fields().clone()), path.clone(), &mut fields);
            if known.contains(&id) {
                all.append(&mut fields);
            } else {
                all.insert(path, format!("an object of {} fields", fields.len()));
            }
        }
        // Their number says nothing that they don't.
        for told in ["objects", "hooks", "leftOut"] {
            value["workload"]["kubernetes"][told] = Value::Null;
        }
        value["replicas"] = Value::Null;
    }
    walk(&value, String::new(), &mut all);
    all
}

/// The step of a path to an item: by its name in a list where each has one, else by its number.
fn item(items: &[Value], index: usize) -> String {
    let name = |item: &Value| item.get("name").and_then(Value::as_str).map(str::to_owned);
    let names: BTreeSet<_> = items.iter().filter_map(name).collect();
    match items.get(index).and_then(name).filter(|_| names.len() == items.len()) {
        Some(name) => format!("[{name}]"),
        None => format!("[{index}]"),
    }
}

fn walk(value: &Value, path: String, all: &mut BTreeMap<String, String>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Null => {}
        Value::Object(map) if map.is_empty() => {
            all.insert(path, "{}".into());
        }
        Value::Object(map) => {
            for (key, value) in map {
                walk(value, below(key), all);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let step = if path.starts_with(OBJECTS) || path.starts_with(HOOKS) {
                    self::item(items, index)
                } else {
                    format!("[{index}]")
                };
                walk(item, format!("{path}{step}"), all);
            }
        }
        Value::String(text) => {
            all.insert(path, text.clone());
        }
        scalar => {
            all.insert(path, scalar.to_string());
        }
    }
}

/// What comes of a change at a path.
fn effect(path: &str, objects: bool) -> &'static str {
    let under = |prefix: &str| {
        path == prefix || path.starts_with(&format!("{prefix}.")) || path.starts_with(&format!("{prefix}["))
    };
    let makes_group =
        ["version", "workload", "health.readiness", "health.liveness", "health.minReady"].into_iter().any(under);
    if path.starts_with(HOOKS) {
        "runs so with the next rollout"
    } else if path.starts_with(OBJECTS) {
        "applies the object"
    } else if under("workload.kubernetes") {
        "applies the objects again"
    } else if path.contains(".secrets.") && path.ends_with(".from") {
        "changes nothing that runs"
    } else if makes_group && objects {
        "applies the objects that change"
    } else if makes_group {
        "starts new instances"
    } else if under("replicas") {
        "changes the number of instances"
    } else if under("route") {
        "changes the route; no instance is restarted"
    } else if under("prune") {
        "changes what happens when its Release is removed"
    } else if under("dependsOn") || under("wave") {
        "changes when it may begin"
    } else {
        "changes the next rollout only"
    }
}
