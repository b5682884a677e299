//! Daemon and supervisor are killed at positions of the journal that a seed chooses, once for each strategy, and no request
//! is lost. `TRIMTAB_SEED` plays one again. Every position is the matter of `positions`.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::bed::Bed;
use super::documents::{UNIT, bed, web};
use super::strategies::load;
use crate::support::{PATIENCE, eventually_async};

/// Numbers that a seed determines.
pub struct Seeded(pub u64);

impl Seeded {
    /// The next one, below a limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// A seed, which is told: `TRIMTAB_SEED`, or any.
pub fn seed() -> u64 {
    let seed = std::env::var("TRIMTAB_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("TRIMTAB_SEED={seed} plays this again");
    seed
}

/// The number of the journal's last record.
pub fn position(bed: &Bed) -> u64 {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(bed.path("state/daemon/journal.db"), flags).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    connection.query_row("SELECT max(global) FROM records", [], |row| row.get(0)).unwrap()
}

async fn is_verified(bed: &Bed, version: &str) -> bool {
    let status = bed.unit(UNIT).await;
    status.is_ok_and(|status| status.last_verified.is_some_and(|verified| verified.version == version))
}

/// The strategies, each with the settings under which it has all of its phases and is quick.
pub const ROLLING: &str = "rolling";
pub const RECREATE: &str = "{ recreate: { hold: 25s } }";
pub const BLUE_GREEN: &str = "{ blueGreen: { scaleDownDelay: 1s } }";
pub const CANARY: &str =
    "{ canary: { steps: [ { weight: 20 }, { pause: 1s }, { weight: 60 }, { pause: 1s } ], scaleDownDelay: 1s } }";

async fn survives(strategy: &str) {
    let mut numbers = Seeded(seed());
    let mut bed = bed(strategy);
    bed.verified(UNIT, "1.0.0").await;
    let load = load(&bed);
    let mut next = position(&bed);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    for _ in 0..4 {
        next += 1 + numbers.below(9);
        let daemon = numbers.below(3) > 0;
        eventually_async(PATIENCE, "the rollout gets there or ends", async || {
            position(&bed) >= next || is_verified(&bed, "1.1.0").await
        })
        .await;
        println!(
            "killed {} at {}, planned {next}",
            if daemon { "the daemon" } else { "the supervisor" },
            position(&bed)
        );
        if daemon {
            bed.kill_daemon();
            tokio::time::sleep(Duration::from_millis(numbers.below(50))).await;
            bed.start_daemon();
        } else {
            bed.kill_supervisor();
            bed.start_supervisor();
        }
    }
    bed.verified(UNIT, "1.1.0").await;
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
    let history = bed.api().history(&UNIT.parse().unwrap(), 10).await.unwrap();
    let rollouts = history.iter().filter(|past| past.kind == "rollout").count();
    assert_eq!(rollouts, 1, "{history:#?}");
    assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.1.0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_rolling() {
    survives(ROLLING).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_recreating() {
    survives(RECREATE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_blue_green_switch() {
    survives(BLUE_GREEN).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_a_canary() {
    survives(CANARY).await;
}
