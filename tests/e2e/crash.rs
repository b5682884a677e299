//! Whatever is killed, the others' work goes on and the phase stays what it was.

use std::process::Stdio;

use trimtab::api::types::UnitCommand;

use super::documents::{UNIT, bed, web};
use super::strategies::{load, share};
use crate::support::{PATIENCE, trimtab};

const PAUSED: &str = "{ canary: { steps: [ { weight: 30 }, { pause: {} } ], scaleDownDelay: 500ms } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_killed_in_a_paused_canary_finds_the_same_phase() {
    let mut bed = bed(PAUSED);
    bed.verified(UNIT, "1.0.0").await;
    let load = load(&bed);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    let before = bed.wait(UNIT, "the canary has its share", |status| share(status, "1.1.0") > 29.0).await;
    bed.kill_daemon();
    bed.start_daemon();
    let after = bed.wait(UNIT, "the canary still has its share", |status| share(status, "1.1.0") > 29.0).await;
    let rollout = |status: &trimtab::api::types::UnitStatus| status.rollout.clone().unwrap().summary.id;
    assert_eq!(rollout(&before), rollout(&after));
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    bed.verified(UNIT, "1.1.0").await;
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_killed_in_a_paused_canary_adopts_what_runs() {
    let mut bed = bed(PAUSED);
    bed.verified(UNIT, "1.0.0").await;
    let load = load(&bed);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.wait(UNIT, "the canary has its share", |status| share(status, "1.1.0") > 29.0).await;
    bed.kill_supervisor();
    bed.wait(UNIT, "the loss of sight is told", |status| status.message.contains("can't be seen")).await;
    bed.start_supervisor();
    bed.wait(UNIT, "it is seen again", |status| share(status, "1.1.0") > 29.0 && status.groups.len() == 2).await;
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    let status = bed.verified(UNIT, "1.1.0").await;
    assert!(status.groups.iter().flat_map(|group| &group.instances).all(|instance| instance.restarts == 0));
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_router_comes_back_with_the_same_weights_while_the_daemon_is_down() {
    let mut bed = bed(PAUSED);
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.wait(UNIT, "the canary has its share", |status| share(status, "1.1.0") > 29.0).await;
    bed.kill_daemon();
    bed.kill_router();
    bed.start_router();
    crate::support::eventually_async(PATIENCE, "the router serves again", async || bed.get("web.dev.localhost").await)
        .await;
    let load = load(&bed);
    bed.start_daemon();
    bed.wait(UNIT, "the canary still has its share", |status| share(status, "1.1.0") > 29.0).await;
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_killed_is_started_again() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let supervisor = trimtab::net::client::Client::new(bed.path("supervisor.sock"));
    let list: trimtab::protocol::supervisor::GroupList = supervisor.get("/v1/groups").await.unwrap();
    let pid = list.groups[0].instances[0].pid.and_then(|pid| i32::try_from(pid).ok()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    bed.wait(UNIT, "it was restarted and is ready", |status| {
        let all: Vec<_> = status.groups.iter().flat_map(|group| &group.instances).collect();
        all.len() == 2 && all.iter().all(|instance| instance.ready) && all.iter().any(|instance| instance.restarts == 1)
    })
    .await;
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_daemon_refuses_to_start_and_one_that_takes_over_stops_the_first() {
    let bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    let config = std::fs::read_to_string(bed.config()).unwrap().replace("daemon.sock", "second.sock");
    std::fs::write(bed.path("second.toml"), config).unwrap();
    let second = |args: &[&str]| {
        let mut command = trimtab();
        command.args(["daemon", "--config"]).arg(bed.path("second.toml")).args(args).stdin(Stdio::null());
        command
    };
    let refused = second(&[]).output().unwrap();
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(6), "{words}");
    assert!(words.contains("--take-over"), "{words}");
    let _second = crate::support::Running::spawn(second(&["--take-over"]).stdout(Stdio::null()).stderr(Stdio::null()));
    let api = trimtab::api::client::Api::new(&bed.path("second.sock"));
    crate::support::eventually_async(PATIENCE, "the second daemon answers", async || api.daemon().await).await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    let unit = UNIT.parse().unwrap();
    crate::support::eventually_async(PATIENCE, "the second daemon rolls out", async || {
        let status = api.unit(&unit).await.map_err(|error| error.to_string())?;
        let verified = status.last_verified.as_ref().is_some_and(|verified| verified.version == "1.1.0");
        if verified { Ok(()) } else { Err(format!("{status:#?}")) }
    })
    .await;
    crate::support::eventually_async(PATIENCE, "the first daemon has stopped", async || {
        if bed.api().daemon().await.is_err() { Ok(()) } else { Err("it answers") }
    })
    .await;
}
