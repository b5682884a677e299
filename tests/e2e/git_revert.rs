//! Rollback as a Git revert: exact, once, with Git down, against a protected branch, and by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use trimtab::api::types::{QuarantineClear, UnitCommand, UnitHealth};

use super::bed::{Bed, git};
use super::documents::{BROKEN, UNIT, app, bed, environment, release, web};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_digest_changes_while_others_push() {
    let documents = [
        ("env/dev.yaml", environment("dev")),
        ("env/staging.yaml", environment("staging")),
        ("env/production.yaml", environment("production")),
        ("apps/web.yaml", app("web", "rolling")),
        ("apps/api.yaml", app("api", "rolling")),
        // All releases of an app in one file: only one document may be put back.
        ("releases/web.yaml", all("web", "1.0.0", "1.0.0", "")),
        ("releases/api.yaml", all("api", "1.0.0", "1.0.0", "")),
    ];
    let documents: Vec<_> = documents.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let bed = Bed::new(&documents).start();
    for unit in units() {
        bed.verified(&unit, "1.0.0").await;
    }
    bed.push("web everywhere, broken in production", &[("releases/web.yaml", &all("web", "1.1.0", "2.0.0", BROKEN))]);
    bed.push("api", &[("releases/api.yaml", &all("api", "1.1.0", "1.1.0", ""))]);
    bed.wait("web/production/default", "it is reverted", |status| {
        status.health == UnitHealth::InSync
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
            && status.rollback.is_none()
            && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
    })
    .await;
    for unit in units().into_iter().filter(|unit| unit != "web/production/default") {
        bed.verified(&unit, "1.1.0").await;
    }
    let log = bed.log();
    assert_eq!(log.len(), 4, "{log:#?}");
    let changed = git(&bed.repo(), &["diff", "--stat", "main~1", "main"]);
    assert!(changed.contains("releases/web.yaml") && changed.contains("1 file changed"), "{changed}");
    let text = git(&bed.repo(), &["show", "main:releases/web.yaml"]);
    let expected = format!(
        "{}---\n{}---\n{}",
        release("web", "dev", "1.1.0", ""),
        release("web", "staging", "1.1.0", ""),
        release("web", "production", "1.0.0", "")
    );
    assert_eq!(text, expected);
}

fn all(app: &str, version: &str, production: &str, set: &str) -> String {
    format!(
        "{}---\n{}---\n{}",
        release(app, "dev", version, ""),
        release(app, "staging", version, ""),
        release(app, "production", production, set)
    )
}

fn units() -> Vec<String> {
    let pairs = ["web", "api"].into_iter().flat_map(|app| ["dev", "staging", "production"].map(|env| (app, env)));
    pairs.map(|(app, environment)| format!("{app}/{environment}/default")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_goes_back_with_git_down_and_the_commit_follows() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    // Slow to fail, so that Git is down before the verdict.
    bed.push("bad", &[("release.yaml", &web("2.0.0", BROKEN))]);
    bed.wait(UNIT, "the bad version rolls", |status| {
        status.effective.as_ref().is_some_and(|effective| effective.version == "2.0.0")
    })
    .await;
    fs::rename(bed.repo(), bed.path("away.git")).unwrap();
    bed.wait(UNIT, "1.0.0 has the traffic and the revert is not recorded", |status| {
        status.rollback.as_ref().is_some_and(|rollback| rollback.commit.is_none())
            && status.groups.iter().all(|group| group.version == "1.0.0")
            && status.health == UnitHealth::RollingBack
    })
    .await;
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    fs::rename(bed.path("away.git"), bed.repo()).unwrap();
    bed.wait(UNIT, "the revert is recorded and adopted", |status| {
        status.health == UnitHealth::InSync
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
    })
    .await;
    assert_eq!(bed.log().len(), 3, "{:#?}", bed.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_protected_branch_gets_a_branch_beside_it_and_the_unit_holds() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    bed.push("bad", &[("release.yaml", &web("2.0.0", BROKEN))]);
    let hook = bed.repo().join("hooks/update");
    fs::write(&hook, "#!/bin/sh\n[ \"$1\" != refs/heads/main ] || { echo 'main is protected' >&2; exit 1; }\n")
        .unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let status = bed
        .wait(UNIT, "it holds for the merge", |status| {
            status.rollback.as_ref().is_some_and(|rollback| rollback.branch.is_some())
        })
        .await;
    let branch = status.rollback.unwrap().branch.unwrap();
    assert!(branch.starts_with("trimtab/rollback/"), "{branch}");
    assert!(status.message.contains(&branch), "{}", status.message);
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    fs::remove_file(hook).unwrap();
    git(&bed.repo(), &["update-ref", "refs/heads/main", &format!("refs/heads/{branch}")]);
    bed.wait(UNIT, "the merge settles it", |status| {
        status.health == UnitHealth::InSync
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_state_is_quarantined_until_somebody_clears_it() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let bad = web("2.0.0", BROKEN);
    bed.push("bad", &[("release.yaml", &bad)]);
    bed.wait(UNIT, "it is reverted", |status| {
        status.rollback.is_none()
            && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
    })
    .await;
    bed.push("bad again", &[("release.yaml", &bad)]);
    let status = bed.wait(UNIT, "it is held", |status| status.health == UnitHealth::Held).await;
    assert_eq!(status.held[0].reason, "quarantined");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    assert_eq!(bed.api().quarantine().await.unwrap().len(), 1);
    let clear = QuarantineClear { app: "web".parse().unwrap(), environment: None, rendered: None };
    bed.api().quarantine_clear(&clear).await.unwrap();
    bed.wait(UNIT, "it is tried again, and fails again", |status| {
        status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack") && bed.log().len() == 5
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_goes_back_to_what_was_verified_before() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Rollback { to: None }).await.unwrap();
    bed.wait(UNIT, "1.0.0 runs and Git says so", |status| {
        status.health == UnitHealth::InSync
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == "1.0.0")
            && status.groups.iter().all(|group| group.version == "1.0.0")
    })
    .await;
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    assert_eq!(bed.log().len(), 3, "{:#?}", bed.log());
    let message = git(&bed.repo(), &["log", "-1", "--format=%B", "main"]);
    assert!(message.contains("Rollback-Id:") && message.contains("Environment: dev"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_document_that_breaks_every_environment_goes_back_in_one_commit() {
    let app_text = app("web", "rolling");
    let documents = [
        ("dev.yaml", environment("dev")),
        ("staging.yaml", environment("staging")),
        ("app.yaml", app_text.clone()),
        ("releases.yaml", format!("{}---\n{}", web("1.0.0", ""), release("web", "staging", "1.0.0", ""))),
    ];
    let documents: Vec<_> = documents.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let bed = Bed::new(&documents).start();
    for unit in [UNIT, "web/staging/default"] {
        bed.verified(unit, "1.0.0").await;
    }
    let broken = app_text.replace("demo-app,", "no-such-verb,");
    assert_ne!(broken, app_text);
    bed.push("broken everywhere", &[("app.yaml", &broken)]);
    for unit in [UNIT, "web/staging/default"] {
        bed.wait(unit, "it went back and Git says so", |status| {
            status.health == UnitHealth::InSync
                && status.rollback.is_none()
                && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
        })
        .await;
    }
    assert_eq!(bed.log().len(), 3, "{:#?}", bed.log());
    let text = git(&bed.repo(), &["show", "main:app.yaml"]);
    assert!(text.contains("demo-app,") && !text.contains("no-such-verb"), "{text}");
}
