//! Whoever argues with a rollback: nothing is guessed, the bad state stays out, and no two of them push for ever.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use trimtab::api::operations::UnitFilter;
use trimtab::api::types::UnitHealth;

use crate::e2e::bed::{Bed, git};
use crate::e2e::documents::{BROKEN, UNIT, app, bed, environment, release, web};

/// It is held for its quarantine, with nothing of a rollback open, and what was verified serves.
async fn frozen(bed: &Bed) {
    let status = bed
        .wait(UNIT, "the revision is frozen", |status| {
            status.health == UnitHealth::Held && status.rollback.is_none() && status.held[0].reason == "quarantined"
        })
        .await;
    assert!(status.groups.iter().all(|group| group.version == "1.0.0"), "{status:#?}");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
}

async fn reverted(bed: &Bed) {
    bed.wait(UNIT, "it is reverted", |status| {
        status.health == UnitHealth::InSync
            && status.rollback.is_none()
            && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_40_a_revert_of_the_revert_is_held() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    bed.push("bad", &[("release.yaml", &web("2.0.0", BROKEN))]);
    reverted(&bed).await;
    let clone = bed.clone_dir();
    git(&clone, &["pull", "-q", "--rebase", "origin", "main"]);
    git(&clone, &["revert", "--no-edit", "HEAD"]);
    git(&clone, &["push", "-q", "origin", "HEAD:main"]);
    frozen(&bed).await;
    // A fix on top of it is taken.
    bed.push("fix", &[("release.yaml", &web("2.0.1", ""))]);
    bed.verified(UNIT, "2.0.1").await;
    assert_eq!(bed.log().len(), 5, "{:#?}", bed.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_40_a_bot_that_answers_every_revert_is_answered_once() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    // The repository itself bumps again, before anybody can fetch the revert alone.
    let hook = bed.repo().join("hooks/post-receive");
    let script = "#!/bin/sh\nread -r _ new _\ngit log -1 --format=%B \"$new\" | grep -q ^Rollback-Id: || exit 0\n\
                  bump=$(GIT_AUTHOR_NAME=bot GIT_AUTHOR_EMAIL=b@x GIT_COMMITTER_NAME=bot GIT_COMMITTER_EMAIL=b@x \
                  git commit-tree -m bump -p \"$new\" \"$new~1^{tree}\") && git update-ref refs/heads/main \"$bump\"\n";
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    bed.push("bad", &[("release.yaml", &web("2.0.0", BROKEN))]);
    frozen(&bed).await;
    // It goes on bumping to the very same, in commits of its own.
    for number in 0..3 {
        bed.push("bump", &[("notes.txt", &format!("{number}\n"))]);
        bed.api().reconcile(&UnitFilter::default()).await.unwrap();
        frozen(&bed).await;
    }
    let log = bed.log();
    let reverts = log.iter().filter(|line| line.contains("Roll back web in dev")).count();
    assert_eq!((reverts, log.len()), (1, 7), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_40_a_bot_that_always_finds_something_new_meets_the_storm_guard() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    // Each one is another state, so that no quarantine holds it.
    for number in 1..=3 {
        bed.push("bump", &[("release.yaml", &web(&format!("2.0.{number}"), BROKEN))]);
        bed.wait(UNIT, "it is reverted", |status| {
            status.health == UnitHealth::InSync && status.rollback.is_none() && bed.log().len() == 1 + 2 * number
        })
        .await;
    }
    bed.push("bump", &[("release.yaml", &web("2.0.4", BROKEN))]);
    let status = bed.wait(UNIT, "it stops and tells", |status| status.health == UnitHealth::Stuck).await;
    assert!(status.message.contains("rolled back") || status.message.contains("rollbacks"), "{}", status.message);
    assert_eq!(bed.log().len(), 8, "{:#?}", bed.log());
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_40_a_revert_that_would_change_others_is_not_guessed() {
    let script = |test: &str| {
        format!("apiVersion: trimtab/v1\nkind: Script\nmetadata: {{ name: check }}\nspec: {{ run: '{test}' }}\n")
    };
    let text =
        app("web", "rolling") + "  hooks: { before: [{ script: check, idempotent: true, onRollback: nothing }] }\n";
    let version = |version: &str| {
        format!("{}---\n{}", release("web", "dev", version, ""), release("web", "staging", version, ""))
    };
    let (fine, releases) = (script("true"), version("1.0.0"));
    let (dev, staging) = (environment("dev"), environment("staging"));
    let bed = Bed::new(&[
        ("dev.yaml", &dev),
        ("staging.yaml", &staging),
        ("app.yaml", &text),
        ("script.yaml", &fine),
        ("releases.yaml", &releases),
    ])
    .start();
    for unit in [UNIT, "web/staging/default"] {
        bed.verified(unit, "1.0.0").await;
    }
    let fails = script("test {{ environment }} = dev");
    bed.push("fails in staging", &[("script.yaml", &fails), ("releases.yaml", &version("1.1.0"))]);
    bed.verified(UNIT, "1.1.0").await;
    // A Release sets what an App says, and nothing of what a Script does.
    let held = bed
        .wait("web/staging/default", "it waits for people", |status| {
            status.rollback.as_ref().is_some_and(|rollback| rollback.message.contains("nothing that a Release can set"))
        })
        .await;
    assert_eq!(bed.log().len(), 2, "{:#?}", bed.log());
    let rollback = held.rollback.unwrap();
    assert!(rollback.message.contains("Script check in script.yaml"), "{}", rollback.message);
    let told = bed.told(&["why", "web", "-e", "staging"]);
    for text in [rollback.reason.as_str(), rollback.message.as_str()] {
        assert_eq!(told.matches(text).count(), 1, "{text} in {told}");
    }
    assert!(told.find(&rollback.reason) < told.find(&rollback.message), "{told}");
}
