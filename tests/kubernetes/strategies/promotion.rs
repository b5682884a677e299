//! Promotions that were missed, stuck or in vain elsewhere, and ways back that were no shorter than the way there.

use trimtab::api::types::{UnitHealth, UnitStatus};

use super::{alone, app, break_pods, deployments, group_of, push, selected, start, waits, waits_at, web};
use crate::kubernetes::cluster::Namespace;
use crate::kubernetes::documents::{self, SERVICE, UNIT, release};
use crate::kubernetes::installation::Installation;
use crate::kubernetes::proxy::{Answer, Proxy};
use crate::support::{PATIENCE, eventually};

/// argo-rollouts 4694 (a promotion that is missed), and 3304 (going back to what still runs waits for a promotion); a preview smaller
/// than what it is promoted to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_survives_a_kill_and_what_still_runs_is_gone_back_to_without_one() {
    let strategy = "{ blueGreen: { promote: manual, previewReplicas: 1, scaleDownDelay: 10m } }";
    let Some(mut installation) = start(strategy, &web("1")) else { return };
    installation.verified(UNIT, "1").await;
    let first = selected(&installation, "web");
    push(&installation, "2", &web("2"));
    let preview = installation.wait(UNIT, "the preview waits", |status| waits_at(status, "2", 1)).await;
    let second = group_of(&preview, "2");
    assert_eq!(selected(&installation, "web-preview"), second);
    installation.told(&["rollout", "promote", "web"]);
    installation.kill_daemon();
    installation.start_daemon();
    eventually(PATIENCE, "it has the requests", || selected(&installation, "web") == second);
    let all = installation.namespace.object(&format!("deployment/web-{second}"));
    assert_eq!(all["status"]["readyReplicas"], 2, "it was whole before it had any: {all:#}");
    assert_eq!(deployments(&installation).len(), 2, "the first version stays for its delay");

    push(&installation, "1", &web("1"));
    eventually(PATIENCE, "the first version has them back", || selected(&installation, "web") == first);
    installation
        .wait(UNIT, "it is over", |status| status.health == UnitHealth::InSync && status.groups.len() == 1)
        .await;
    assert_eq!(alone(&installation), format!("web-{first}"));
}

/// argo-rollouts 1774 (a broken stable version holds up a healthy canary); flagger, where the canary is the only healthy copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_stable_version_does_not_hold_up_a_healthy_canary() {
    let canary = "{ canary: { steps: [ { weight: 50 }, { pause: {} } ], scaleDownDelay: 1s } }";
    let Some(installation) = start(canary, &documents::deployment("1")) else { return };
    installation.verified(UNIT, "1").await;
    push(&installation, "2", &documents::deployment("2"));
    let status = installation.wait(UNIT, "the canary waits", |status| waits_at(status, "2", 1)).await;
    break_pods(&installation, &group_of(&status, "1"), "1");
    let broken = |status: &UnitStatus| {
        let stable = status.groups.iter().find(|group| group.version == "1");
        stable.is_some_and(|group| group.ready == 0) && waits(status, "2")
    };
    installation.wait(UNIT, "the stable version is broken, the canary stays", broken).await;
    installation.told(&["rollout", "promote", "web"]);
    installation.verified(UNIT, "2").await;
    assert_eq!(alone(&installation), format!("web-{}", selected(&installation, "web")));
}

/// nomad 14200 and 10882: the revert of a bad version passed the steps and pauses of a canary itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revert_passes_no_steps() {
    let canary = "{ canary: { steps: [ { weight: 50 }, { pause: {} } ], scaleDownDelay: 1s } }";
    let Some(installation) = start(canary, &documents::deployment("1")) else { return };
    installation.verified(UNIT, "1").await;
    let stable = selected(&installation, "web");
    let watched = app(canary).replace("window: 500ms", "window: 10m");
    let second = documents::deployment("2");
    let files = [("app.yaml", &*watched), ("deploy/web.yaml", &second), ("release.yaml", &release("2"))];
    installation.push("second", &files);
    installation.wait(UNIT, "the canary waits", |status| waits_at(status, "2", 1)).await;
    installation.told(&["rollout", "promote", "web", "--full"]);
    installation
        .wait(UNIT, "it is watched alone", |status| status.groups.len() == 1 && status.groups[0].version == "2")
        .await;
    break_pods(&installation, &selected(&installation, "web"), "2");
    installation
        .wait(UNIT, "it went back by itself", |status| {
            status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
                && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1")
                && status.health == UnitHealth::InSync
        })
        .await;
    assert_eq!((alone(&installation), selected(&installation, "web")), (format!("web-{stable}"), stable));
    assert_eq!(installation.log().len(), 3, "one commit more than was pushed");
}

/// argo-rollouts 4073: what was seen long ago was written back, over what others had changed since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_seen_long_ago_is_not_written_back() {
    let Some(namespace) = Namespace::new() else { return };
    let proxy = Proxy::before(namespace.kubeconfig()).await;
    let (app, first) = (app("{ blueGreen: { promote: manual, scaleDownDelay: 1s } }"), web("1"));
    let files = [("app.yaml", &*app), ("deploy/web.yaml", &first), ("deploy/service.yaml", SERVICE)];
    let installation = Installation::through(&proxy.kubeconfig(), "", &files, namespace);
    installation.verified(UNIT, "1").await;
    push(&installation, "2", &web("2"));
    installation.wait(UNIT, "the preview waits", |status| waits(status, "2")).await;
    // From now on it sees no Service change, and all of them do.
    proxy.answer(|asked| asked.watches("/services?").then_some(Answer::Failure(500, None)));
    proxy.cut();
    let edit = r#"{"metadata":{"labels":{"team":"shop"}},"spec":{"sessionAffinity":"ClientIP","selector":{"trimtab.dev/group":"none"}}}"#;
    // What a controller adds is its own; what people add by hand would be taken back.
    let by = "--field-manager=shop-controller";
    installation.namespace.must(&["patch", "service", "web", "--type", "merge", by, "--patch", edit]);
    installation.told(&["rollout", "promote", "web"]);
    proxy.pass_on();
    installation.verified(UNIT, "2").await;
    let service = installation.namespace.object("service/web");
    assert_eq!(format!("web-{}", selected(&installation, "web")), alone(&installation));
    assert_eq!(
        (&service["metadata"]["labels"]["team"], &service["spec"]["sessionAffinity"]),
        (&"shop".into(), &"ClientIP".into())
    );
}
