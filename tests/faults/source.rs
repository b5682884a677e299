//! What becomes of the units while the repository is not what it was, or not there.

use std::sync::atomic::Ordering;

use trimtab::api::types::{UnitCommand, UnitHealth};
use trimtab::protocol::supervisor::GroupList;

use crate::e2e::bed::git;
use crate::e2e::documents::{UNIT, app, bed, environment, web};
use crate::e2e::strategies::share;
use crate::git::http::{SECRET, Server};
use crate::support::{PATIENCE, eventually_async};

const PAUSED: &str = "{ canary: { steps: [ { weight: 30 }, { pause: {} } ], scaleDownDelay: 500ms } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_08_with_git_down_the_last_good_is_kept_and_healed_and_its_age_is_shown() {
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    std::fs::rename(bed.repo(), bed.path("away.git")).unwrap();
    bed.source_error().await;
    let status = bed.told(&["status"]);
    assert!(status.contains("can't be read (last read "), "{status}");
    let why = bed.told(&["why", "web"]);
    assert!(why.contains("what was read last is from"), "{why}");

    // The route is lost with the router's state, and an instance is killed: both are healed.
    bed.kill_router();
    std::fs::remove_dir_all(bed.path("state/router")).unwrap();
    bed.start_router();
    let served = || async { bed.get("web.dev.localhost").await };
    eventually_async(PATIENCE, "the route is set again", served).await;
    let supervisor = trimtab::net::client::Client::new(bed.path("supervisor.sock"));
    let list: GroupList = supervisor.get("/v1/groups").await.unwrap();
    let pid = list.groups[0].instances[0].pid.and_then(|pid| i32::try_from(pid).ok()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    let healed = |status: &trimtab::api::types::UnitStatus| {
        let all: Vec<_> = status.groups.iter().flat_map(|group| &group.instances).collect();
        all.len() == 2 && all.iter().all(|one| one.ready) && all.iter().any(|one| one.restarts == 1)
    };
    bed.wait(UNIT, "it is healed", healed).await;

    // A daemon that starts now knows what it knew.
    bed.kill_daemon();
    bed.start_daemon();
    bed.verified(UNIT, "1.0.0").await;
    bed.source_error().await;
    std::fs::rename(bed.path("away.git"), bed.repo()).unwrap();
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fault_09_a_repository_that_does_not_answer_times_out_and_a_rollout_goes_on() {
    let (environment, app) = (environment("dev"), app("web", PAUSED));
    let documents = [("env.yaml", &*environment), ("app.yaml", &*app), ("release.yaml", &web("1.0.0", ""))];
    let bed = crate::e2e::bed::Bed::new(&documents);
    let (server, origin) = Server::start(bed.path(""), None).await;
    std::fs::write(bed.path("token"), SECRET).unwrap();
    let settings = format!("url = '{origin}/repo.git'\ntoken_file = 'token'\ntimeout = '6s'");
    bed.configure("url = './repo.git'", &settings);
    let bed = bed.start();
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.wait(UNIT, "the canary has its share", |status| share(status, "1.1.0") > 29.0).await;

    server.silent.store(true, Ordering::Relaxed);
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    bed.verified(UNIT, "1.1.0").await;
    let error = bed.source_error().await;
    assert!(error.contains("did not answer within 6 s"), "{error}");
    server.silent.store(false, Ordering::Relaxed);
    bed.push("third", &[("release.yaml", &web("1.2.0", ""))]);
    bed.wait(UNIT, "it is seen again", |status| share(status, "1.2.0") > 29.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_10_a_rewritten_history_changes_nothing_until_somebody_looks() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    git(&bed.repo(), &["update-ref", "refs/heads/main", "main~1"]);
    let status = bed.wait(UNIT, "it is held", |status| status.health == UnitHealth::Held).await;
    assert_eq!(status.held[0].reason, "historyRewritten");
    let status = bed.told(&["status"]);
    assert!(status.contains("was rewritten") && status.contains("`trimtab ack` takes it over"), "{status}");
    let why = bed.told(&["why", "web"]);
    assert!(why.contains("history was rewritten") && why.contains("compare with `trimtab plan`"), "{why}");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0");
    assert!(bed.told(&["ack"]).contains("the rewritten history is accepted"));
    bed.verified(UNIT, "1.0.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_11_a_deleted_branch_removes_nothing_and_is_told() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let head = git(&bed.repo(), &["rev-parse", "main"]);
    git(&bed.repo(), &["update-ref", "-d", "refs/heads/main"]);
    let error = bed.source_error().await;
    assert!(error.contains("main"), "{error}");
    assert!(bed.told(&["status"]).contains("can't be read"));
    assert!(bed.told(&["why", "web"]).contains("newer commits are not seen until it answers"));
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    assert_eq!(bed.unit(UNIT).await.unwrap().health, UnitHealth::InSync);
    git(&bed.repo(), &["update-ref", "refs/heads/main", head.trim()]);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_20_a_stale_copy_of_the_branch_takes_nothing_back() {
    let bed = bed(PAUSED);
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    let before = bed.wait(UNIT, "the canary has its share", |status| share(status, "1.1.0") > 29.0).await;
    let rollout = |status: &trimtab::api::types::UnitStatus| status.rollout.clone().unwrap().summary.id;
    // A cache in front of the repository answers with an older state for a while.
    let head = git(&bed.repo(), &["rev-parse", "main"]);
    git(&bed.repo(), &["update-ref", "refs/heads/main", "main~1"]);
    let held = bed.wait(UNIT, "it is held", |status| !status.held.is_empty()).await;
    assert_eq!(held.held[0].reason, "historyRewritten");
    assert!(share(&held, "1.1.0") > 29.0 && rollout(&held) == rollout(&before), "{held:#?}");
    git(&bed.repo(), &["update-ref", "refs/heads/main", head.trim()]);
    bed.wait(UNIT, "nothing is left to acknowledge", |status| status.held.is_empty()).await;
    assert!(!bed.told(&["status"]).contains("rewritten"));
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    let after = bed.verified(UNIT, "1.1.0").await;
    assert_eq!(rollout(&after), rollout(&before), "the revision that the rollout began with is the one it ended with");
}
