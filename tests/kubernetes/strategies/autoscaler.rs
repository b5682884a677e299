//! Autoscalers beside versions: what they make of a version is neither fought nor mistaken for trouble.

use trimtab::api::types::UnitStatus;

use super::{alone, app, ended, group_of, push, selected, waits, web};
use crate::kubernetes::documents::{SERVICE, UNIT};
use crate::kubernetes::installation::Installation;
use crate::support::{PATIENCE, eventually};

const HPA: &str = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: { name: web }\nspec:\n  minReplicas: 2\n  \
                   maxReplicas: 6\n  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }\n";

/// As an autoscaler does it, without metrics to do it by.
fn scale(installation: &Installation, group: &str, pods: u32) -> Result<String, String> {
    let (deployment, pods) = (format!("deployment/web-{group}"), pods.to_string());
    installation.namespace.kubectl(&["scale", &deployment, "--replicas", &pods])
}

fn replicas(installation: &Installation, group: &str) -> u64 {
    let deployment = installation.namespace.object(&format!("deployment/web-{group}"));
    deployment["spec"]["replicas"].as_u64().unwrap_or_default()
}

/// argo-rollouts 4973 and 1415 (an autoscaler's event revives what was called off, or the stable version goes to nothing), flagger 944
/// (growth that has yet to come up counts as failed progress), pipecd 5027 and 3565 (numbers in Git fight the autoscaler).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn growth_is_no_failed_progress_and_what_was_called_off_is_not_revived() {
    let app = app("{ blueGreen: { promote: manual, scaleDownDelay: 1s } }");
    let quick = |version: &str| web(version).replace("  replicas: 2", "  replicas: 2\n  progressDeadlineSeconds: 5");
    let first = quick("1");
    let files =
        [("app.yaml", &*app), ("deploy/web.yaml", &first), ("deploy/service.yaml", SERVICE), ("deploy/hpa.yaml", HPA)];
    let Some(installation) = Installation::start(&files) else { return };
    installation.verified(UNIT, "1").await;
    let stable = selected(&installation, "web");
    scale(&installation, &stable, 3).unwrap();
    installation.namespace.must(&["create", "quota", "small", "--hard=pods=7"]);
    push(&installation, "2", &quick("2"));
    let preview = installation.wait(UNIT, "the preview waits", |status| waits(status, "2")).await;
    let called_off = group_of(&preview, "2");
    assert_eq!((replicas(&installation, &stable), replicas(&installation, &called_off)), (3, 3));
    // More than there is room for: these never come up.
    scale(&installation, &called_off, 6).unwrap();
    let stalled = || {
        let deployment = installation.namespace.object(&format!("deployment/web-{called_off}"));
        let conditions = deployment["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "ReplicaFailure" && one["status"] == "True")
    };
    eventually(PATIENCE, "there is no room for so many", stalled);
    let still = |status: &UnitStatus| waits(status, "2") && status.rollout.is_some();
    installation.wait(UNIT, "the preview waits on", still).await;

    installation.told(&["rollout", "abort", "web"]);
    // It comes too late, or while the version is on its way out: either is in vain.
    let _ = scale(&installation, &called_off, 5);
    installation.wait(UNIT, "it was aborted", |status| ended(status, "aborted")).await;
    assert_eq!((alone(&installation), selected(&installation, "web")), (format!("web-{stable}"), stable.clone()));
    assert_eq!(replicas(&installation, &stable), 3, "neither nothing nor what Git says");

    installation.told(&["rollout", "retry", "web"]);
    installation.wait(UNIT, "the preview is there again", |status| waits(status, "2")).await;
    installation.told(&["rollout", "promote", "web"]);
    installation.verified(UNIT, "2").await;
    assert_eq!((alone(&installation), replicas(&installation, &called_off)), (format!("web-{called_off}"), 3));
}
