//! The objects of one version: clones of what is of its pods alone, and what it shares with the others.

use serde_json::{Map, Value, json};

use crate::adapters::platform::kubernetes::compose::{inner, member};
use crate::adapters::platform::kubernetes::labels;
use crate::domain::workload::kubernetes::{KubernetesSpec, Object, ObjectId};
use crate::domain::workload::versioned::Versioned;

/// What an object is to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It is of this version alone.
    Own,
    /// The same, and it says how many pods there are.
    Scaler,
    /// All versions have it.
    Shared,
    /// It goes with the requests.
    Routed,
}

/// What the objects of a version are marked with.
#[derive(Clone, Copy, Debug)]
pub struct Marks<'a> {
    /// The installation.
    pub installation: &'a str,
    /// The key of the version's parent.
    pub unit: &'a str,
    /// The value of its pods' label.
    pub group: &'a str,
}

/// The objects of a version, each with what it is to it.
pub fn parts(spec: &KubernetesSpec, versioned: &Versioned, marks: &Marks<'_>) -> Vec<(Object, Role)> {
    let part = |object: &Object| {
        let id = object.id();
        match () {
            () if versioned.deployment == id => (deployment(object, marks), Role::Own),
            () if versioned.scaler.as_ref() == Some(&id) => {
                (scaler(object, &versioned.deployment, marks), Role::Scaler)
            }
            () if versioned.budgets.contains(&id) => (budget(object, marks), Role::Own),
            () if versioned.is_routed(&id) => (object.clone(), Role::Routed),
            () => (object.clone(), Role::Shared),
        }
    };
    spec.objects.iter().map(part).collect()
}

/// What a clone is called.
pub fn clone_name(name: &str, group: &str) -> String {
    format!("{name}-{group}")
}

/// The Deployment of a version. How many pods it has is no part of it: it is set apart, so that an autoscaler can have it.
fn deployment(object: &Object, marks: &Marks<'_>) -> Object {
    let mut body = cloned(object, marks);
    let spec = member(&mut body, "spec");
    spec.remove("replicas");
    inner(inner(spec, "selector"), "matchLabels").insert(labels::GROUP.into(), marks.group.into());
    let pods = inner(inner(inner(spec, "template"), "metadata"), "labels");
    pods.insert(labels::GROUP.into(), marks.group.into());
    pods.insert(labels::UNIT.into(), marks.unit.into());
    pods.insert(labels::INSTALLATION.into(), marks.installation.into());
    made(object, body)
}

fn scaler(object: &Object, deployment: &ObjectId, marks: &Marks<'_>) -> Object {
    let mut body = cloned(object, marks);
    let spec = member(&mut body, "spec");
    inner(spec, "scaleTargetRef").insert("name".into(), clone_name(&deployment.name, marks.group).into());
    // Never none at all: nothing would scale it up again.
    if spec.get("minReplicas").and_then(Value::as_u64) == Some(0) {
        spec.insert("minReplicas".into(), 1.into());
    }
    made(object, body)
}

fn budget(object: &Object, marks: &Marks<'_>) -> Object {
    let mut body = cloned(object, marks);
    let selector = inner(member(&mut body, "spec"), "selector");
    inner(selector, "matchLabels").insert(labels::GROUP.into(), marks.group.into());
    made(object, body)
}

fn cloned(object: &Object, marks: &Marks<'_>) -> Value {
    let mut body = Value::Object(object.fields().clone());
    let metadata = member(&mut body, "metadata");
    metadata.insert("name".into(), clone_name(object.name(), marks.group).into());
    inner(metadata, "labels").insert(labels::GROUP.into(), marks.group.into());
    body
}

/// Where a Service leads.
#[derive(Clone, Copy, Debug)]
pub enum Leads<'a> {
    /// To the pods of one version.
    To(&'a str),
    /// To those of all that there are.
    ToAll,
    /// Nowhere.
    Nowhere,
}

/// The value of the label that no pod has.
pub const NOBODY: &str = "none";

/// Which version a Service selects that leads there.
pub fn selects<'a>(leads: Leads<'a>) -> Option<&'a str> {
    match leads {
        Leads::To(group) => Some(group),
        Leads::ToAll => None,
        Leads::Nowhere => Some(NOBODY),
    }
}

/// A Service as it leads there, with what it says of that.
pub fn service(object: &Object, leads: Leads<'_>, record: &str) -> Object {
    let mut body = Value::Object(object.fields().clone());
    inner(member(&mut body, "metadata"), "annotations").insert(labels::TRAFFIC.into(), record.into());
    if let Some(group) = selects(leads) {
        inner(member(&mut body, "spec"), "selector").insert(labels::GROUP.into(), group.into());
    }
    made(object, body)
}

/// What a Service's preview is called.
pub fn preview_name(name: &str) -> String {
    format!("{name}-preview")
}

/// A second Service beside one, to look at a version before it has requests: within the cluster, whatever the first one is.
pub fn preview(object: &Object) -> Object {
    let fields = object.fields();
    let spec = fields.get("spec").and_then(Value::as_object);
    let mut kept = Map::new();
    for field in ["selector", "ports"] {
        if let Some(value) = spec.and_then(|spec| spec.get(field)) {
            kept.insert(field.into(), value.clone());
        }
    }
    for port in kept.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        port.as_object_mut().map(|port| port.remove("nodePort"));
    }
    let mut metadata = json!({ "name": preview_name(object.name()) });
    for field in ["namespace", "labels"] {
        if let Some(value) = fields.get("metadata").and_then(|metadata| metadata.get(field)) {
            metadata[field] = value.clone();
        }
    }
    made(object, json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": kept }))
}

/// What was an object and has changed within stays one; the first is taken where it did not.
pub(super) fn made(object: &Object, body: Value) -> Object {
    Object::try_from(body).unwrap_or_else(|_| object.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKS: Marks<'static> = Marks { installation: "here", unit: "key", group: "abc" };

    fn object(value: Value) -> Object {
        Object::try_from(value).expect("it is an object")
    }

    fn body(object: &Object) -> Value {
        Value::Object(object.fields().clone())
    }

    #[test]
    fn a_clone_has_pods_of_its_own() {
        let web = object(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "replicas": 3, "selector": { "matchLabels": { "app": "web" } },
                "template": { "metadata": { "labels": { "app": "web" } } } } }));
        let web = body(&deployment(&web, &MARKS));
        assert_eq!(web["metadata"]["name"], "web-abc");
        assert_eq!(web["spec"].get("replicas"), None);
        assert_eq!(web["spec"]["selector"]["matchLabels"], json!({ "app": "web", "trimtab.dev/group": "abc" }));
        let labels = &web["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["trimtab.dev/unit"], "key");
        assert_eq!(labels["app"], "web");
    }

    #[test]
    fn an_autoscaler_keeps_its_bounds_and_never_leaves_none() {
        let id = ObjectId { group: "apps".into(), kind: "Deployment".into(), namespace: None, name: "web".into() };
        for (least, kept) in [(json!(2), json!(2)), (json!(0), json!(1))] {
            let hpa = object(json!({ "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
                "metadata": { "name": "web" },
                "spec": { "minReplicas": least, "maxReplicas": 9, "scaleTargetRef": { "kind": "Deployment", "name": "web" } } }));
            let hpa = body(&scaler(&hpa, &id, &MARKS));
            assert_eq!(hpa["spec"]["minReplicas"], kept);
            assert_eq!(hpa["spec"]["maxReplicas"], 9);
            assert_eq!(hpa["spec"]["scaleTargetRef"]["name"], "web-abc");
        }
    }

    #[test]
    fn a_service_leads_to_one_to_all_or_nowhere() {
        let web = object(json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
            "spec": { "type": "NodePort", "selector": { "app": "web" }, "ports": [{ "port": 80, "nodePort": 30000 }] } }));
        let selector = |leads| body(&service(&web, leads, "{}"))["spec"]["selector"].clone();
        assert_eq!(selector(Leads::To("abc")), json!({ "app": "web", "trimtab.dev/group": "abc" }));
        assert_eq!(selector(Leads::ToAll), json!({ "app": "web" }));
        assert_eq!(selector(Leads::Nowhere), json!({ "app": "web", "trimtab.dev/group": "none" }));
        let second = body(&preview(&web));
        assert_eq!(second["metadata"]["name"], "web-preview");
        assert_eq!(second["spec"], json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] }));
    }
}
