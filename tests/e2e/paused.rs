//! A week in the middle of a canary, on real processes, by a clock that a test moves on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use trimtab::api::types::{UnitCommand, UnitStatus};
use trimtab::app::config::Config;
use trimtab::ports::clock::Clock;
use trimtab::protocol::supervisor::GroupList;

use super::bed::{Bed, git};
use super::documents::{UNIT, app, environment, web};
use super::strategies::share;

/// The machine's clock and so many hours.
#[derive(Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        trimtab::clock::now() + SignedDuration::from_hours(self.0.load(Ordering::Relaxed))
    }
}

/// A daemon on a thread of its own, by such a clock.
struct Daemon {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start(bed: &Bed, clock: &Arc<Ahead>) -> Daemon {
        let config = Config::read(&bed.config()).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let clock = clock.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let stopped = async move {
                let _ = stopped.await;
            };
            runtime.block_on(trimtab::wiring::run_daemon_by(clock, config, stopped)).unwrap();
        });
        Daemon { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the daemon failed");
        }
    }
}

/// Kills an instance of a version, as a crash would.
async fn crash(bed: &Bed, version: &str, slot: usize) {
    let supervisor = trimtab::net::client::Client::new(bed.path("supervisor.sock"));
    let list: GroupList = supervisor.get("/v1/groups").await.unwrap();
    let group = list.groups.iter().find(|group| group.markers.version == version).unwrap();
    let pid = group.instances[slot % group.instances.len()].pid.and_then(|pid| i32::try_from(pid).ok()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// How often instances were restarted.
fn restarts(status: &UnitStatus) -> u32 {
    status.groups.iter().flat_map(|group| &group.instances).map(|instance| instance.restarts).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_is_paused_for_a_week_is_what_it_was_and_is_promoted() {
    let paused = "{ canary: { steps: [ { weight: 30 }, { pause: {} } ], scaleDownDelay: 500ms } }";
    let (environment, app) = (environment("dev"), app("web", paused));
    let mut bed = Bed::new(&[("env.yaml", &environment), ("app.yaml", &app), ("release.yaml", &web("1.0.0", ""))]);
    bed.start_supervisor();
    bed.start_router();
    let clock = Arc::new(Ahead::default());
    let mut daemon = Daemon::start(&bed, &clock);
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    let in_pause = |status: &UnitStatus| {
        share(status, "1.1.0") > 29.0
            && status.message.contains("waits until promoted")
            && status.groups.iter().flat_map(|group| &group.instances).all(|instance| instance.ready)
    };
    let before = bed.wait(UNIT, "the canary waits", in_pause).await;
    let rollout = |status: &UnitStatus| status.rollout.clone().unwrap().summary.id;
    let mut crashes = 0;
    for day in 0..7 {
        clock.0.fetch_add(24, Ordering::Relaxed);
        bed.told(&["reconcile"]);
        match day {
            0 | 2 | 5 => {
                crash(&bed, "1.0.0", day).await;
                crashes += 1;
            }
            1 => {
                crash(&bed, "1.1.0", 0).await;
                crashes += 1;
            }
            // What does not concern it changes, then history: the same documents in another commit.
            3 => {
                let unrelated = bed.push("unrelated", &[("README.md", "read me\n")]);
                bed.has_read(&unrelated).await;
                git(&bed.clone_dir(), &["commit", "-q", "--amend", "-m", "rewritten"]);
                git(&bed.clone_dir(), &["push", "-q", "--force", "origin", "HEAD:main"]);
                let told = crate::support::eventually_async(crate::support::PATIENCE, "it is told", async || {
                    let told = bed.told(&["status"]);
                    if told.contains("was rewritten") { Ok(told) } else { Err(told) }
                });
                assert!(told.await.contains("trimtab ack"));
            }
            4 => {
                drop(daemon);
                daemon = Daemon::start(&bed, &clock);
            }
            _ => {
                bed.kill_supervisor();
                bed.start_supervisor();
            }
        }
        let after = bed
            .wait(UNIT, &format!("it is as it was on day {day}"), |status| {
                in_pause(status) && status.groups.len() == 2 && restarts(status) == crashes
            })
            .await;
        assert_eq!(rollout(&after), rollout(&before));
    }
    assert!(bed.told(&["ack"]).contains("accepted"));
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    bed.verified(UNIT, "1.1.0").await;
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0");
    drop(daemon);
}
