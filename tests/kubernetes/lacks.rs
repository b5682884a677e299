//! What a unit lacked and has come since: its next try need not wait.

use serde_json::{Value, json};
use trimtab::ports::platform::{EnsureGroup, Platform};

use super::adapter::{Bed, config, request};
use crate::support::{PATIENCE, eventually_async};

async fn eased(bed: &Bed, request: &EnsureGroup) {
    eventually_async(PATIENCE, "it is told that the unit may be tried", || async {
        let units = bed.platform.eased_units();
        if units.contains(&request.desired.unit) { Ok(()) } else { Err(format!("{units:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_unit_lacked_is_seen_when_it_comes() {
    let Some(bed) = Bed::start() else { return };
    let plain = request("web", "1", "shop", json!([config("one", "1")]));
    bed.ensure(1, &plain).await.unwrap_err();
    assert!(bed.platform.eased_units().is_empty());
    bed.must(&["create", "namespace", "shop"]);
    eased(&bed, &plain).await;
    bed.ensure(1, &plain).await.unwrap();

    // A namespace of some objects alone.
    let mut far = config("far", "1");
    far["metadata"]["namespace"] = "elsewhere".into();
    let elsewhere = request("other", "1", "shop", json!([config("two", "1"), far]));
    bed.ensure(1, &elsewhere).await.unwrap_err();
    bed.must(&["create", "namespace", "elsewhere"]);
    eased(&bed, &elsewhere).await;
    bed.ensure(1, &elsewhere).await.unwrap();

    let widget = json!({ "apiVersion": "example.org/v1", "kind": "Widget", "metadata": { "name": "w" } });
    let kind = request("kinds", "1", "shop", json!([widget]));
    let told = bed.ensure(1, &kind).await.unwrap_err().to_string();
    assert!(told.contains("no kind Widget in example.org/v1"), "{told}");
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": { "name": "widgets.example.org" },
        "spec": { "group": "example.org", "scope": "Namespaced", "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": { "type": "object" } } }] },
    });
    bed.kubectl(&["create", "-f", "-"], &definition).unwrap();
    eased(&bed, &kind).await;

    let mut held = config("held", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let held = request("held", "1", "shop", json!([held]));
    bed.ensure(1, &held).await.unwrap();
    bed.must(&["delete", "-n", "shop", "configmap/held", "--wait=false"]);
    bed.until(&held, "its deletion is seen", |group| group.leaving.len() == 1).await;
    bed.ensure(1, &held).await.unwrap_err();
    let let_go = ["patch", "-n", "shop", "configmap/held", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#];
    bed.kubectl(&let_go, &Value::Null).unwrap();
    eased(&bed, &held).await;
}
