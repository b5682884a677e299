//! Who has which field of an object, by its `managedFields`.
//!
//! What counts as a change by somebody else is the loss of a field that was applied: the server itself compares values, in the
//! normal form of the kind. So a default, a quantity written in another way or what an admission webhook adds is never a
//! difference, and what an autoscaler sets is one only where Git sets it too.

use std::collections::BTreeSet;

use serde_json::Value;

use super::labels::MANAGER;

/// Who has fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The field manager.
    pub manager: String,
    /// It applies (as another tool like this one does) and does not just edit.
    pub applies: bool,
    /// The part of the object that it wrote through, such as `scale`.
    pub subresource: Option<String>,
}

impl Owner {
    /// An autoscaler's doing: it writes replicas through `scale` as the controller manager.
    pub fn scales(&self) -> bool {
        self.subresource.as_deref() == Some("scale") && self.manager.contains("controller-manager")
    }
}

/// The fields that were applied, as the server keeps them; `None`: none.
pub fn applied(managed: &Value) -> Option<&Value> {
    entries(managed)
        .find(|entry| {
            text(entry, "manager") == MANAGER
                && text(entry, "operation") == "Apply"
                && entry.get("subresource").is_none()
        })?
        .get("fieldsV1")
}

/// The others' entries but for those of the status.
pub fn others(managed: &Value) -> Vec<Value> {
    let others = entries(managed).filter(|entry| {
        let own = text(entry, "manager") == MANAGER && text(entry, "operation") == "Apply";
        !own && text(entry, "subresource") != "status"
    });
    others.cloned().collect()
}

/// The fields that are in `before` and not in `now`, each as a path of steps (`f:spec`, `k:{"name":"web"}`, ...).
pub fn lost(before: &Value, now: &Value) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    walk(before, Some(now), &mut Vec::new(), &mut paths);
    paths
}

fn walk(before: &Value, now: Option<&Value>, path: &mut Vec<String>, out: &mut Vec<Vec<String>>) {
    let steps = before.as_object().into_iter().flatten().filter(|(step, _)| *step != ".");
    let mut leaf = true;
    for (step, below) in steps {
        leaf = false;
        path.push(step.clone());
        walk(below, now.and_then(|now| now.get(step)), path, out);
        path.pop();
    }
    if leaf && now.is_none() {
        out.push(path.clone());
    }
}

/// A field that was applied and that the server no longer keeps as applied; `None`: all are there. `owned` is what it keeps.
///
/// It knows no schema, so it is lenient where a server may drop what is empty or write it elsewhere.
pub fn missing(applied: &Value, owned: &Value) -> Option<String> {
    let Value::Object(members) = applied else { return None };
    let mut path = Vec::new();
    members
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "stringData" | "status"))
        .find_map(|(name, value)| {
            path.clear();
            path.push(format!("f:{name}"));
            let below = owned.get(format!("f:{name}"));
            if name != "metadata" {
                return uncovered(value, below, &mut path);
            }
            let marks = value.as_object()?.iter().filter(|(name, _)| matches!(name.as_str(), "labels" | "annotations"));
            let mut marks = marks.map(|(name, value)| (format!("f:{name}"), value));
            marks.find_map(|(step, value)| {
                let below = below.and_then(|below| below.get(&step));
                uncovered(value, below, &mut vec!["f:metadata".to_owned(), step])
            })
        })
}

fn uncovered(applied: &Value, owned: Option<&Value>, path: &mut Vec<String>) -> Option<String> {
    if is_empty(applied) {
        return None;
    }
    let Some(owned) = owned else { return Some(readable(path)) };
    let steps: Vec<&String> =
        owned.as_object().into_iter().flatten().map(|(step, _)| step).filter(|step| *step != ".").collect();
    // It is owned as a whole.
    if steps.is_empty() {
        return None;
    }
    match applied {
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let step = format!("f:{name}");
            path.push(step.clone());
            let found = uncovered(value, owned.get(&step), path);
            path.pop();
            found
        }),
        Value::Array(items) => items.iter().find_map(|item| {
            let step = steps.iter().find(|step| is_step_of(step, item));
            path.push(step.map_or_else(|| format!("v:{item}"), |step| (*step).clone()));
            let found = match step {
                None => Some(readable(path)),
                Some(step) if step.starts_with("k:") => uncovered(item, owned.get(*step), path),
                Some(_) => None,
            };
            path.pop();
            found
        }),
        _ => None,
    }
}

/// Whether a step of `managedFields` (`k:{..}`, `v:..`) is that of an item of a list.
pub fn is_step_of(step: &str, item: &Value) -> bool {
    match step.split_once(':') {
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item),
        Some(("k", key)) => serde_json::from_str::<Value>(key).is_ok_and(|key| {
            key.as_object()
                .is_some_and(|key| key.iter().all(|(name, value)| item.get(name).is_none_or(|own| own == value)))
        }),
        Some(("i", _)) => true,
        _ => false,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}

/// Who has one of these fields now, and which; without those whom `ignored` names.
pub fn takers(
    lost: &[Vec<String>],
    others: &[Value],
    ignored: &dyn Fn(&Owner) -> bool,
) -> Vec<(Option<Owner>, String)> {
    let mut found = Vec::new();
    for path in lost {
        let mut owners = others.iter().filter(|entry| {
            let fields = entry.get("fieldsV1");
            path.iter().try_fold(fields, |at, step| at.map(|at| at.get(step))).flatten().is_some()
        });
        let owner = owners.next().map(|entry| Owner {
            manager: text(entry, "manager").to_owned(),
            applies: text(entry, "operation") == "Apply",
            subresource: entry.get("subresource").and_then(Value::as_str).map(str::to_owned),
        });
        if owner.as_ref().is_some_and(ignored) {
            continue;
        }
        found.push((owner, readable(path)));
    }
    found
}

/// Who changed what, for people.
pub fn told(changes: &[(Option<Owner>, String)]) -> String {
    let mut managers: BTreeSet<Option<&str>> = BTreeSet::new();
    for (owner, _) in changes {
        managers.insert(owner.as_ref().map(|owner| owner.manager.as_str()));
    }
    let one = |manager: Option<&str>| {
        let theirs = changes.iter().filter(|(owner, _)| owner.as_ref().map(|owner| owner.manager.as_str()) == manager);
        let fields: Vec<&str> = theirs.map(|(_, field)| field.as_str()).take(4).collect();
        match manager {
            Some(manager) => format!("{manager} changed {}", fields.join(", ")),
            None => format!("somebody removed {}", fields.join(", ")),
        }
    };
    managers.into_iter().map(one).collect::<Vec<_>>().join("; ")
}

/// A path of steps as a server writes it: `.spec.template.spec.containers[name="web"].image`.
pub fn readable(path: &[String]) -> String {
    let mut out = String::new();
    for step in path {
        match step.split_once(':') {
            Some(("f", name)) => {
                out.push('.');
                out.push_str(name);
            }
            Some(("k", key)) => {
                let key = serde_json::from_str::<Value>(key).unwrap_or_default();
                let parts = key.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
                out.push_str(&format!("[{}]", parts.collect::<Vec<_>>().join(",")));
            }
            Some(("v", value)) => out.push_str(&format!("[={value}]")),
            _ => out.push_str(step),
        }
    }
    out
}

/// Takes a field, as the server writes it (`.spec.containers[name="web"].image`), out of an object.
pub fn leave_out(value: &mut Value, field: &str) {
    if let Some(rest) = field.strip_prefix('.') {
        let Value::Object(members) = value else { return };
        // Names may have dots in them: the longest that is there is meant.
        let ends = |name: &str| {
            rest.strip_prefix(name).is_some_and(|rest| matches!(rest.bytes().next(), None | Some(b'.' | b'[')))
        };
        let Some(name) = members.keys().filter(|name| ends(name)).max_by_key(|name| name.len()).cloned() else {
            return;
        };
        match &rest[name.len()..] {
            "" => drop(members.remove(&name)),
            rest => members.get_mut(&name).into_iter().for_each(|value| leave_out(value, rest)),
        }
    } else if let Some((key, rest)) = field.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let Value::Array(items) = value else { return };
        let Some(at) = items.iter().position(|item| is_item(item, key)) else { return };
        match rest {
            "" => drop(items.remove(at)),
            rest => items.get_mut(at).into_iter().for_each(|value| leave_out(value, rest)),
        }
    }
}

/// Whether an item of a list is the one with this key: `name="web"`, `containerPort=80,protocol="TCP"`, or `="value"` itself.
fn is_item(item: &Value, key: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    if let Some(value) = key.strip_prefix('=') {
        return *item == parse(value);
    }
    let same = |(name, value): (&str, &str)| item.get(name).is_none_or(|there| *there == parse(value));
    key.split(',').filter_map(|part| part.split_once('=')).all(same)
}

/// The entries of `managedFields`.
pub(super) fn entries(managed: &Value) -> impl Iterator<Item = &Value> {
    managed.as_array().into_iter().flatten()
}

/// A field's text; none where it has none.
pub(super) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOBODY: fn(&Owner) -> bool = |_| false;

    #[test]
    fn what_somebody_took_is_told_with_their_name() {
        let before = json!({ "f:spec": { "f:replicas": {}, "f:template": { "f:spec": { "f:containers": {
            "k:{\"name\":\"web\"}": { ".": {}, "f:name": {}, "f:image": {} } } } } } });
        let mut now = before.clone();
        assert_eq!(lost(&before, &now), Vec::<Vec<String>>::new());
        now["f:spec"].as_object_mut().expect("a map").remove("f:replicas");
        now["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"web\"}"]
            .as_object_mut()
            .expect("a map")
            .remove("f:image");
        let managed = json!([
            { "manager": "trimtab", "operation": "Apply", "fieldsV1": now },
            { "manager": "kubectl", "operation": "Update", "subresource": "scale", "fieldsV1": { "f:spec": { "f:replicas": {} } } },
            { "manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {} },
        ]);
        assert_eq!(applied(&managed), Some(&now));
        let others = others(&managed);
        assert_eq!(others.len(), 1);
        let changes = takers(&lost(&before, &now), &others, &NOBODY);
        assert_eq!(
            told(&changes),
            "somebody removed .spec.template.spec.containers[name=\"web\"].image; kubectl changed .spec.replicas"
        );
        let ignored = takers(&lost(&before, &now), &others, &|owner| owner.manager == "kubectl");
        assert_eq!(ignored.len(), 1);
    }

    #[test]
    fn a_field_that_is_no_longer_kept_is_found_without_a_schema() {
        let applied = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "labels": { "a": "b" } },
            "spec": { "replicas": 2, "paused": false, "template": { "spec": {
                "containers": [{ "name": "web", "image": "x", "ports": [{ "containerPort": 80 }], "args": ["1", "2"] }],
                "volumes": [{ "name": "v", "emptyDir": {} }] } } } });
        let owned = json!({ "f:metadata": { "f:labels": { "f:a": {} } }, "f:spec": { "f:replicas": {}, "f:template": { "f:spec": {
            "f:containers": { "k:{\"name\":\"web\"}": { ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {} } } } },
            "f:volumes": { "k:{\"name\":\"v\"}": { ".": {}, "f:name": {}, "f:emptyDir": {} } } } } } });
        assert_eq!(missing(&applied, &owned), None);
        for (pointer, field) in [("/f:spec", ".spec.replicas"), ("/f:metadata/f:labels", ".metadata.labels.a")] {
            let mut taken = owned.clone();
            let last = field.rsplit('.').next().expect("it has steps");
            let map = taken.pointer_mut(pointer).and_then(Value::as_object_mut).expect("a map");
            map.remove(&format!("f:{last}"));
            map.insert("f:other".into(), json!({}));
            assert_eq!(missing(&applied, &taken).as_deref(), Some(field));
        }
        let mut image = owned.clone();
        let containers = &mut image["f:spec"]["f:template"]["f:spec"]["f:containers"];
        containers["k:{\"name\":\"web\"}"].as_object_mut().expect("a map").remove("f:image");
        assert_eq!(missing(&applied, &image).as_deref(), Some(".spec.template.spec.containers[name=\"web\"].image"));
        assert!(missing(&applied, &json!({})).is_some());
        assert_eq!(missing(&json!("odd"), &owned), None);
    }

    #[test]
    fn a_field_is_left_out_by_the_name_that_the_server_has_for_it() {
        let mut object = json!({ "metadata": { "annotations": { "example.com/a.b": "1", "c": "2" } }, "spec": {
            "replicas": 3, "containers": [{ "name": "a", "image": "x" }, { "name": "b", "image": "y" }], "finalizers": ["z"] } });
        for field in [
            ".spec.replicas",
            ".metadata.annotations.example.com/a.b",
            ".spec.containers[name=\"b\"].image",
            ".spec.finalizers[=\"z\"]",
            ".spec.not.there",
            ".spec.containers[name=\"c\"].image",
        ] {
            leave_out(&mut object, field);
        }
        assert_eq!(
            object,
            json!({ "metadata": { "annotations": { "c": "2" } }, "spec": {
            "containers": [{ "name": "a", "image": "x" }, { "name": "b" }], "finalizers": [] } })
        );
    }
}
