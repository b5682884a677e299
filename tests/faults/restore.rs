//! Yesterday's backup beside today's workloads and newer Git: nothing is rolled, pruned or reverted before it has looked.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use trimtab::api::types::UnitHealth;

use crate::e2e::bed::Bed;
use crate::e2e::documents::{BROKEN, UNIT, app, bed, environment, release, web};
use crate::e2e::strategies::load;

/// What runs, by process: whatever was started or stopped shows.
async fn processes(bed: &Bed) -> Value {
    let supervisor = trimtab::net::client::Client::new(bed.path("supervisor.sock"));
    let groups: Value = supervisor.get("/v1/groups").await.unwrap();
    let all = groups["groups"].as_array().unwrap().iter().flat_map(|group| group["instances"].as_array().unwrap());
    all.map(|one| one["pid"].clone()).collect()
}

fn lose_the_journal(bed: &Bed) {
    for name in ["journal.db", "journal.db-wal", "journal.db-shm"] {
        let _ = std::fs::remove_file(bed.path("state/daemon").join(name));
    }
}

#[track_caller]
fn cli(bed: &Bed, args: &[&str], code: i32) -> String {
    let output = bed.cli(&[args, &["--config", "trimtab.toml"]].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_and_is_asked_for_is_taken_over() {
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    cli(&bed, &["backup", "yesterday"], 0);
    let error = cli(&bed, &["restore", "yesterday"], 5);
    assert!(error.contains("a daemon uses the state") && error.contains("stop it first"), "{error}");
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    let (before, log) = (processes(&bed).await, bed.log());

    bed.kill_daemon();
    let told = cli(&bed, &["restore", "yesterday"], 0);
    assert!(told.contains("before-restore-"), "{told}");
    // Nothing is known yet of what has come since, and Git can't say: nothing is done.
    std::fs::rename(bed.repo(), bed.path("away.git")).unwrap();
    bed.start_daemon();
    bed.wait(UNIT, "it waits for Git", |status| status.message.contains("before Git was read")).await;
    assert_eq!(processes(&bed).await, before);
    std::fs::rename(bed.path("away.git"), bed.repo()).unwrap();
    let status = bed.verified(UNIT, "1.1.0").await;
    assert!(status.rollout.is_none(), "nothing was rolled out: {:?}", status.rollout);
    assert_eq!(processes(&bed).await, before);
    assert_eq!(bed.log(), log);
    // The audit log went on from the backup's: no record of it is lost, and the restore is in it.
    let audit = bed.told(&["audit", "export"]);
    let restored: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let restored: Vec<_> = restored.iter().filter(|record| record["action"] == "restore").collect();
    assert_eq!(restored.len(), 2, "{audit}");
    assert_eq!((&restored[0]["outcome"], &restored[1]["outcome"]), (&"asked".into(), &"done".into()), "{audit}");
    assert_eq!(restored[0]["seq"], 3, "after both commits: {audit}");
    assert!(cli(&bed, &["audit", "verify", "--state-dir", "state/daemon"], 0).contains("intact"));
    // From here on all is as usual.
    bed.push("third", &[("release.yaml", &web("1.2.0", ""))]);
    bed.verified(UNIT, "1.2.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_and_is_not_known_is_left_alone_until_somebody_says() {
    let files = [
        ("env.yaml", environment("dev")),
        ("app.yaml", app("web", "rolling")),
        ("other.yaml", app("other", "rolling")),
        ("release.yaml", web("1.0.0", "")),
    ];
    let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let mut bed = Bed::new(&files).start();
    bed.verified(UNIT, "1.0.0").await;
    // In the middle of a rollback that does not come into Git.
    let hook = bed.repo().join("hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\nread old new ref\n! git log -1 --format=%an $new | grep -q trimtab\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    bed.push("bad", &[("release.yaml", &web("2.0.0", BROKEN))]);
    bed.wait(UNIT, "a rollback waits for Git", |status| status.rollback.is_some()).await;
    cli(&bed, &["backup", "yesterday"], 0);
    bed.push(
        "second",
        &[("release.yaml", &web("1.1.0", "")), ("other-release.yaml", &release("other", "dev", "1.0.0", ""))],
    );
    bed.verified(UNIT, "1.1.0").await;
    bed.verified("other/dev/default", "1.0.0").await;
    bed.kill_daemon();
    std::fs::remove_file(&hook).unwrap();
    assert!(bed.log().iter().all(|commit| !commit.contains("Roll back")), "{:?}", bed.log());
    // What the backup does not know is removed from Git, what it knows moves on.
    bed.push("third", &[("release.yaml", &web("1.2.0", "")), ("other-release.yaml", "")]);
    let (before, log) = (processes(&bed).await, bed.log());
    cli(&bed, &["restore", "yesterday"], 0);
    bed.start_daemon();
    let held = bed.wait(UNIT, "it is held", |status| !status.held.is_empty()).await;
    assert!(held.held[0].message.contains("since the backup of"), "{:?}", held.held);
    cli(&bed, &["reconcile"], 0);
    assert_eq!(processes(&bed).await, before, "nothing was started or stopped");
    assert_eq!(bed.log(), log, "nothing was reverted");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0");
    // Git says what it is: it is taken over, and from there on all is as usual.
    bed.push("what runs", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    assert_eq!(processes(&bed).await, before, "it was taken over as it runs");
    bed.push("fourth", &[("release.yaml", &web("1.2.0", ""))]);
    let status = bed.verified(UNIT, "1.2.0").await;
    assert_eq!(status.health, UnitHealth::InSync);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledgement_replaces_what_the_backup_does_not_know() {
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    cli(&bed, &["backup", "yesterday"], 0);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    let load = load(&bed);
    bed.kill_daemon();
    bed.push("third", &[("release.yaml", &web("1.2.0", ""))]);
    cli(&bed, &["restore", "yesterday"], 0);
    bed.start_daemon();
    let held = bed.wait(UNIT, "it is held", |status| !status.held.is_empty()).await;
    assert!(held.held[0].remedy.contains("trimtab ack"), "{:?}", held.held);
    assert_eq!(bed.cli(&["ack"]).status.code(), Some(0));
    bed.verified(UNIT, "1.2.0").await;
    assert_eq!(processes(&bed).await.as_array().unwrap().len(), 2, "only the new ones run");
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_seen_after_a_lost_state_is_not_taken_for_nothing() {
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let before = processes(&bed).await;
    bed.kill_daemon();
    lose_the_journal(&bed);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    let (socket, away) = (bed.path("supervisor.sock"), bed.path("away.sock"));
    std::fs::rename(&socket, &away).unwrap();
    bed.start_daemon();
    let blind =
        bed.wait(UNIT, "it waits until it sees", |status| status.message.contains("what runs can't be seen")).await;
    assert!(blind.effective.is_none() && blind.rollout.is_none(), "{blind:?}");
    std::fs::rename(&away, &socket).unwrap();
    let held = bed.wait(UNIT, "it is held", |status| !status.held.is_empty()).await;
    assert!(held.held[0].message.contains("nothing is remembered of"), "{:?}", held.held);
    assert_eq!(processes(&bed).await, before, "they are the same as ever");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_remembers_outlives_a_bad_successor_that_was_acknowledged() {
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let (before, load) = (processes(&bed).await, load(&bed));
    bed.kill_daemon();
    lose_the_journal(&bed);
    bed.push("bad", &[("release.yaml", &web("1.1.0", BROKEN))]);
    bed.start_daemon();
    let held = bed.wait(UNIT, "it is held", |status| !status.held.is_empty()).await;
    assert!(held.held[0].message.contains("nothing is remembered of"), "{:?}", held.held);
    assert_eq!(bed.cli(&["ack"]).status.code(), Some(0));
    bed.wait(UNIT, "the bad one is held, and what ran goes on", |status| {
        status.held.iter().any(|held| held.reason == "quarantined")
            && status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
    })
    .await;
    assert_eq!(processes(&bed).await, before, "they are the same as ever");
    bed.push("good", &[("release.yaml", &web("1.2.0", ""))]);
    bed.verified(UNIT, "1.2.0").await;
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
    assert!(report.versions.contains_key("1.2.0"), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_restored_changes_nothing() {
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    cli(&bed, &["backup", "good"], 0);
    cli(&bed, &["backup", "good"], 6);
    bed.kill_daemon();
    let journal = std::fs::read(bed.path("state/daemon/journal.db")).unwrap();
    let mut bytes = std::fs::read(bed.path("good")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(bed.path("flipped"), &bytes).unwrap();
    std::fs::write(bed.path("cut"), &bytes[..middle]).unwrap();
    for name in ["flipped", "cut"] {
        assert!(cli(&bed, &["restore", name], 2).contains("no sound backup"));
    }
    cli(&bed, &["restore", "none"], 3);
    let config = std::fs::read_to_string(bed.config()).unwrap();
    std::fs::write(bed.config(), config.replace("'e2e'", "'other'")).unwrap();
    assert!(cli(&bed, &["restore", "good"], 2).contains("installation e2e"));
    std::fs::write(bed.config(), config).unwrap();
    assert_eq!(std::fs::read(bed.path("state/daemon/journal.db")).unwrap(), journal);
    let left: Vec<_> =
        std::fs::read_dir(bed.path("state/daemon")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("restore")), "{left:?}");
    bed.start_daemon();
    bed.verified(UNIT, "1.0.0").await;
}
