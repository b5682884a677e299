//! What the adapter says would come of a change, and how it judges objects by the manifest's own rules.

use serde_json::{Value, json};
use trimtab::domain::prediction::{ASKED, Outcome, Prediction};
use trimtab::ports::platform::{EnsureGroup, Platform, Predict};

use super::adapter::{Bed, config, desired, group, refused, request};

async fn predict(bed: &Bed, asked: &EnsureGroup, before: &EnsureGroup) -> Prediction {
    let ask = Predict { desired: &asked.desired, before: Some(&before.desired), restarts: 0 };
    bed.platform.predict(ask).await
}

#[track_caller]
fn outcome<'a>(told: &'a Prediction, object: &str) -> &'a Outcome {
    let one = told.objects.iter().find(|one| one.object == object);
    &one.unwrap_or_else(|| panic!("{object}: {told:?}")).outcome
}

fn deployment(image: &str, selector: &str) -> Value {
    let labels = json!({ "app": selector });
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": {
        "replicas": 0, "selector": { "matchLabels": labels },
        "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "web", "image": image }] } } } })
}

fn secret(value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "stringData": { "key": value } })
}

fn definition() -> Value {
    let schema = json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "databases.example.com" },
        "spec": { "group": "example.com", "scope": "Namespaced", "names": { "kind": "Database", "plural": "databases" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema, "subresources": { "status": {} } }] } })
}

fn database() -> Value {
    json!({ "apiVersion": "example.com/v1", "kind": "Database", "metadata": { "name": "db" }, "spec": { "size": 1 } })
}

/// No ConfigMap with the value `denied`.
fn policy() -> [Value; 2] {
    let rules = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"] }]);
    let validation = json!([{ "expression": "!has(object.data) || !('key' in object.data) || object.data.key != 'denied'", "message": "no such key" }]);
    let name = json!({ "name": "no-denied.example.com" });
    [
        json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": name,
            "spec": { "failurePolicy": "Fail", "matchConstraints": { "resourceRules": rules }, "validations": validation } }),
        json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": name,
            "spec": { "policyName": "no-denied.example.com", "validationActions": ["Deny"] } }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_tells_what_it_would_make_of_a_change() {
    let Some(mut bed) = Bed::start() else { return };
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } });
    let objects = json!([
        config("a", "1"),
        config("b", "1"),
        config("gone", "1"),
        deployment("web:1", "web"),
        namespace.clone(),
        secret("hunter2-1")
    ]);
    let first = request("web", "1", "shop", objects);
    bed.ensure(1, &first).await.unwrap();
    // No controller makes its Deployment ready here.
    bed.until(&first, "all is applied", |group| group.replicas == first.replicas).await;
    assert_eq!(predict(&bed, &first, &first).await, Prediction::default(), "what is right changes nothing");

    for object in policy() {
        bed.kubectl(&["create", "-f", "-"], &object).unwrap();
    }
    let theirs = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "b", "namespace": "shop" }, "data": { "key": "helm" } });
    bed.kubectl(&["apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-"], &theirs).unwrap();
    bed.kubectl(&["create", "-n", "shop", "configmap", "foreign"], &Value::Null).unwrap();
    bed.until(&first, "the other tool is seen", |group| group.replicas == first.replicas - 1).await;

    let objects = json!([
        config("a", "denied"),
        config("b", "2"),
        config("foreign", "1"),
        config("new", "1"),
        deployment("web:2", "web"),
        namespace.clone(),
        secret("hunter2-2"),
        definition(),
        database()
    ]);
    let second = request("web", "2", "shop", objects);
    // A policy takes a moment until it is in force.
    let told = crate::support::eventually_async(crate::support::PATIENCE, "the policy is in force", || async {
        let told = predict(&bed, &second, &first).await;
        let denied = told.refusals().any(|(object, _)| object == "ConfigMap/a");
        match denied {
            true => Ok(told),
            false => Err(format!("{told:?}")),
        }
    })
    .await;
    let reason = |object: &str| match outcome(&told, object) {
        Outcome::Refused { reason } | Outcome::Unpredictable { reason } => reason.clone(),
        other => panic!("{object}: {other:?}"),
    };
    assert!(
        reason("ConfigMap/a").contains("no-denied.example.com") && reason("ConfigMap/a").contains("no such key"),
        "{told:?}"
    );
    assert!(reason("ConfigMap/b").contains("helm has .data.key"), "{told:?}");
    assert!(reason("ConfigMap/foreign").contains("adopt"), "{told:?}");
    assert_eq!(*outcome(&told, "ConfigMap/new"), Outcome::New);
    assert_eq!(*outcome(&told, "ConfigMap/gone"), Outcome::Removed);
    assert!(
        matches!(outcome(&told, "Database.example.com/db"), Outcome::Unpredictable { reason } if reason.contains("databases.example.com")),
        "{told:?}"
    );
    let Outcome::Changed { fields } = outcome(&told, "Deployment.apps/web") else { panic!("{told:?}") };
    let image = fields.iter().find(|field| field.path.ends_with("containers[web].image")).unwrap();
    assert_eq!(
        (image.before.as_deref(), image.after.as_deref(), image.effect.as_str()),
        (Some("web:1"), Some("web:2"), ASKED)
    );
    assert!(matches!(outcome(&told, "Secret/s"), Outcome::Changed { .. }), "{told:?}");
    assert!(!format!("{told:?}").contains("hunter2"), "{told:?}");
    assert!(!serde_json::to_string(&told).unwrap().contains("aHVudGVy"), "{told:?}");
    let live =
        bed.must(&["get", "-n", "shop", "deployment/web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"]);
    assert_eq!(live, "web:1", "nothing was changed");

    // What a cluster fills in is told as its own; what can't be changed asks for consent.
    let mut probe = deployment("web:1", "web");
    probe["spec"]["template"]["spec"]["containers"][0]["ports"] = json!([{ "containerPort": 80 }]);
    let third = request("web", "3", "shop", json!([config("a", "1"), probe, namespace.clone()]));
    let told = predict(&bed, &third, &first).await;
    let Outcome::Changed { fields } = outcome(&told, "Deployment.apps/web") else { panic!("{told:?}") };
    let protocol = fields.iter().find(|field| field.path.ends_with(".protocol")).unwrap();
    assert_eq!((protocol.after.as_deref(), protocol.effect.as_str()), (Some("TCP"), "by the cluster"));
    let objects = json!([deployment("web:1", "other"), namespace]);
    let fourth = request("web", "4", "shop", objects.clone());
    let told = predict(&bed, &fourth, &first).await;
    assert!(
        matches!(outcome(&told, "Deployment.apps/web"), Outcome::Refused { reason } if reason.contains("recreate")),
        "{told:?}"
    );
    let consented = group(desired("web", "4", "shop", objects, &json!({ "recreate": ["Deployment"] })));
    let told = predict(&bed, &consented, &first).await;
    assert!(matches!(outcome(&told, "Deployment.apps/web"), Outcome::Recreated { .. }), "{told:?}");

    bed.control_plane.stop_api_server();
    let told = predict(&bed, &second, &first).await;
    // Whether it is known by now that nothing can be seen, or each object is asked for in vain: nothing is told that is not known.
    let untold = |outcome: &Outcome| matches!(outcome, Outcome::Unpredictable { .. } | Outcome::Removed);
    let each = !told.objects.is_empty() && told.objects.iter().all(|one| untold(&one.outcome));
    assert!(told.unpredictable.is_some() || each, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_judged_by_the_rules_of_the_manifest() {
    let Some(bed) = Bed::start() else { return };
    bed.kubectl(&["create", "namespace", "shop"], &Value::Null).unwrap();
    let asked = |version: &str, health: &str| {
        let rules = json!({ "health": [{ "kind": "Database", "group": "example.com", "degraded": "object.status.phase == 'Failed'", "healthy": health }] });
        group(desired("db", version, "shop", json!([definition(), database()]), &rules))
    };
    let told = |group: &trimtab::domain::observed::ObservedGroup| {
        let one = group.instances.iter().find(|one| one.id == "Database.example.com/db");
        one.and_then(|one| one.message.clone()).unwrap_or_default()
    };
    let first = asked("1", "object.status.phase == 'Ready'");
    bed.ensure(1, &first).await.unwrap();
    bed.until(&first, "a missing field is told", |group| told(group).contains("no field `status`")).await;
    let phase = |phase: &str| {
        let status = json!({ "status": { "phase": phase } }).to_string();
        bed.must(&["patch", "-n", "shop", "database/db", "--subresource=status", "--type=merge", "-p", &status]);
    };
    phase("Failed");
    bed.until(&first, "`degraded` holds", |group| told(group).contains("`degraded` holds")).await;
    phase("Ready");
    bed.until_right(&first).await;

    // Other rules judge anew what has not changed itself.
    let second = asked("2", "object.status.phase == 'Serving'");
    bed.ensure(2, &second).await.unwrap();
    bed.until(&second, "the new rule does not hold", |group| told(group).contains("does not hold yet")).await;
    phase("Serving");
    bed.until_right(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_no_kind_has_is_foreseen_and_refused_wherever_its_kind_is_from() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let size = json!({ "type": "object", "properties": { "size": { "type": "integer" } } });
    let mut definition = definition();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
        json!({ "type": "object", "properties": { "spec": size } });
    let ingress = json!({ "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": { "name": "in" }, "spec": {
        "defaultBackend": { "service": { "name": "web", "port": { "number": 80 } } } } });
    let objects = [definition, deployment("web:1", "web"), database(), ingress];
    let first = request("web", "1", "shop", json!(objects));
    bed.ensure(1, &first).await.unwrap();
    bed.until(&first, "all is applied", |group| group.replicas == first.replicas).await;

    for (place, kind) in [(1, "Deployment"), (2, "Database"), (3, "Ingress")] {
        let mut misspelled = objects.clone();
        misspelled[place]["spec"]["sizze"] = 2.into();
        let misspelled = request("web", "2", "shop", json!(misspelled));
        let told = format!("{:?}", predict(&bed, &misspelled, &first).await);
        assert!(told.contains("spec.sizze"), "{kind}: {told}");
        let reason = refused(bed.ensure(1, &misspelled).await);
        assert!(reason.contains(kind) && reason.contains("spec.sizze"), "{kind}: {reason}");
    }
}
