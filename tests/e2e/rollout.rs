//! A push becomes a rollout, and a bad one a revert.

use trimtab::api::types::UnitHealth;

use super::documents::{BROKEN, UNIT, bed, web};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_rolls_out_and_a_second_one_replaces_it() {
    let bed = bed("rolling");
    let status = bed.verified(UNIT, "1.0.0").await;
    assert_eq!(status.groups.len(), 1);
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_version_becomes_one_revert_that_is_adopted() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    bed.push("bad", &[("release.yaml", &web("2.0.0", BROKEN))]);
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
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    let history = bed.api().history(&UNIT.parse().unwrap(), 10).await.unwrap();
    let told: Vec<_> = history.iter().map(|past| past.status.as_str()).collect();
    assert_eq!(told, ["rolledBack", "verified"]);
    let commits: Vec<_> = history.iter().map(|past| past.revision.as_ref().unwrap().to_string()).collect();
    assert_eq!(commits, [log[1].split_once(' ').unwrap().0, log[2].split_once(' ').unwrap().0], "{log:#?}");
}
