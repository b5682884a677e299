//! A push becomes a rollout, and a bad one a revert.

use trimtab::api::types::UnitHealth;

use super::bed::Bed;
use crate::support::TRIMTAB;

const UNIT: &str = "web/dev/default";

fn environment() -> String {
    "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: dev }\nspec:\n  platform: { host: {} }\n  \
     listeners: { web: { address: 127.0.0.1:{PORT} } }\n"
        .into()
}

fn app(strategy: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: web }}\nspec:\n  replicas: 2\n  workload:\n    process:\n      \
         command: [{TRIMTAB}, demo-app, --port, \"{{{{ port }}}}\", --version, \"{{{{ version }}}}\"]\n  \
         route: {{ listener: web, host: web.localhost, drain: 2s }}\n  \
         health: {{ http: {{ path: /healthz, interval: 100ms, healthyAfter: 1, unhealthyAfter: 2 }}, within: 10s }}\n  \
         strategy: {strategy}\n  rollback: {{ on: [unhealthy, analysis, hook], window: 1s }}\n"
    )
}

fn release(version: &str, set: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: web, environment: dev }}\nspec:\n  version: {version}\n{set}"
    )
}

fn bed(strategy: &str) -> Bed {
    let files = [("env.yaml", environment()), ("app.yaml", app(strategy)), ("release.yaml", release("1.0.0", ""))];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    Bed::new(&files).start()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_rolls_out_and_a_second_one_replaces_it() {
    let bed = bed("rolling");
    let status = bed.verified(UNIT, "1.0.0").await;
    assert_eq!(status.groups.len(), 1);
    assert_eq!(bed.get("web.localhost").await.unwrap().1, "1.0.0");
    bed.push("second", &[("release.yaml", &release("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    assert_eq!(bed.get("web.localhost").await.unwrap().1, "1.1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_version_becomes_one_revert_that_is_adopted() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let bad = "  set: { workload: { process: { command: [/bin/false] } } }\n";
    bed.push("bad", &[("release.yaml", &release("2.0.0", bad))]);
    bed.wait(UNIT, "the revert is on the branch and adopted", |status| {
        status.health == UnitHealth::InSync
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
            && status.rollback.is_none()
            && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
    })
    .await;
    let log = bed.log();
    assert_eq!(log.len(), 3, "{log:#?}");
    assert!(log[0].contains("Roll back web in dev"), "{log:#?}");
    assert_eq!(bed.get("web.localhost").await.unwrap().1, "1.0.0");
    let history = bed.api().history(&UNIT.parse().unwrap(), 10).await.unwrap();
    let told: Vec<_> = history.iter().map(|past| past.status.as_str()).collect();
    assert_eq!(told, ["rolledBack", "verified"]);
}
