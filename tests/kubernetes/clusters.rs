//! Clusters and namespaces that are not there: what is on them waits, with the reason, and nothing else does.

use trimtab::api::types::{UnitHealth, UnitStatus};

use super::cluster::Namespace;
use super::documents::{UNIT, config, environment, release};
use super::installation::{Installation, tells};
use super::proxy::{Answer, Proxy};
use crate::support::{PATIENCE, eventually};

const FAR: &str = "web/far/default";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_down_holds_only_its_own_units() {
    let (Some(namespace), Some(far)) = (Namespace::new(), Namespace::new()) else { return };
    let proxy = Proxy::before(far.kubeconfig()).await;
    proxy.answer(|_| Some(Answer::Failure(503, None)));
    let settings = config("settings", "one");
    let mut installation = Installation::of("", &[("deploy/settings.yaml", &settings)], namespace);
    installation.kill_daemon();
    let other = format!("[kubernetes.clusters.other]\nkubeconfig = '{}'\n[router]", proxy.kubeconfig().display());
    installation.configure("[router]", &other);
    installation.start_daemon();
    let place = environment(far.name())
        .replace("name: dev", "name: far")
        .replace("kubernetes: {", "kubernetes: { cluster: other,");
    let far_release = |version: &str| release(version).replace("environment: dev", "environment: far");
    installation.push("a second cluster", &[("far.yaml", &place), ("release-far.yaml", &far_release("1"))]);
    let told = |status: &UnitStatus| {
        status.health == UnitHealth::Unknown && tells(status, &["cluster other", "the proxy says 503"])
    };
    installation.wait(FAR, "it is told that its cluster is down", told).await;
    installation.verified(UNIT, "1").await;
    installation
        .push("second", &[("deploy/settings.yaml", &config("settings", "two")), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    assert!(far.get("configmap/settings").is_err_and(|error| error.contains("NotFound")));

    proxy.pass_on();
    installation.verified(FAR, "1").await;
    assert_eq!(far.object("configmap/settings")["data"]["word"], "two");
    proxy.answer(|_| Some(Answer::Failure(503, None)));
    proxy.cut();
    installation.wait(FAR, "it is told again", |status| status.health == UnitHealth::Unknown).await;
    installation
        .push("third", &[("deploy/settings.yaml", &config("settings", "three")), ("release.yaml", &release("3"))]);
    installation.verified(UNIT, "3").await;
    assert_eq!(far.object("configmap/settings")["data"]["word"], "two");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_hangs_in_its_end_is_waited_for_and_made_again() {
    let Some(namespace) = Namespace::new() else { return };
    let own = format!("{}-own", namespace.name());
    let manifests = [
        ("env.yaml", &*environment(&own)),
        ("deploy/namespace.yaml", &format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {own} }}\n")),
        ("deploy/settings.yaml", &config("settings", "one")),
    ];
    let installation = Installation::of("", &manifests, namespace);
    installation.verified(UNIT, "1").await;
    let namespace = &installation.namespace;
    let there = |arguments: &[&str]| namespace.kubectl(&[arguments, &["--namespace", &own]].concat());
    let uid = || namespace.object(&format!("namespace/{own}"))["metadata"]["uid"].clone();
    let before = uid();
    // Something of somebody else's does not let it go.
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: held, finalizers: [example.org/held] }\n";
    namespace.pipe(&["apply", "--namespace", &own, "--filename", "-"], held).unwrap();
    namespace.must(&["delete", "namespace", &own, "--wait=false"]);
    let told = |status: &UnitStatus| {
        status.health != UnitHealth::InSync
            && (tells(status, &[&own, "being deleted"]) || tells(status, &[&own, "being terminated"]))
    };
    installation.wait(UNIT, "it is told what it waits for", told).await;
    assert_eq!(uid(), before);
    there(&["patch", "configmap/held", "--type", "merge", "--patch", r#"{"metadata":{"finalizers":null}}"#]).unwrap();
    eventually(PATIENCE, "its settings are there again", || there(&["get", "configmap/settings"]));
    installation.verified(UNIT, "1").await;
    assert_ne!(uid(), before);
    assert_eq!(installation.log().len(), 1);
    namespace.must(&["delete", "namespace", &own, "--wait=false"]);
}
