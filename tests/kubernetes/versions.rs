//! Two versions side by side on a real cluster, behind a Service. Under requests: see `strategies::lossless`.

use std::fs;

use serde_json::Value;
use trimtab::api::types::{UnitHealth, UnitStatus};

use super::documents::{SERVICE, UNIT, config, release};
use super::installation::Installation;
use super::strategies::{alone, app, deployments, group_of, push, selected, start, waits, web, went_back};
use crate::support::{PATIENCE, eventually};

const QUICK: &str = "{ blueGreen: { scaleDownDelay: 1s } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_that_fails_never_has_requests_and_is_taken_back() {
    let Some(installation) = start(QUICK, &web("1")) else { return };
    installation.verified(UNIT, "1").await;
    let (first, led) = (alone(&installation), selected(&installation, "web"));
    push(&installation, "2", &web("none").replace("replicas: 2", "replicas: 2\n  progressDeadlineSeconds: 10"));
    let status = went_back(&installation, "1").await;
    let reason = status.rollout.as_ref().and_then(|rollout| rollout.summary.reason.clone()).unwrap_or_default();
    assert!(reason.contains("ImagePull") && reason.contains("trimtab.test/web:none"), "{reason}");
    assert_eq!(installation.log().len(), 3, "one commit more than was pushed");
    assert_eq!((alone(&installation), selected(&installation, "web")), (first, led));
    assert!(installation.namespace.get("service/web-preview").is_err_and(|error| error.contains("NotFound")));
}

/// argo-rollouts 1690, 4694 and 720; a newer revision replaces an unpromoted preview.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_waits_through_a_kill_and_gives_way_to_a_newer_commit() {
    let manual = "{ blueGreen: { promote: manual, scaleDownDelay: 1s } }";
    let Some(mut installation) = start(manual, &web("1")) else { return };
    installation.verified(UNIT, "1").await;
    let first = selected(&installation, "web");
    push(&installation, "2", &web("2"));
    let before = installation.wait(UNIT, "the preview waits", |status| waits(status, "2")).await;
    assert_eq!(selected(&installation, "web-preview"), group_of(&before, "2"));
    installation.kill_daemon();
    installation.start_daemon();
    let after = installation.wait(UNIT, "it waits on", |status| waits(status, "2")).await;
    let rollout = |status: &UnitStatus| status.rollout.as_ref().map(|rollout| rollout.summary.id.clone());
    assert_eq!(rollout(&after), rollout(&before));
    push(&installation, "3", &web("3"));
    let newer = installation.wait(UNIT, "the newer preview waits", |status| waits(status, "3")).await;
    assert_eq!(selected(&installation, "web-preview"), group_of(&newer, "3"));
    assert_eq!(selected(&installation, "web"), first, "the switch has not come");
    assert_eq!(deployments(&installation).len(), 2, "the second version is gone");
    let promoted = installation.told(&["rollout", "promote", "web"]);
    installation.verified(UNIT, "3").await;
    assert_eq!(alone(&installation), format!("web-{}", selected(&installation, "web")), "{promoted}");
}

/// argo-rollouts 4973, 1415 and pipecd 5027.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_autoscaler_is_kept_with_its_version_and_never_fought() {
    let hpa = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: { name: web }\nspec:\n  minReplicas: 2\n  \
               maxReplicas: 5\n  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }\n";
    let pdb = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: { name: web }\nspec:\n  maxUnavailable: 1\n  \
               selector: { matchLabels: { app: web } }\n";
    let app = app(QUICK);
    let without = |version: &str| web(version).replace("  replicas: 2\n", "");
    let first = without("1");
    let manifests = [
        ("app.yaml", &*app),
        ("deploy/web.yaml", &first),
        ("deploy/service.yaml", SERVICE),
        ("deploy/hpa.yaml", hpa),
        ("deploy/pdb.yaml", pdb),
    ];
    let Some(installation) = Installation::start(&manifests) else { return };
    installation.verified(UNIT, "1").await;
    let old = alone(&installation);
    let replicas =
        |name: &str| installation.namespace.object(&format!("deployment/{name}"))["spec"]["replicas"].clone();
    let scaler = installation.namespace.object(&format!("hpa/{old}"));
    assert_eq!((&scaler["spec"]["minReplicas"], &scaler["spec"]["maxReplicas"]), (&2.into(), &5.into()));
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], *old);
    assert_eq!(replicas(&old), 2);
    // As an autoscaler does it, without metrics to do it by.
    installation.namespace.must(&["scale", &format!("deployment/{old}"), "--replicas", "3"]);
    let scaled = |status: &UnitStatus| status.health == UnitHealth::InSync && status.groups.len() == 1;
    installation.wait(UNIT, "it is still in sync", scaled).await;
    push(&installation, "2", &without("2"));
    installation.verified(UNIT, "2").await;
    let new = alone(&installation);
    assert_ne!(old, new);
    assert_eq!(replicas(&new), 3, "a new version begins with as many pods as served");
    for kind in ["hpa", "pdb"] {
        let all = installation.namespace.object(kind);
        let names: Vec<_> =
            all["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].clone()).collect();
        assert_eq!(names, [Value::from(new.clone())], "{kind}");
    }
    // Nothing scales up what has none.
    installation.namespace.must(&["scale", &format!("deployment/{new}"), "--replicas", "0"]);
    eventually(PATIENCE, "it has its lower bound again", || replicas(&new) == 2);
    installation.verified(UNIT, "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_are_found_again_after_a_lost_state() {
    let manual = "{ blueGreen: { promote: manual, scaleDownDelay: 1s } }";
    let Some(mut installation) = start(manual, &web("1")) else { return };
    installation.verified(UNIT, "1").await;
    let uid = |name: &str| installation.namespace.object(&format!("deployment/{name}"))["metadata"]["uid"].clone();
    let first = alone(&installation);
    let before = uid(&first);
    installation.kill_daemon();
    fs::remove_dir_all(installation.path("state/daemon")).unwrap();
    installation.start_daemon();
    installation.verified(UNIT, "1").await;
    assert_eq!(alone(&installation), first);
    let after = installation.namespace.object(&format!("deployment/{first}"));
    assert_eq!(after["metadata"]["uid"], before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_versions_share_is_the_newest_s_until_that_one_goes() {
    let manual = "{ blueGreen: { promote: manual, scaleDownDelay: 1s } }";
    let app = app(manual);
    let (deployment, settings) = (web("1"), config("settings", "one"));
    let manifests = [
        ("app.yaml", &*app),
        ("deploy/web.yaml", &deployment),
        ("deploy/service.yaml", SERVICE),
        ("deploy/settings.yaml", &settings),
        ("deploy/old.yaml", &config("old", "one")),
    ];
    let Some(installation) = Installation::start(&manifests) else { return };
    installation.verified(UNIT, "1").await;
    let (deployment, settings, more) = (web("2"), config("settings", "two"), config("more", "two"));
    let second = [
        ("deploy/web.yaml", &*deployment),
        ("deploy/settings.yaml", &settings),
        ("deploy/more.yaml", &more),
        ("deploy/old.yaml", ""),
        ("release.yaml", &release("2")),
    ];
    installation.push("second", &second);
    installation.wait(UNIT, "the preview waits", |status| waits(status, "2")).await;
    let word =
        |name: &str| installation.namespace.get(&format!("configmap/{name}")).map(|one| one["data"]["word"].clone());
    assert_eq!((word("settings"), word("more")), (Ok("two".into()), Ok("two".into())));
    assert_eq!(word("old"), Ok("one".into()), "the old version still needs it");
    installation.told(&["rollout", "abort", "web"]);
    installation.wait(UNIT, "it was aborted", |status| status.groups.len() == 1).await;
    eventually(PATIENCE, "the old version has its settings again", || word("settings") == Ok("one".into()));
    eventually(PATIENCE, "what only the new version had is gone", || word("more").is_err());
    assert_eq!(word("old"), Ok("one".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changes_of_a_version_is_healed_and_all_of_it_leaves_with_its_app() {
    let Some(installation) = start(QUICK, &web("1")) else { return };
    installation.verified(UNIT, "1").await;
    let (name, led) = (alone(&installation), selected(&installation, "web"));
    let deployment = format!("deployment/{name}");
    let replicas = || installation.namespace.get(&deployment).map(|one| one["spec"]["replicas"].clone());
    let plain = r#"{"spec":{"selector":{"trimtab.dev/group":null}}}"#;
    installation.namespace.must(&["patch", "service", "web", "--type", "merge", "--patch", plain]);
    eventually(PATIENCE, "the Service leads to its version again", || selected(&installation, "web") == led);
    installation.namespace.must(&["scale", &deployment, "--replicas", "1"]);
    eventually(PATIENCE, "it has as many pods as asked for again", || replicas() == Ok(2.into()));
    installation.namespace.must(&["delete", &deployment, "--wait=false"]);
    installation
        .wait(UNIT, "it is there again", |status| {
            status.health == UnitHealth::InSync && status.groups.iter().all(|group| group.ready == 2)
        })
        .await;
    eventually(PATIENCE, "it is there again", || replicas() == Ok(2.into()));
    let all = ["app.yaml", "release.yaml", "deploy/web.yaml", "deploy/service.yaml"];
    installation.push("the end", &all.map(|file| (file, "")));
    eventually(PATIENCE, "all of it is gone", || {
        let left = installation.namespace.object("deployments,services,configmaps");
        let ours =
            left["items"].as_array().unwrap().iter().map(|one| one["metadata"]["name"].as_str().unwrap_or_default());
        let ours: Vec<_> = ours.filter(|name| *name != "kube-root-ca.crt").collect();
        if ours.is_empty() { Ok(()) } else { Err(format!("{ours:?}")) }
    });
}
