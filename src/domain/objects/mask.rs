//! Secrets that stand in clear in a repository: whoever may see what is asked for need not see them.

use serde_json::Value;

use crate::domain::desired::DesiredUnit;
use crate::domain::workload::Workload;
use crate::domain::workload::kubernetes::{Object, secret_at};

/// What stands where a value was.
const HIDDEN: &str = "hidden";
const CHANGED: &str = "hidden, changed";

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

fn hide(object: &Object, before: Option<&Object>) -> Object {
    let mut fields = object.fields().clone();
    for part in ["data", "stringData"] {
        let Some(Value::Object(values)) = fields.get_mut(part) else { continue };
        for (key, value) in values {
            // A reference says nothing of the value.
            if secret_at(value).is_some() {
                continue;
            }
            let other = before.and_then(|before| before.fields().get(part)?.get(key));
            *value = if other.is_some_and(|other| other != value) { CHANGED } else { HIDDEN }.into();
        }
    }
    // Annotations of kubectl hold the whole object once more.
    if let Some(Value::Object(annotations)) = fields.get_mut("metadata").and_then(|meta| meta.get_mut("annotations")) {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    // Only values were replaced, so it is an object as before.
    Object::try_from(Value::Object(fields)).unwrap_or_else(|_| object.clone())
}
