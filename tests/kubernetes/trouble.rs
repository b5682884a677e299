//! Hand-made trouble: what others made already, what the API server refuses, kinds that come with their objects.

use std::fs;

use trimtab::api::types::UnitStatus;

use super::cluster::Namespace;
use super::documents::{UNIT, config, deployment, release};
use super::installation::{Installation, tells};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_made_is_taken_over_only_with_consent() {
    let Some(namespace) = Namespace::new() else { return };
    let settings = config("settings", "one");
    let theirs = ["apply", "--server-side", "--field-manager", "mallory", "--filename", "-"];
    namespace.pipe(&theirs, &config("settings", "theirs")).unwrap();
    let installation = Installation::of("", &[("deploy/settings.yaml", &settings)], namespace);
    let told = |status: &UnitStatus| tells(status, &["ConfigMap/settings", "mallory", "adopt"]);
    installation.wait(UNIT, "it is told whose it is", told).await;
    assert_eq!(installation.namespace.object("configmap/settings")["data"]["word"], "theirs");
    installation.push(
        "with consent",
        &[("app.yaml", &super::documents::app(", adopt: true")), ("release.yaml", &release("2"))],
    );
    installation.verified(UNIT, "2").await;
    assert_eq!(installation.namespace.object("configmap/settings")["data"]["word"], "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_30_a_secret_that_the_api_server_refuses_shows_nowhere() {
    let (one, value) = (config("one", "a"), "hunter2-31337");
    let Some(installation) = Installation::start(&[("deploy/one.yaml", &one)]) else { return };
    installation.verified(UNIT, "1").await;
    // A mapping where a text belongs: the API server quotes it in its answer.
    let refused = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{ name: login }}\nstringData: {{ password: {{ is: {value} }} }}\n"
    );
    installation.push("a bad secret", &[("deploy/login.yaml", &refused), ("release.yaml", &release("2"))]);
    installation.wait(UNIT, "it is told which object is refused", |status| tells(status, &["Secret/login"])).await;
    for verb in [&["status"][..], &["why", "web"], &["plan"], &["events"]] {
        let told = installation.told(verb);
        assert!(!told.contains(value), "{verb:?}: {told}");
    }
    let log = fs::read_to_string(installation.path("daemon.log")).unwrap();
    assert!(!log.contains(value), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kind_and_an_object_of_it_come_in_one_commit() {
    let Some(namespace) = Namespace::new() else { return };
    // Kinds belong to the whole cluster: this test's own.
    let group = format!("{}.example.org", namespace.name());
    let kind = format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: widgets.{group} }}\nspec:\n  group: {group}\n  \
         scope: Namespaced\n  names: {{ plural: widgets, singular: widget, kind: Widget }}\n  versions:\n    - name: v1\n      served: true\n      \
         storage: true\n      schema: {{ openAPIV3Schema: {{ type: object, properties: {{ spec: {{ type: object, properties: {{ size: {{ type: integer }} }} }} }} }} }}\n"
    );
    let widget = format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{ name: one }}\nspec: {{ size: 3 }}\n");
    let installation = Installation::of("", &[("deploy/kind.yaml", &kind), ("deploy/widget.yaml", &widget)], namespace);
    installation.verified(UNIT, "1").await;
    let one = installation.namespace.object(&format!("widgets.{group}/one"));
    assert_eq!(one["spec"]["size"], 3);
    installation.namespace.must(&["delete", "customresourcedefinition", &format!("widgets.{group}"), "--wait=false"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_a_stateful_set_that_never_ran_keeps_neither_a_fix_nor_a_revert_from_its_pods() {
    let set = |version: &str| {
        let set = deployment(version).replace("kind: Deployment", "kind: StatefulSet");
        set.replace("spec:\n  replicas", "spec:\n  serviceName: web\n  replicas")
    };
    let Some(installation) = Installation::start(&[("deploy/set.yaml", &set("none"))]) else { return };
    let lacks_its_image = |status: &UnitStatus| tells(status, &["pod web-", "web:none"]);
    installation.wait(UNIT, "the first version lacks its image", lacks_its_image).await;
    installation.push("a fix", &[("deploy/set.yaml", &set("2")), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    installation.push("broken", &[("deploy/set.yaml", &set("none")), ("release.yaml", &release("3"))]);
    installation.wait(UNIT, "a later version lacks its image", lacks_its_image).await;
    installation.push("back", &[("deploy/set.yaml", &set("2")), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
}
