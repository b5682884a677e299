//! What is concluded from the source, and what is not.

use trimtab::api::types::{AckRequest, UnitCommand, UnitHealth};

use super::bed::git;
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
    // What is gone is planned no more than it is listed.
    for plan in [bed.told(&["plan"]), bed.told(&["plan", "--rev", "HEAD"])] {
        assert!(plan.contains("nothing is asked for, and nothing is there"), "{plan}");
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resume_and_rollback_work_when_history_was_rewritten_and_the_mirror_cleaned_up() {
    let paused = "{ canary: { steps: [ { weight: 30 }, { pause: {} } ], scaleDownDelay: 500ms } }";
    let mut bed = bed(paused);
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.wait(UNIT, "the canary pauses", |status| super::strategies::share(status, "1.1.0") > 29.0).await;
    let pinned = |bed: &super::bed::Bed| {
        let mirror = bed.path("state/daemon/mirror.git");
        git(&mirror, &["for-each-ref", "--format=%(objectname)", "refs/trimtab/pins"]).lines().count()
    };
    assert_eq!(pinned(&bed), 2, "what is verified and what is effective");
    // Everything is written anew, and nothing of the old is left anywhere but in the pins.
    let clone = bed.clone_dir();
    git(&clone, &["checkout", "-q", "--orphan", "anew"]);
    git(&clone, &["commit", "-q", "-m", "anew"]);
    git(&clone, &["push", "-q", "--force", "origin", "anew:main"]);
    let head = git(&clone, &["rev-parse", "HEAD"]).trim().to_owned();
    bed.has_read(&head).await;
    bed.kill_daemon();
    let mirror = bed.path("state/daemon/mirror.git");
    git(&mirror, &["reflog", "expire", "--expire=now", "--all"]);
    git(&mirror, &["gc", "-q", "--prune=now"]);
    bed.start_daemon();
    bed.wait(UNIT, "the canary is where it was", |status| super::strategies::share(status, "1.1.0") > 29.0).await;
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    bed.verified(UNIT, "1.1.0").await;
    bed.api().ack(&AckRequest::default()).await.unwrap();
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Rollback { to: None }).await.unwrap();
    bed.wait(UNIT, "1.0.0 runs and Git says so", |status| {
        status.health == UnitHealth::InSync
            && status.rollback.is_none()
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
    })
    .await;
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    let log = bed.log();
    assert!(log.len() == 2 && log[0].contains("Roll back web in dev"), "{log:#?}");
    // What nothing leads to any more is let go.
    crate::support::eventually_async(crate::support::PATIENCE, "the rest is unpinned", async || {
        bed.push("nothing", &[("notes.txt", &format!("{}\n", uuid::Uuid::now_v7()))]);
        let count = pinned(&bed);
        if count <= 3 { Ok(()) } else { Err(count.to_string()) }
    })
    .await;
}
