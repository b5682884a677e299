//! The daemon killed in the middle, its state lost, the API server gone for a while: nothing is deployed twice, nothing lost.

use std::fs;

use trimtab::api::types::{UnitHealth, UnitStatus};

use super::cluster::Namespace;
use super::control_plane::ControlPlane;
use super::documents::{SERVICE, UNIT, config, deployment, release};
use super::installation::Installation;
use crate::support::{PATIENCE, eventually};

fn start() -> Option<Installation> {
    Installation::start(&[("deploy/web.yaml", &deployment("1")), ("deploy/service.yaml", SERVICE)])
}

/// The generation of the Deployment: how often its spec was changed.
fn generation(installation: &Installation) -> i64 {
    installation.namespace.object("deployment/web")["metadata"]["generation"].as_i64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_goes_on_where_it_was() {
    let Some(mut installation) = start() else { return };
    installation.verified(UNIT, "1").await;
    installation.push("second", &[("deploy/web.yaml", &deployment("2")), ("release.yaml", &release("2"))]);
    eventually(PATIENCE, "the new version is applied", || {
        let web = installation.namespace.object("deployment/web");
        web["spec"]["template"]["spec"]["containers"][0]["image"] == "trimtab.test/web:2"
    });
    installation.kill_daemon();
    installation.start_daemon();
    installation.verified(UNIT, "2").await;
    assert_eq!(generation(&installation), 2, "applied once for each version");
    assert_eq!(installation.log().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_state_is_found_again_in_the_cluster() {
    let Some(mut installation) = start() else { return };
    installation.verified(UNIT, "1").await;
    let before = installation.namespace.object("deployment/web")["metadata"]["uid"].clone();
    installation.kill_daemon();
    fs::remove_dir_all(installation.path("state/daemon")).unwrap();
    installation.start_daemon();
    installation.verified(UNIT, "1").await;
    let after = installation.namespace.object("deployment/web");
    assert_eq!(after["metadata"]["uid"], before);
    assert_eq!(generation(&installation), 1, "not applied again: {after:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_while_the_api_server_is_down_is_applied_when_it_is_back() {
    if std::env::var_os("TRIMTAB_BED_KUBERNETES").is_none() {
        eprintln!("skipped: no binaries of Kubernetes (tests/run builds them, as root)");
        return;
    }
    let mut control_plane = ControlPlane::start(&["--controllers"]);
    let namespace = Namespace::at(control_plane.kubeconfig());
    let manifests = [("deploy/one.yaml", &*config("one", "a")), ("deploy/two.yaml", &config("two", "b"))];
    let installation = Installation::of("", &manifests, namespace);
    installation.verified(UNIT, "1").await;
    control_plane.stop_api_server();
    installation.push(
        "second",
        &[("deploy/one.yaml", &config("one", "c")), ("deploy/two.yaml", ""), ("release.yaml", &release("2"))],
    );
    let down = |status: &UnitStatus| status.health != UnitHealth::InSync && status.message.contains("default");
    installation.wait(UNIT, "it is told that the cluster is down", down).await;
    control_plane.start_api_server();
    installation.verified(UNIT, "2").await;
    assert_eq!(installation.namespace.object("configmap/one")["data"]["word"], "c");
    assert!(installation.namespace.get("configmap/two").is_err_and(|error| error.contains("NotFound")));
    assert_eq!(installation.log().len(), 2, "a cluster that is down is no bad release");
}
