//! The daemon is killed at positions of the journal, while a version is applied and while a bad one is taken back: at some that a
//! seed chooses (`TRIMTAB_SEED` plays one again), and at every one there is (`tests/run --long`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::documents::{SERVICE, UNIT, config, deployment, release};
use super::installation::Installation;
use crate::e2e::kills::{Seeded, position, seed};
use crate::e2e::positions::{kill_at, rests_at};
use crate::support::{PATIENCE, eventually_async};

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Apply,
    RollBack,
}

/// Rounds of a deed, the daemon killed at another position of the journal in each. `offsets` answers where in the next round, given
/// that it was passed in the last one or not; `None`: that was all.
async fn survives(deed: Deed, mut offsets: impl FnMut(bool) -> Option<u64>) {
    let first = [
        ("deploy/web.yaml", &*deployment("1")),
        ("deploy/settings.yaml", &config("settings", "w1")),
        ("deploy/service.yaml", SERVICE),
    ];
    let Some(mut installation) = Installation::start(&first) else { return };
    installation.verified(UNIT, "1").await;
    // There are more rollbacks here than the guard against storms lets pass.
    installation.kill_daemon();
    installation.configure("[api]\n", "[rollback]\nper_hour = 10000\n[api]\n");
    installation.start_daemon();
    installation.verified(UNIT, "1").await;
    let (mut stands, mut ends, mut reached, mut writes) = (1, BTreeSet::new(), true, 1);
    for round in 2.. {
        let Some(offset) = offsets(reached) else { break };
        let (before, commits) = (position(&installation), installation.log().len());
        let pid = installation.daemon_pid();
        let web = match deed {
            Deed::Apply => deployment(&(2 - round % 2).to_string()),
            // The cluster itself gives up on it soon.
            Deed::RollBack => deployment("none").replace("replicas: 2", "replicas: 2\n  progressDeadlineSeconds: 2"),
        };
        let files = [
            ("deploy/web.yaml", &*web),
            ("deploy/settings.yaml", &config("settings", &format!("w{round}"))),
            ("release.yaml", &release(&round.to_string())),
        ];
        installation.push("next", &files);
        if deed == Deed::Apply {
            stands = round;
        }
        writes += if deed == Deed::RollBack { 2 } else { 1 };
        let commits = commits + if deed == Deed::RollBack { 2 } else { 1 };
        let (over, version) = (AtomicBool::new(false), stands.to_string());
        let killed = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let watcher = scope.spawn(|| kill_at(&installation, before + offset, pid, &over));
                let ends = eventually_async(PATIENCE, "it is killed, or over", async || {
                    watcher.is_finished()
                        || (installation.log().len() == commits && rests_at(&installation, UNIT, &version).await)
                });
                tokio::runtime::Handle::current().block_on(ends);
                over.store(true, Ordering::Relaxed);
                watcher.join().unwrap()
            })
        });
        reached = killed.is_some();
        if let Some(end) = killed {
            ends.insert(end - before);
            installation.kill_daemon();
            installation.start_daemon();
        }
        eventually_async(PATIENCE, &format!("it is over, killed at {offset}"), async || {
            if installation.log().len() == commits && rests_at(&installation, UNIT, &version).await {
                Ok(())
            } else {
                Err(format!("{:#?} {:#?}", installation.unit(UNIT).await, installation.log()))
            }
        })
        .await;
        let settings = installation.namespace.object("configmap/settings");
        assert_eq!(settings["data"]["word"], format!("w{stands}"), "killed at {offset}");
        let web = installation.namespace.object("deployment/web");
        // Each version is written once and a bad one taken back once, however often that was begun.
        assert_eq!(web["metadata"]["generation"], writes, "killed at {offset}: {web:#}");
    }
    println!("{deed:?}: ends of the journal at the kills: {ends:?}");
}

/// Some positions that a seed chooses.
async fn survives_some(deed: Deed) {
    let mut numbers = Seeded(seed());
    let mut left = 3;
    let next = |_| {
        left -= 1;
        (left >= 0).then(|| 1 + numbers.below(24))
    };
    survives(deed, next).await;
}

/// Every position, until one is past the end.
async fn survives_all(deed: Deed) {
    let mut offset = 0;
    let next = |reached: bool| {
        offset += 1;
        reached.then_some(offset)
    };
    survives(deed, next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_version_is_applied() {
    survives_some(Deed::Apply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_a_bad_version_is_taken_back() {
    survives_some(Deed::RollBack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: tests/run --long"]
async fn positions_of_a_version_that_is_applied() {
    survives_all(Deed::Apply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes long: tests/run --long"]
async fn positions_of_a_bad_version_that_is_taken_back() {
    survives_all(Deed::RollBack).await;
}
