//! Secrets that stand in clear in a repository: whoever may see what is asked for need not see them, and they are not stored with it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::native::LAST_APPLIED;
use crate::domain::desired::DesiredUnit;
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{Object, secret_at};

/// What stands where a value was.
const HIDDEN: &str = "hidden";
const CHANGED: &str = "hidden, changed";

/// The parts of a Secret that hold values.
const PARTS: [&str; 2] = ["data", "stringData"];

/// Whether the values of an object are nobody's to see.
pub fn is_secret(object: &Object) -> bool {
    object.group().is_empty() && object.kind() == "Secret"
}

/// The same state with the values of its Secrets hidden: for showing only. What was another value `before` is said to have changed.
#[must_use]
pub fn masked(desired: &DesiredUnit, before: Option<&DesiredUnit>) -> DesiredUnit {
    let mut masked = desired.clone();
    let Workload::Kubernetes(spec) = &mut masked.workload else { return masked };
    let known: Vec<&Object> = match before.map(|before| &before.workload) {
        Some(Workload::Kubernetes(before)) => before.all().collect(),
        _ => Vec::new(),
    };
    let hooks = spec.hooks.iter_mut().map(|hook| &mut hook.object);
    for object in spec.objects.iter_mut().chain(hooks).filter(|object| is_secret(object)) {
        let id = object.id();
        let same = known.iter().find(|other| other.id() == id);
        *object = hide(object, same.copied());
    }
    masked
}

/// What stands in a stored state where the values of a Secret are kept apart from it.
const APART: &str = "trimtab.dev/kept-apart";

/// The parts of Secrets that hold values: by the number of the object, hooks after the others, and the name of the part.
pub type Values = BTreeMap<usize, BTreeMap<String, Value>>;

/// A state without the values of its Secrets, and the values; `None` where no Secret has any in clear.
pub fn apart(desired: &DesiredUnit) -> Option<(DesiredUnit, Values)> {
    let Workload::Kubernetes(spec) = &desired.workload else { return None };
    if !is_clear(desired) {
        return None;
    }
    let mut values = Values::new();
    for (index, object) in spec.all().enumerate().filter(|(_, object)| is_secret(object)) {
        for part in PARTS {
            let value = object.fields().get(part).filter(|value| holds_any(value));
            if let Some(value) = value {
                values.entry(index).or_default().insert(part.to_owned(), value.clone());
            }
        }
    }
    Some((with(desired, &values, |_| json!({ APART: true }))?, values))
}

/// Whether a Secret of a state holds values in clear.
pub fn is_clear(desired: &DesiredUnit) -> bool {
    let Workload::Kubernetes(spec) = &desired.workload else { return false };
    let holds = |object: &Object| PARTS.iter().filter_map(|part| object.fields().get(*part)).any(holds_any);
    spec.all().any(|object| is_secret(object) && holds(object))
}

/// Whether values of a stored state are kept apart from it.
pub fn is_apart(desired: &DesiredUnit) -> bool {
    let Workload::Kubernetes(spec) = &desired.workload else { return false };
    let kept = |object: &Object| PARTS.iter().any(|part| object.fields().get(*part) == Some(&json!({ APART: true })));
    spec.all().any(|object| is_secret(object) && kept(object))
}

/// The state as it was before its values were taken [`apart`]; `None` where they are of another.
pub fn together(stored: &DesiredUnit, values: &Values) -> Option<DesiredUnit> {
    let whole = with(stored, values, Value::clone)?;
    (!is_apart(&whole)).then_some(whole)
}

/// The state with other parts in its Secrets.
fn with(desired: &DesiredUnit, values: &Values, part: impl Fn(&Value) -> Value) -> Option<DesiredUnit> {
    let mut desired = desired.clone();
    let Workload::Kubernetes(spec) = &mut desired.workload else { return None };
    for (index, parts) in values {
        let hooks = spec.hooks.iter_mut().map(|hook| &mut hook.object);
        let object = spec.objects.iter_mut().chain(hooks).nth(*index).filter(|object| is_secret(object))?;
        let mut fields = object.fields().clone();
        fields.extend(parts.iter().map(|(name, value)| (name.clone(), part(value))));
        *object = Object::try_from(Value::Object(fields)).ok()?;
    }
    Some(desired)
}

/// Whether a part of a Secret holds a value that is not merely referred to.
fn holds_any(part: &Value) -> bool {
    match part {
        Value::Object(values) => values.values().any(|value| !value.is_null() && secret_at(value).is_none()),
        Value::Null => false,
        _ => true,
    }
}

fn hide(object: &Object, before: Option<&Object>) -> Object {
    let mut fields = object.fields().clone();
    for part in PARTS {
        let before = before.and_then(|before| before.fields().get(part));
        match fields.get_mut(part) {
            None | Some(Value::Null) => {}
            Some(Value::Object(values)) => {
                // A reference says nothing of the value.
                for (key, value) in values.iter_mut().filter(|(_, value)| secret_at(value).is_none()) {
                    *value = in_place_of(value, before.and_then(|before| before.get(key)));
                }
            }
            // No API server takes it, and what was meant to be a value stands there all the same.
            Some(value) => *value = in_place_of(value, before),
        }
    }
    // Annotations of kubectl hold the whole object once more.
    if let Some(Value::Object(annotations)) = fields.get_mut("metadata").and_then(|meta| meta.get_mut("annotations")) {
        annotations.remove(LAST_APPLIED);
    }
    // Only values were replaced, so it is an object as before.
    Object::try_from(Value::Object(fields)).unwrap_or_else(|_| object.clone())
}

fn in_place_of(value: &Value, before: Option<&Value>) -> Value {
    if before.is_some_and(|before| before != value) { CHANGED } else { HIDDEN }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_form_the_values_of_a_secret_have_none_is_shown() {
        let secret = |data: Value| {
            let object =
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "db" }, "stringData": data });
            Object::try_from(object).expect("it is an object")
        };
        let shown = |data: Value, before: Option<Value>| {
            let before = before.map(secret);
            hide(&secret(data), before.as_ref()).fields()["stringData"].clone()
        };
        for data in [json!("hunter2"), json!(["hunter2"]), json!(22)] {
            assert_eq!(shown(data.clone(), None), "hidden");
            assert_eq!(shown(data, Some(json!("hunter3"))), "hidden, changed");
        }
        let reference = json!({ "trimtab.dev/secret": "login" });
        let data = json!({ "a": "hunter2", "b": { "c": "hunter2" }, "d": reference });
        let before = json!({ "a": "hunter2", "b": "hunter3" });
        let expected = json!({ "a": "hidden", "b": "hidden, changed", "d": reference });
        assert_eq!(shown(data, Some(before)), expected);
        assert_eq!(shown(Value::Null, None), Value::Null);
    }
}
