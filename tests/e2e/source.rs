//! What is concluded from the source, and what is not.

use super::documents::{UNIT, bed, web};

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
