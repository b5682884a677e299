//! Each strategy on real processes, with a client that counts every request.

use std::time::Duration;

use trimtab::api::types::{UnitCommand, UnitStatus};
use trimtab::load::{Load, Plan};

use super::bed::Bed;
use super::documents::{UNIT, bed, web};

pub fn load(bed: &Bed) -> Load {
    Load::start(Plan::new(([127, 0, 0, 1], bed.port), "web.dev.localhost", 50.0))
}

/// The share of a version in percent, as the router read it back.
pub fn share(status: &UnitStatus, version: &str) -> f64 {
    status.groups.iter().filter(|group| group.version == version).filter_map(|group| group.share).sum()
}

async fn replaces_without_loss(strategy: &str) {
    let bed = bed(strategy);
    bed.verified(UNIT, "1.0.0").await;
    let load = load(&bed);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    let report = load.stop().await;
    assert_eq!(report.lost(), 0, "{report}");
    assert_eq!(report.errors(), 0, "{report}");
    assert!(report.versions.contains_key("1.1.0"), "{report}");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_loses_no_request() {
    replaces_without_loss("rolling").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_holds_requests_and_loses_none() {
    replaces_without_loss("{ recreate: { hold: 20s } }").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blue_green_loses_no_request() {
    replaces_without_loss("{ blueGreen: { scaleDownDelay: 1s } }").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canary_loses_no_request() {
    replaces_without_loss(
        "{ canary: { steps: [ { weight: 20 }, { analysis: errors }, { weight: 60 } ], scaleDownDelay: 1s } }",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aborted_canary_goes_back_without_loss_and_is_not_tried_again_by_itself() {
    let bed = bed("{ canary: { steps: [ { weight: 30 }, { pause: {} } ] } }");
    bed.verified(UNIT, "1.0.0").await;
    let load = load(&bed);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.wait(UNIT, "the canary has its share", |status| share(status, "1.1.0") > 29.0).await;
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Abort {}).await.unwrap();
    let status = bed
        .wait(UNIT, "the canary is gone and held", |status| {
            status.groups.len() == 1 && status.held.iter().any(|held| held.reason == "aborted")
        })
        .await;
    assert_eq!(share(&status, "1.0.0"), 100.0);
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
    assert_eq!(bed.log().len(), 2, "an abort does not touch Git");
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Retry {}).await.unwrap();
    bed.wait(UNIT, "the canary is there again", |status| share(status, "1.1.0") > 29.0).await;
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    bed.verified(UNIT, "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_fails_its_analysis_goes_back_at_once() {
    let bed = bed("{ canary: { steps: [ { weight: 30 }, { analysis: errors } ] } }");
    bed.verified(UNIT, "1.0.0").await;
    let load = load(&bed);
    let failing = format!(
        "  set: {{ workload: {{ process: {{ command: [{}, demo-app, --port, \"{{{{ port }}}}\", --version, \"{{{{ version }}}}\", --fail-rate, \"0.5\"] }} }} }}\n",
        crate::support::TRIMTAB
    );
    bed.push("bad", &[("release.yaml", &web("2.0.0", &failing))]);
    bed.wait(UNIT, "the revert is adopted", |status| {
        status.rollback.is_none()
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
            && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
    })
    .await;
    tokio::time::timeout(Duration::from_secs(30), bed.verified(UNIT, "1.0.0")).await.unwrap();
    let report = load.stop().await;
    assert_eq!(report.lost(), 0, "{report}");
    assert_eq!(report.versions["1.0.0"].errors, 0, "{report}");
    assert!(bed.log()[0].contains("Roll back web in dev"));
    assert_eq!(bed.log().len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_replaces_every_instance_without_loss() {
    let bed = bed("rolling");
    let before = bed.verified(UNIT, "1.0.0").await;
    let load = load(&bed);
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Restart {}).await.unwrap();
    bed.wait(UNIT, "another group runs", |status| {
        status.groups.len() == 1
            && status.groups[0].group != before.groups[0].group
            && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "verified")
    })
    .await;
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
}
