//! Daemon and supervisor are killed at every position of the journal, of each strategy, of hooks, and of a rollback with its revert, and no
//! request is lost. It takes minutes each: `tests/run --long` runs them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::{Connection, OpenFlags};
use trimtab::api::types::{UnitHealth, VersionRef};

use super::bed::Bed;
use super::documents::{BROKEN, UNIT, app, environment, web};
use super::kills::{BLUE_GREEN, CANARY, RECREATE, ROLLING, position};
use super::strategies::load;
use crate::support::{PATIENCE, eventually_async};

/// What is done over and over, with a kill one position later each time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    RollOut,
    RollBack,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Victim {
    Daemon,
    Supervisor,
}

const HOOKS: &str = "  hooks:\n    before: [ { script: says, idempotent: true, onRollback: nothing } ]\n    \
                     after: [ { script: says, idempotent: true, onRollback: nothing } ]\n";
const SCRIPT: &str =
    "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: says }\nspec: { run: \"echo it runs; sleep 0.2\" }\n";

/// Kills a process as soon as the journal has a record at a position, and answers where the journal ends then; `None`: told that there
/// will be no such record.
pub fn kill_at(bed: &Bed, position: u64, pid: u32, over: &AtomicBool) -> Option<u64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(bed.path("state/daemon/journal.db"), flags).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    let mut end = connection.prepare("SELECT max(global) FROM records").unwrap();
    let mut end = || end.query_row([], |row| row.get::<_, u64>(0)).unwrap();
    // Without a pause: a position is soon past.
    while end() < position {
        if over.load(Ordering::Relaxed) {
            return None;
        }
    }
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
    Some(end())
}

/// Whether nothing goes on and this version is what was asked for and runs.
pub async fn rests_at(bed: &Bed, unit: &str, version: &str) -> bool {
    bed.unit(unit).await.is_ok_and(|status| {
        let is = |state: Option<&VersionRef>| state.is_some_and(|state| state.version == version);
        status.health == UnitHealth::InSync
            && status.rollback.is_none()
            && is(status.candidate.as_ref())
            && is(status.last_verified.as_ref())
            && status.rollout.as_ref().is_none_or(|rollout| rollout.summary.is_over())
    })
}

/// Rolls out, or back, until one of the processes was killed at every position there is; no request may be lost meanwhile.
async fn survives_everywhere(strategy: &str, hooks: &str, deed: Deed, victim: Victim) {
    let documents = [
        ("env.yaml", environment("dev")),
        ("app.yaml", app("web", strategy) + hooks),
        ("release.yaml", web("1.0.0", "")),
        ("script.yaml", SCRIPT.to_owned()),
    ];
    let bed = Bed::new(&documents.each_ref().map(|(path, text)| (*path, text.as_str())));
    // There are more rollbacks here than the guard against storms lets pass.
    bed.configure("[api]\n", "[rollback]\nper_hour = 10000\n[api]\n");
    let mut bed = bed.start();
    bed.verified(UNIT, "1.0.0").await;
    let load = load(&bed);
    let (mut stands, mut ends) = ("1.0.0".to_owned(), BTreeSet::new());
    for offset in 1_u64.. {
        let next = format!("1.{offset}.0");
        let (before, commits) = (position(&bed), bed.log().len());
        let pid = if victim == Victim::Daemon { bed.daemon_pid() } else { bed.supervisor_pid() };
        bed.push("next", &[("release.yaml", &web(&next, if deed == Deed::RollBack { BROKEN } else { "" }))]);
        if deed == Deed::RollOut {
            stands.clone_from(&next);
        }
        let commits = commits + if deed == Deed::RollBack { 2 } else { 1 };
        let over = AtomicBool::new(false);
        let killed = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let watcher = scope.spawn(|| kill_at(&bed, before + offset, pid, &over));
                let ends = eventually_async(PATIENCE, "it is killed, or over", async || {
                    watcher.is_finished() || (bed.log().len() == commits && rests_at(&bed, UNIT, &stands).await)
                });
                tokio::runtime::Handle::current().block_on(ends);
                over.store(true, Ordering::Relaxed);
                watcher.join().unwrap()
            })
        });
        let Some(end) = killed else {
            println!("{strategy} {deed:?}: the {victim:?} was killed at all of {} positions", offset - 1);
            break;
        };
        ends.insert(end - before);
        if victim == Victim::Daemon {
            bed.kill_daemon();
            bed.start_daemon();
        } else {
            bed.kill_supervisor();
            bed.start_supervisor();
        }
        eventually_async(PATIENCE, &format!("it is over, killed at {offset}"), async || {
            if bed.log().len() == commits && rests_at(&bed, UNIT, &stands).await {
                Ok(())
            } else {
                Err(format!("{:#?} {:#?}", bed.unit(UNIT).await, bed.log()))
            }
        })
        .await;
        assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, stands, "killed at {offset}");
    }
    let report = load.stop().await;
    println!("ends of the journal at the kills: {ends:?}; {report}");
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
}

macro_rules! everywhere {
    ($($name:ident: $strategy:expr, $hooks:expr, $deed:ident, $victim:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[ignore = "minutes long: tests/run --long"]
        async fn $name() {
            survives_everywhere($strategy, $hooks, Deed::$deed, Victim::$victim).await;
        }
    )*};
}

everywhere! {
    a_daemon_in_a_rolling_update: ROLLING, "", RollOut, Daemon;
    a_supervisor_in_a_rolling_update: ROLLING, "", RollOut, Supervisor;
    a_daemon_in_a_recreation: RECREATE, "", RollOut, Daemon;
    a_supervisor_in_a_recreation: RECREATE, "", RollOut, Supervisor;
    a_daemon_in_a_blue_green_switch: BLUE_GREEN, "", RollOut, Daemon;
    a_supervisor_in_a_blue_green_switch: BLUE_GREEN, "", RollOut, Supervisor;
    a_daemon_in_a_canary: CANARY, "", RollOut, Daemon;
    a_supervisor_in_a_canary: CANARY, "", RollOut, Supervisor;
    a_daemon_in_hooks: ROLLING, HOOKS, RollOut, Daemon;
    a_supervisor_in_hooks: ROLLING, HOOKS, RollOut, Supervisor;
    a_daemon_in_a_rollback: CANARY, "", RollBack, Daemon;
    a_supervisor_in_a_rollback: CANARY, "", RollBack, Supervisor;
}
