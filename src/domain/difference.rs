//! Differences between two desired states, field by field, with what each one means.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::desired::DesiredUnit;
use super::digest::Digest;
use super::secret::show_digest;

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
    let (before, after) = (leaves(before), leaves(after));
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
            effect: effect(path).to_owned(),
        })
        .collect()
}

/// The text of a field; of a secret its name and the beginning of its digest.
fn shown(path: &str, value: &str, changed: bool) -> String {
    match secret_of(path) {
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

/// The text of every field that has one.
fn leaves(desired: Option<&DesiredUnit>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    if let Some(Ok(value)) = desired.map(serde_json::to_value) {
        walk(&value, String::new(), &mut all);
    }
    all
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
                walk(item, format!("{path}[{index}]"), all);
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
fn effect(path: &str) -> &'static str {
    let under = |prefix: &str| {
        path == prefix || path.starts_with(&format!("{prefix}.")) || path.starts_with(&format!("{prefix}["))
    };
    let makes_group =
        ["version", "workload", "health.readiness", "health.liveness", "health.minReady"].into_iter().any(under);
    if path.contains(".secrets.") && path.ends_with(".from") {
        "changes nothing that runs"
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
