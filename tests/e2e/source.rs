//! What is concluded from the source, and what is not.

use trimtab::api::types::{AckRequest, UnitHealth};

use super::bed::git;
use super::documents::{UNIT, bed, web};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rewritten_history_changes_nothing_until_somebody_looks() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    git(&bed.repo(), &["update-ref", "refs/heads/main", "main~1"]);
    let status = bed.wait(UNIT, "it is held", |status| status.health == UnitHealth::Held).await;
    assert_eq!(status.held[0].reason, "historyRewritten");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0");
    bed.api().ack(&AckRequest::default()).await.unwrap();
    bed.verified(UNIT, "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_branch_removes_nothing() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    git(&bed.repo(), &["update-ref", "-d", "refs/heads/main"]);
    crate::support::eventually_async(crate::support::PATIENCE, "the loss is told", async || {
        bed.api().daemon().await.ok().and_then(|daemon| daemon.source_error)
    })
    .await;
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    assert_eq!(bed.unit(UNIT).await.unwrap().health, UnitHealth::InSync);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_release_removes_the_app_and_an_unreadable_file_does_not() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    bed.push("unreadable", &[("release.yaml", "apiVersion: trimtab/v1\nkind: [\n")]);
    let status = bed.wait(UNIT, "the error is told", |status| !status.held.is_empty()).await;
    assert_eq!(status.held[0].reason, "configError", "{status:#?}");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    bed.push("gone", &[("release.yaml", "")]);
    crate::support::eventually_async(crate::support::PATIENCE, "it is gone", async || match bed.unit(UNIT).await {
        Err(_) => Ok(()),
        Ok(status) => Err(format!("{status:#?}")),
    })
    .await;
    assert!(bed.get("web.dev.localhost").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_adopted_when_the_daemons_state_is_lost() {
    let mut bed = bed("rolling");
    let before = bed.verified(UNIT, "1.0.0").await;
    bed.kill_daemon();
    std::fs::remove_dir_all(bed.path("state/daemon")).unwrap();
    // The epochs begin anew with the store: router and supervisor must be told of a higher one, as after a restored backup.
    bed.start_daemon();
    let after = bed.verified(UNIT, "1.0.0").await;
    assert_eq!(before.groups[0].instances, after.groups[0].instances);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
}
