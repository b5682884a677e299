//! What people add to objects by hand, what they replace as a whole, and what other tools had of an object before it was taken over.

use serde_json::{Value, json};

use super::adapter::{Bed, config, desired, group, refused, request};

fn data(bed: &Bed, name: &str) -> Value {
    let text = bed.must(&["get", "-n", "shop", &format!("configmap/{name}"), "-o", "jsonpath={.data}"]);
    serde_json::from_str(&text).unwrap_or_default()
}

fn add(bed: &Bed, manager: &str, key: &str) {
    let patch = json!({ "data": { key: "added" } }).to_string();
    let manager = format!("--field-manager={manager}");
    bed.must(&["patch", "-n", "shop", "configmap/a", "--type=merge", &manager, "-p", &patch]);
}

fn deployment() -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": {
        "selector": { "matchLabels": { "app": "web" } },
        "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [
            { "name": "web", "image": "web:1", "env": [{ "name": "KEPT", "value": "1" }] } ] } } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_adds_by_hand_is_told_and_removed_and_what_a_controller_adds_is_its_own() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let left = json!({ "ignore": [{ "kind": "ConfigMap", "paths": ["/data/left"] }] });
    let wanted = group(desired("web", "1", "shop", json!([config("a", "1"), deployment()]), &left));
    bed.ensure(1, &wanted).await.unwrap();
    let whole = |count| move |group: &trimtab::domain::observed::ObservedGroup| group.replicas == count;
    bed.until(&wanted, "all is there", whole(2)).await;

    bed.must(&["annotate", "-n", "shop", "configmap/a", "note=mine"]);
    add(&bed, "controller", "theirs");
    add(&bed, "kubectl-patch", "left");
    add(&bed, "kubectl-patch", "extra");
    let seen = bed.until(&wanted, "the addition is seen", whole(1)).await;
    assert_eq!(seen.instances[0].message.as_deref(), Some("kubectl-patch added .data.extra"));
    bed.must(&["set", "env", "-n", "shop", "deployment/web", "FOO=bar"]);
    let seen = bed.until(&wanted, "the variable is seen", whole(0)).await;
    let message = seen.instances[1].message.clone().unwrap_or_default();
    let variable = r#"kubectl-set added .spec.template.spec.containers[name="web"].env[name="FOO"]"#;
    assert!(message.contains(variable), "{message}");

    bed.ensure(1, &wanted).await.unwrap();
    bed.until(&wanted, "it is as it was", whole(2)).await;
    assert_eq!(data(&bed, "a"), json!({ "key": "1", "theirs": "added", "left": "added" }));
    let path = "jsonpath={.spec.template.spec.containers[0].env[*].name}";
    assert_eq!(bed.must(&["get", "-n", "shop", "deployment/web", "-o", path]), "KEPT");
    assert_eq!(bed.must(&["get", "-n", "shop", "configmap/a", "-o", "jsonpath={.metadata.annotations.note}"]), "mine");

    // Replaced as a whole, it has lost its marks too.
    let bare = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "shop" },
        "data": { "key": "1", "extra": "again" } });
    bed.kubectl(&["replace", "-f", "-"], &bare).unwrap();
    bed.until(&wanted, "its loss is seen", whole(1)).await;
    bed.ensure(1, &wanted).await.unwrap();
    bed.until(&wanted, "its addition is seen", |group| {
        group.instances[0].message.as_deref() == Some("kubectl-replace added .data.extra")
    })
    .await;
    bed.ensure(1, &wanted).await.unwrap();
    bed.until(&wanted, "it is as it was", whole(2)).await;
    assert_eq!(data(&bed, "a"), json!({ "key": "1" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_over_is_nobody_elses_and_goes_when_git_drops_it() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let object = |data: Value| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "shop" }, "data": data });
    bed.kubectl(&["apply", "-f", "-"], &object(json!({ "one": "1", "two": "2", "beside": "3" }))).unwrap();
    let consent = json!({ "adopt": true });
    let both = group(desired("web", "1", "shop", json!([object(json!({ "one": "1", "two": "2" }))]), &consent));
    bed.ensure(1, &both).await.unwrap();
    bed.until_right(&both).await;
    assert_eq!(data(&bed, "a"), json!({ "one": "1", "two": "2", "beside": "3" }), "what Git does not name stays");
    let one = request("web", "2", "shop", json!([object(json!({ "one": "1" }))]));
    bed.ensure(1, &one).await.unwrap();
    bed.until_right(&one).await;
    assert_eq!(data(&bed, "a"), json!({ "one": "1", "beside": "3" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_back_holds_up_nothing_else() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let wanted = request("web", "1", "shop", json!([config("a", "1"), config("b", "1"), deployment()]));
    bed.ensure(1, &wanted).await.unwrap();
    let right = |count| move |group: &trimtab::domain::observed::ObservedGroup| group.replicas == count;
    bed.until(&wanted, "all is there", right(3)).await;

    // Another tool applies to one of them; somebody edits one that goes out beside it and one that goes out later.
    applied_by_helm(&bed, &json!({}));
    bed.must(&["patch", "-n", "shop", "configmap/b", "--type=merge", "-p", r#"{"data":{"key":"edited"}}"#]);
    bed.must(&["set", "env", "-n", "shop", "deployment/web", "KEPT=edited"]);
    bed.until(&wanted, "all of it is seen", right(0)).await;
    let reason = refused(bed.ensure(1, &wanted).await);
    assert!(reason.contains("ConfigMap/a") && reason.contains("helm has .data.key"), "{reason}");
    bed.until(&wanted, "what can be put back is as it was", right(2)).await;
    assert_eq!((data(&bed, "a"), data(&bed, "b")), (json!({ "key": "theirs" }), json!({ "key": "1" })));
    let path = "jsonpath={.spec.template.spec.containers[0].env[0].value}";
    assert_eq!(bed.must(&["get", "-n", "shop", "deployment/web", "-o", path]), "1");
}

/// Consent is for what belongs to nobody here: of an object with fields of others it is asked first whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn with_consent_too_it_is_asked_whose_an_object_is_before_its_fields_are_taken() {
    let Some(bed) = Bed::start() else { return };
    bed.must(&["create", "namespace", "shop"]);
    let consent = json!({ "adopt": true });
    let wanted = group(desired("web", "1", "shop", json!([config("a", "1")]), &consent));
    applied_by_helm(&bed, &json!({ "trimtab.dev/unit": "0123456789ab", "trimtab.dev/installation": "another" }));
    let reason = refused(bed.ensure(1, &wanted).await);
    assert!(reason.contains("belongs to another trimtab, installation another"), "{reason}");
    assert_eq!(data(&bed, "a"), json!({ "key": "theirs" }));

    applied_by_helm(&bed, &json!({}));
    bed.ensure(1, &wanted).await.unwrap();
    bed.until_right(&wanted).await;
    assert_eq!(data(&bed, "a"), json!({ "key": "1" }), "it was nobody's");

    let other = group(desired("blog", "1", "shop", json!([config("a", "2")]), &consent));
    let reason = refused(bed.ensure(1, &other).await);
    assert!(reason.contains("belongs to web/production/default"), "{reason}");
    assert_eq!(data(&bed, "a"), json!({ "key": "1" }));
}

/// A ConfigMap that another tool applies, with these labels and none else of that tool's.
fn applied_by_helm(bed: &Bed, labels: &Value) {
    let theirs = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "a", "namespace": "shop", "labels": labels }, "data": { "key": "theirs" } });
    let apply = ["apply", "--server-side", "--force-conflicts", "--field-manager=helm", "-f", "-"];
    bed.kubectl(&apply, &theirs).unwrap();
}
