//! A push becomes objects, healthy and verified; a bad one is taken back by one commit that tells the cause.

use trimtab::api::types::{UnitHealth, UnitStatus};

use super::documents::{SERVICE, UNIT, config, deployment, release};
use super::installation::Installation;

fn image(installation: &Installation) -> String {
    let deployment = installation.namespace.object("deployment/web");
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
}

fn start() -> Option<Installation> {
    let (deployment, settings) = (deployment("1"), config("settings", "one"));
    let manifests =
        [("deploy/web.yaml", &*deployment), ("deploy/service.yaml", SERVICE), ("deploy/config.yaml", &settings)];
    Installation::start(&manifests)
}

/// Releases a version, whose Deployment is this.
fn push(installation: &Installation, version: &str, deployment: &str) {
    installation.push(version, &[("deploy/web.yaml", deployment), ("release.yaml", &release(version))]);
}

async fn rolled_back(installation: &Installation) -> UnitStatus {
    installation
        .wait(UNIT, "it went back, and the revert is adopted", |status| {
            let back = status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack");
            let candidate = status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1");
            back && candidate && status.rollback.is_none() && status.health == UnitHealth::InSync
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_becomes_objects_that_are_healthy_and_verified() {
    let Some(installation) = start() else { return };
    let status = installation.verified(UNIT, "1").await;
    assert_eq!(status.replicas, 3, "{status:#?}");
    let ids: Vec<_> = status.groups.iter().flat_map(|group| &group.instances).map(|one| one.id.as_str()).collect();
    for id in ["ConfigMap/settings", "Service/web", "Deployment.apps/web"] {
        assert!(ids.contains(&id), "{id} in {ids:?}");
    }
    let web = installation.namespace.object("deployment/web");
    assert_eq!(web["status"]["readyReplicas"], 2, "{web:#}");
    assert_eq!(image(&installation), "trimtab.test/web:1");
    assert_eq!(installation.cli(&["plan"]).status.code(), Some(0), "nothing to do: {}", installation.told(&["plan"]));

    push(&installation, "2", &deployment("2"));
    installation.verified(UNIT, "2").await;
    assert_eq!(image(&installation), "trimtab.test/web:2");
    let (status, why) = (installation.told(&["status"]), installation.told(&["why", "web"]));
    assert!(status.contains("web") && status.contains("in sync"), "{status}");
    assert!(why.contains("what Git asks for runs"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_does_not_exist_is_taken_back_by_one_commit_with_its_cause() {
    let Some(installation) = start() else { return };
    installation.verified(UNIT, "1").await;
    // The cluster itself gives up on it before trimtab's deadline.
    let bad = deployment("none").replace("replicas: 2", "replicas: 2\n  progressDeadlineSeconds: 10");
    push(&installation, "2", &bad);
    let status = rolled_back(&installation).await;
    let reason = status.rollout.as_ref().and_then(|rollout| rollout.summary.reason.clone()).unwrap_or_default();
    assert!(reason.contains("ImagePull") && reason.contains("trimtab.test/web:none"), "{reason}");
    let log = installation.log();
    assert_eq!(log.len(), 3, "one commit more than was pushed: {log:#?}");
    assert_eq!(image(&installation), "trimtab.test/web:1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_loop_is_taken_back_with_its_last_words() {
    let Some(installation) = start() else { return };
    installation.verified(UNIT, "1").await;
    push(&installation, "2", &deployment("1").replace("trimtab.test/web:1", "trimtab.test/crash:1"));
    let status = rolled_back(&installation).await;
    let reason = status.rollout.as_ref().and_then(|rollout| rollout.summary.reason.clone()).unwrap_or_default();
    assert!(reason.contains("no such database: orders"), "{reason}");
    assert_eq!(installation.log().len(), 3);
    assert_eq!(image(&installation), "trimtab.test/web:1");
}
