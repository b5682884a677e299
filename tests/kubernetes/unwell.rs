//! Whose pods are asked for, and how often: what rests, or has ended, is left in peace.

use serde_json::{Value, json};
use trimtab::domain::observed::ObservedGroup;

use super::adapter::{Bed, request};
use super::proxy::Proxy;
use crate::support::{PATIENCE, eventually_async};

fn pods(name: &str) -> Value {
    let labels = json!({ "app": name });
    let container = json!({ "name": "main", "image": "main:1" });
    json!({ "metadata": { "labels": labels }, "spec": { "restartPolicy": "Always", "containers": [container] } })
}

fn deployment(name: &str, paused: bool) -> Value {
    let selector = json!({ "matchLabels": { "app": name } });
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name },
        "spec": { "paused": paused, "selector": selector, "template": pods(name) } })
}

fn job() -> Value {
    let mut template = pods("ended");
    template["spec"]["restartPolicy"] = "Never".into();
    json!({ "template": template })
}

/// The last word of a Job's controller, which is not here.
fn failed() -> String {
    let is = |kind: &str| json!({ "type": kind, "status": "True", "reason": "BackoffLimitExceeded" });
    let status =
        json!({ "failed": 1, "startTime": "2026-01-01T00:00:00Z", "conditions": [is("FailureTarget"), is("Failed")] });
    json!({ "status": status }).to_string()
}

/// How often the pods of the waiting Deployment, of the paused one and of the Job were asked for.
fn asked(proxy: &Proxy) -> [usize; 3] {
    let all = proxy.asked();
    ["waiting", "paused", "controller-uid"].map(|of| {
        let pods = all.iter().filter(|asked| asked.path.contains("/pods?") && asked.path.contains(of));
        pods.count()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_what_rests_or_has_ended_are_not_asked_for_again_and_again() {
    let Some((bed, proxy)) = Bed::behind_a_proxy().await else { return };
    bed.must(&["create", "namespace", "shop"]);
    let cron = json!({ "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "nightly" },
        "spec": { "schedule": "0 3 * * *", "suspend": true, "jobTemplate": { "spec": job() } } });
    let ended = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "ended" }, "spec": job() });
    let objects = json!([cron, deployment("paused", true), deployment("waiting", false), ended]);
    let wanted = request("web", "1", "shop", objects);
    bed.ensure(1, &wanted).await.unwrap();
    bed.must(&["patch", "-n", "shop", "job/ended", "--subresource=status", "--type=merge", "-p", &failed()]);
    let has_failed = |group: &ObservedGroup| group.instances.iter().any(|one| one.given_up);
    bed.until(&wanted, "the failure is known", has_failed).await;
    // The one that is not well is looked at for as long: it tells that time has passed.
    let rounds = async || {
        let before = asked(&proxy)[0];
        eventually_async(PATIENCE, "it is looked at again and again", || async {
            let now = asked(&proxy)[0];
            if now >= before + 3 { Ok(()) } else { Err(format!("{now} after {before}")) }
        })
        .await;
    };
    rounds().await;
    let [_, paused, over] = asked(&proxy);
    assert!(over >= 1, "a Job that has failed is looked at once");
    rounds().await;
    assert_eq!(asked(&proxy)[1..], [paused, over]);
    assert_eq!(paused, 0);
}
