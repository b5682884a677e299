//! Labels that all objects get, and the pods that they make. Selectors stay as they are: most of them can't be changed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Where the templates of pods stand in a kind of the built-in groups.
fn templates(kind: &str) -> &'static [&'static str] {
    match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            &["/spec/template"]
        }
        "CronJob" => &["/spec/jobTemplate", "/spec/jobTemplate/spec/template"],
        _ => &[],
    }
}

/// Adds labels to an object.
pub fn add(object: &mut Value, labels: &BTreeMap<String, String>) {
    if labels.is_empty() {
        return;
    }
    let group =
        object["apiVersion"].as_str().and_then(|version| version.split_once('/')).map_or("", |(group, _)| group);
    let kind = object["kind"].as_str().filter(|_| !group.contains('.')).unwrap_or_default();
    for path in [""].iter().chain(templates(kind)) {
        let Some(Value::Object(fields)) = object.pointer_mut(path) else { continue };
        let metadata = fields.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        let Some(metadata) = metadata.as_object_mut() else { continue };
        let all = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
        if all.is_null() {
            *all = Value::Object(Map::new());
        }
        if let Value::Object(all) = all {
            all.extend(labels.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))));
        }
    }
}
