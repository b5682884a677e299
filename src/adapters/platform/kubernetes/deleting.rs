//! An object that is being deleted: since when, what keeps it, and what can be done about that.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::domain::workload::kubernetes::ObjectId;

/// What is known of an object's deletion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleting {
    /// When it was asked for.
    since: Option<Timestamp>,
    /// Who has to let it go first.
    finalizers: Vec<String>,
    /// What is left in it, where it is a namespace, in the cluster's words.
    left: Vec<String>,
}

impl Deleting {
    /// `None`: it is not being deleted. What a deletion answers has it only where the object stays for now.
    pub fn read(object: &Value) -> Option<Deleting> {
        let metadata = object.get("metadata")?;
        let ends: Option<Timestamp> = metadata.get("deletionTimestamp")?.as_str()?.parse().ok();
        let grace = metadata.get("deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or_default();
        let finalizers = metadata.get("finalizers").and_then(Value::as_array).into_iter().flatten();
        Some(Deleting {
            since: ends.and_then(|ends| ends.checked_sub(SignedDuration::from_secs(grace)).ok()),
            finalizers: finalizers.filter_map(|one| one.as_str().map(str::to_owned)).collect(),
            left: left_in(object),
        })
    }

    /// Since when, and what it waits for.
    pub fn message(&self) -> String {
        let mut told = "being deleted".to_owned();
        if let Some(since) = self.since {
            told.push_str(&format!(" since {since}"));
        }
        match self.finalizers.as_slice() {
            [] => {}
            [one] => told.push_str(&format!("; waits for finalizer {one}, which no controller has removed")),
            several => {
                let several = several.join(", ");
                told.push_str(&format!("; waits for finalizers {several}, which no controller has removed"));
            }
        }
        if !self.left.is_empty() {
            told.push_str(&format!("; waits for what is left in it: {}", self.left.join("; ")));
        }
        told
    }

    /// What can be done so that it goes; `None`: it goes by itself.
    pub fn remedy(&self, id: &ObjectId) -> Option<String> {
        if !self.left.is_empty() {
            return Some("what is left in it goes first: see why the objects that are named do not go".into());
        }
        let finalizer = self.finalizers.first()?;
        Some(match finalizer.as_str() {
            "kubernetes.io/pvc-protection" => "a pod still uses it: it goes with that pod".into(),
            "kubernetes.io/pv-protection" => "a claim is still bound to it: it goes with that claim".into(),
            "foregroundDeletion" => "what it owns goes first: see why that does not go".into(),
            "customresourcecleanup.apiextensions.k8s.io" => {
                format!("its objects go first: `kubectl get {} --all-namespaces` names those that do not go", id.name)
            }
            _ => format!(
                "the controller that serves {finalizer} removes it once it has cleaned up: see whether that runs; only where it is gone \
                 for good, `{}` lets the object go with nothing cleaned up",
                let_go(id)
            ),
        })
    }
}

/// The command that takes all finalizers from an object.
fn let_go(id: &ObjectId) -> String {
    let dot = if id.group.is_empty() { "" } else { "." };
    let namespace = id.namespace.as_ref().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
    let kind = format!("{}{dot}{}", id.kind, id.group).to_lowercase();
    format!(r#"kubectl patch {kind} {}{namespace} --type merge -p '{{"metadata":{{"finalizers":null}}}}'"#, id.name)
}

/// What is left in a namespace that is being deleted, in its own words.
fn left_in(namespace: &Value) -> Vec<String> {
    let conditions = namespace.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let text = |one: &Value, field: &str| one.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let left = ["NamespaceContentRemaining", "NamespaceFinalizersRemaining", "NamespaceDeletionContentFailure"];
    conditions
        .filter(|one| text(one, "status") == "True" && left.contains(&text(one, "type").as_str()))
        .map(|one| text(one, "message"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn id(group: &str, kind: &str, namespace: Option<&str>, name: &str) -> ObjectId {
        ObjectId { group: group.into(), kind: kind.into(), namespace: namespace.map(str::to_owned), name: name.into() }
    }

    fn deleting(more: &Value) -> Deleting {
        let mut metadata = json!({ "name": "a", "deletionTimestamp": "2026-11-23T12:03:30Z" });
        for (key, value) in more.as_object().into_iter().flatten() {
            metadata[key] = value.clone();
        }
        Deleting::read(&json!({ "metadata": metadata })).expect("it is being deleted")
    }

    #[test]
    fn what_keeps_an_object_is_named_with_what_to_do() {
        let config = id("", "ConfigMap", Some("bench"), "x");
        let held = deleting(&json!({ "finalizers": ["example.com/hold"] }));
        assert_eq!(
            held.message(),
            "being deleted since 2026-11-23T12:03:30Z; waits for finalizer example.com/hold, which no controller has removed"
        );
        let remedy = held.remedy(&config).expect("somebody can do something");
        let command = r#"`kubectl patch configmap x -n bench --type merge -p '{"metadata":{"finalizers":null}}'`"#;
        assert!(remedy.starts_with("the controller that serves example.com/hold ") && remedy.contains(command));
        let widget = deleting(&json!({ "finalizers": ["a/b"] })).remedy(&id("example.com", "Widget", None, "w"));
        assert!(widget.is_some_and(|remedy| remedy.contains("`kubectl patch widget.example.com w --type merge")));
        let claim = deleting(&json!({ "finalizers": ["kubernetes.io/pvc-protection"] })).remedy(&config);
        assert_eq!(claim.as_deref(), Some("a pod still uses it: it goes with that pod"));
    }

    #[test]
    fn what_goes_by_itself_needs_nobody() {
        let pod = deleting(&json!({ "deletionGracePeriodSeconds": 30 }));
        assert_eq!(pod.message(), "being deleted since 2026-11-23T12:03:00Z");
        assert_eq!(pod.remedy(&id("", "Pod", Some("bench"), "x")), None);
        assert_eq!(Deleting::read(&json!({ "metadata": { "name": "a" } })), None);
    }

    #[test]
    fn what_is_left_in_a_namespace_is_told_in_its_words() {
        let words = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances";
        let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "message": words });
        let namespace = json!({
            "metadata": { "name": "a", "deletionTimestamp": "2026-11-23T12:03:30Z" },
            "status": { "conditions": [condition("NamespaceFinalizersRemaining", "True"), condition("NamespaceContentRemaining", "False")] },
        });
        let deleting = Deleting::read(&namespace).expect("it is being deleted");
        assert!(deleting.message().ends_with(&format!("; waits for what is left in it: {words}")), "{deleting:?}");
        assert!(deleting.remedy(&id("", "Namespace", None, "a")).is_some());
    }
}
