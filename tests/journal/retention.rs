//! What is removed, what stays, and that the file stays small.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use trimtab::adapters::journal::sqlite::SqliteJournal;
use trimtab::app::blobs::Blobs;
use trimtab::app::log::{Log, LogError};
use trimtab::domain::digest::Digest;
use trimtab::domain::id::{Epoch, Revision, RolloutId};
use trimtab::domain::plan::{PhaseId, PlanKind};
use trimtab::domain::rollout::event::{Outcome, RolloutEvent};
use trimtab::domain::unit::event::UnitEvent;
use trimtab::domain::unit::pins::pins;
use trimtab::domain::unit::state::{HISTORY, UnitState};
use trimtab::ports::journal::{Journal, JournalError};
use trimtab::secrets::local::LocalKey;

use super::{append, at, open};
use crate::support::Running;

/// Nothing here has values that would have to be encrypted.
fn no_key() -> LocalKey {
    LocalKey::new("/nonexistent/values.key".into())
}

async fn fill(journal: &SqliteJournal, stream: &str, count: u64, epoch: Epoch) {
    for number in 0..count {
        append(journal, stream, number, epoch).await.unwrap();
    }
}

async fn remove(journal: &SqliteJournal, epoch: Epoch, keep: u64) -> u64 {
    journal.remove_records(epoch, keep, Timestamp::MIN).await.unwrap()
}

#[tokio::test]
async fn only_what_a_snapshot_stands_for_goes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    let epoch = journal.claim("one").await.unwrap();
    fill(&journal, "a", 10, epoch).await;
    fill(&journal, "b", 10, epoch).await;
    assert_eq!(remove(&journal, epoch, 0).await, 0, "there is no snapshot");
    journal.put_snapshot("a", 6, epoch, 1, &json!("six")).await.unwrap();
    assert_eq!(remove(&journal, epoch, 16).await, 4, "the newest 16 of 20 stay");
    assert_eq!((remove(&journal, epoch, 0).await, journal.removed().await.unwrap()), (2, 6));
    assert_eq!(remove(&journal, epoch, 0).await, 0);
    drop(journal);

    let journal = open(&path);
    assert_eq!(journal.verify().await.unwrap(), 14);
    assert_eq!(journal.read("a", 6).await.unwrap().len(), 4);
    assert_eq!(journal.read("b", 0).await.unwrap().len(), 10);
    match journal.read("a", 5).await.unwrap_err() {
        JournalError::Removed { stream, first } => assert_eq!((stream.as_str(), first), ("a", 6)),
        other => panic!("{other}"),
    }
    assert_eq!(journal.since(0, 100).await.unwrap().len(), 14);
    assert_eq!(append(&journal, "a", 10, epoch).await.unwrap(), 11, "it goes on where it was");
}

#[tokio::test]
async fn what_is_old_goes_and_numbers_are_never_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    // An event a second: see `at`.
    fill(&journal, "a", 10, epoch).await;
    journal.put_snapshot("a", 10, epoch, 1, &json!("ten")).await.unwrap();
    assert_eq!(journal.remove_records(epoch, 1_000, at(4)).await.unwrap(), 4);
    assert_eq!(journal.read("a", 4).await.unwrap()[0].at, at(4));
    assert_eq!(remove(&journal, epoch, 0).await, 6);
    append(&journal, "a", 10, epoch).await.unwrap();
    assert_eq!(journal.since(0, 100).await.unwrap()[0].1.global, 11);
}

#[tokio::test]
async fn a_stale_holder_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    fill(&journal, "a", 3, epoch).await;
    journal.put_snapshot("a", 3, epoch, 1, &json!("three")).await.unwrap();
    let digest = Digest::of_bytes("r1", b"blob");
    journal.put_blob(&digest, epoch, b"blob").await.unwrap();
    journal.claim("two").await.unwrap();
    let stale = |error| matches!(error, JournalError::Stale { .. });
    assert!(stale(journal.remove_records(epoch, 0, Timestamp::MIN).await.unwrap_err()));
    assert!(stale(journal.remove_blobs(epoch, &[digest]).await.unwrap_err()));
    assert_eq!(journal.verify().await.unwrap(), 3);
}

#[tokio::test]
async fn a_damaged_snapshot_keeps_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    let epoch = journal.claim("one").await.unwrap();
    fill(&journal, "a", 3, epoch).await;
    journal.put_snapshot("a", 3, epoch, 1, &json!("three")).await.unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("UPDATE snapshots SET state = '\"four\"'", []).unwrap();
    let error = journal.remove_records(epoch, 0, Timestamp::MIN).await.unwrap_err();
    assert!(error.to_string().contains("the snapshot of stream a"), "{error}");
    assert_eq!(journal.read("a", 0).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_snapshot_of_what_was_removed_can_not_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    let epoch = journal.claim("one").await.unwrap();
    fill(&journal, "a", 3, epoch).await;
    journal.put_snapshot("a", 2, epoch, 1, &json!("two")).await.unwrap();
    remove(&journal, epoch, 0).await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    for statement in
        ["DELETE FROM snapshots", "UPDATE streams SET first = 3", "UPDATE streams SET first = 1", "DELETE FROM records"]
    {
        assert!(connection.execute(statement, []).is_err(), "{statement}");
    }
}

#[tokio::test]
async fn an_unreadable_snapshot_is_told_when_nothing_else_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    let mut log = Log::open(journal.clone(), epoch, "unit/a/b/c".into(), UnitState::default()).await.unwrap();
    log.append(at(0), &[UnitEvent::Suspended { by: "me".into(), reason: "test".into() }]).await.unwrap();
    journal.put_snapshot("unit/a/b/c", 1, epoch, 99, &json!({})).await.unwrap();
    let opened = Log::open(journal.clone(), epoch, "unit/a/b/c".into(), UnitState::default()).await.unwrap();
    assert!(opened.state().suspended.is_some(), "the events are still there and are folded");
    remove(&journal, epoch, 0).await;
    match Log::open(journal, epoch, "unit/a/b/c".into(), UnitState::default()).await.map(|_| ()).unwrap_err() {
        error @ LogError::Snapshot { .. } => assert!(error.to_string().contains("version 99"), "{error}"),
        other => panic!("{other}"),
    }
}

pub(super) fn digest(text: &str) -> Digest {
    Digest::of_bytes("r1", text.as_bytes())
}

/// The events of one rollout that ends well.
pub(super) fn rollout(number: u64, rendered: &Digest, plan: &Digest) -> Vec<UnitEvent> {
    let revision = Revision(format!("{number:040x}"));
    let (version, id) = (format!("1.{number}.0"), RolloutId(format!("{number:032x}")));
    let phase = PhaseId(1);
    let restarts = std::collections::BTreeMap::new();
    vec![
        UnitEvent::CandidateSeen { revision: revision.clone(), rendered: rendered.clone(), version },
        UnitEvent::EffectiveSet { revision: revision.clone(), rendered: Some(rendered.clone()) },
        UnitEvent::RolloutStarted {
            id,
            plan: plan.clone(),
            kind: PlanKind::Rollout,
            to: Some(rendered.clone()),
            fallback: None,
            cause: None,
        },
        UnitEvent::Rollout(RolloutEvent::PhaseEntered { phase, restarts }),
        UnitEvent::Rollout(RolloutEvent::PhaseTrue { phase }),
        UnitEvent::Rollout(RolloutEvent::FullTraffic {}),
        UnitEvent::Rollout(RolloutEvent::Ended { outcome: Outcome::Verified }),
        UnitEvent::Verified { revision, rendered: rendered.clone(), restarts: 0, undo: Vec::new() },
    ]
}

const UNITS: u64 = 50;
const ROUNDS: u64 = 200;
const KEEP: u64 = 2_000;

async fn roll_out_once(journal: &SqliteJournal, log: &mut Log<UnitState>, epoch: Epoch, unit: u64, round: u64) {
    let (rendered, plan) = (format!("desired {unit} {round}"), format!("plan {unit} {round}"));
    let (desired, planned) = (digest(&rendered), digest(&plan));
    // As large as they are for a small app.
    journal.put_blob(&desired, epoch, rendered.repeat(100).as_bytes()).await.unwrap();
    journal.put_blob(&planned, epoch, plan.repeat(200).as_bytes()).await.unwrap();
    log.append(at(round), &rollout(round, &desired, &planned)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_stays_bounded_over_ten_thousand_rollouts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    let epoch = journal.claim("one").await.unwrap();
    let blobs = Blobs::new(journal.clone(), no_key()).with_grace(Duration::ZERO);
    let mut logs = Vec::new();
    for unit in 0..UNITS {
        let stream = format!("unit/app-{unit}/production/default");
        logs.push(Log::open(journal.clone(), epoch, stream, UnitState::default()).await.unwrap());
    }
    let mut largest: Vec<u64> = Vec::new();
    for round in 0..ROUNDS {
        let all = logs.iter_mut().zip(0..).map(|(log, unit)| roll_out_once(&journal, log, epoch, unit, round));
        futures_util::future::join_all(all).await;
        if round % 10 == 9 {
            for log in &mut logs {
                log.snapshot().await;
            }
            while remove(&journal, epoch, KEEP).await > 0 {}
            let needed: BTreeSet<Digest> = logs.iter().flat_map(|log| pins(log.state())).collect();
            blobs.sweep(epoch, &needed).await.unwrap();
            largest.push(std::fs::metadata(&path).unwrap().len());
        }
    }
    let kept = journal.blobs().await.unwrap().len();
    let at_most = usize::try_from(UNITS).unwrap() * (HISTORY + 8);
    assert!(kept <= at_most, "{kept} blobs are kept, more than {at_most}");
    let count = journal.verify().await.unwrap();
    assert!(count <= KEEP + UNITS, "{count} records are kept");
    // The history is full after a quarter of the rounds: from there on the file does not grow.
    let (half, end) = (largest[largest.len() / 2], largest[largest.len() - 1]);
    assert!(end < half + half / 5, "the file grew from {half} to {end} bytes in the second half: {largest:?}");
    drop(logs);

    for unit in 0..UNITS {
        let stream = format!("unit/app-{unit}/production/default");
        let log = Log::open(journal.clone(), epoch, stream, UnitState::default()).await.unwrap();
        let state: &UnitState = log.state();
        assert_eq!(state.history.len(), HISTORY);
        let verified = state.last_verified.as_ref().unwrap();
        assert_eq!(verified.rendered, digest(&format!("desired {unit} {}", ROUNDS - 1)));
        for pinned in pins(state) {
            assert!(journal.blob(&pinned).await.unwrap().is_some(), "{pinned} is needed and gone");
        }
    }
}

#[tokio::test]
async fn what_was_just_put_survives_a_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    let old = digest("old");
    journal.put_blob(&old, epoch, b"old").await.unwrap();
    let blobs = Blobs::new(journal.clone(), no_key());
    let plan = trimtab::domain::plan::Plan {
        format: 1,
        unit: "a/b/c".parse().unwrap(),
        kind: PlanKind::Remove,
        from: None,
        to: None,
        groups: Default::default(),
        stable: None,
        target: None,
        phases: Vec::new(),
        settle: Vec::new(),
        gradual: 0,
        analyses: Default::default(),
        differences: Vec::new(),
        approximations: Vec::new(),
        left_out: Vec::new(),
        predicted: Default::default(),
    };
    let put = blobs.put_plan(epoch, &plan).await.unwrap();
    assert_eq!(blobs.sweep(epoch, &BTreeSet::new()).await.unwrap(), 1);
    assert_eq!((journal.blob(&old).await.unwrap(), blobs.plan(&put).await.unwrap()), (None, plan));
}

#[tokio::test]
async fn a_file_of_the_first_schema_learns_to_shrink() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal/golden/v1.db"), &path).unwrap();
    let journal = open(&path);
    let epoch = journal.claim("one").await.unwrap();
    let big = vec![7; 4 << 20];
    let digest = Digest::of_bytes("r1", &big);
    journal.put_blob(&digest, epoch, &big).await.unwrap();
    journal.remove_blobs(epoch, &[digest]).await.unwrap();
    drop(journal);
    let size = std::fs::metadata(&path).unwrap().len();
    assert!(size < 1 << 20, "the file has {size} bytes");
}

const CHILD: &str = "JOURNAL_RETENTION_CHILD";

/// Not a test by itself: the child of the next one. It rolls out, makes snapshots and removes until it is killed.
#[tokio::test]
async fn child_that_removes() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let journal = open(Path::new(&path));
    let epoch = journal.claim("child").await.unwrap();
    let blobs = Blobs::new(journal.clone(), no_key()).with_grace(Duration::ZERO);
    let mut log = Log::open(journal.clone(), epoch, "unit/a/b/c".into(), UnitState::default()).await.unwrap();
    let first = log
        .state()
        .last_verified
        .as_ref()
        .map_or(0, |verified| u64::from_str_radix(verified.revision.as_str(), 16).unwrap() + 1);
    for round in first.. {
        roll_out_once(&journal, &mut log, epoch, 0, round).await;
        log.snapshot().await;
        while remove(&journal, epoch, 5).await > 0 {}
        blobs.sweep(epoch, &pins(log.state())).await.unwrap();
        println!("acknowledged {round}");
    }
}

#[tokio::test]
async fn a_kill_while_removing_loses_nothing_that_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    for round in 1..=4_u64 {
        let mut child = Running::spawn(
            Command::new(std::env::current_exe().unwrap())
                .args(["journal::retention::child_that_removes", "--exact", "--nocapture"])
                .env(CHILD, &path)
                .stdout(Stdio::piped()),
        );
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let told = lines.map(|line| line.unwrap()).filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        let acknowledged: u64 = told.take(usize::try_from(round * 5).unwrap()).last().expect("the child did something");
        child.kill();

        let journal = open(&path);
        journal.verify().await.unwrap();
        let epoch = journal.claim("parent").await.unwrap();
        let log = Log::open(journal.clone(), epoch, "unit/a/b/c".into(), UnitState::default()).await.unwrap();
        let state: &UnitState = log.state();
        let verified = u64::from_str_radix(state.last_verified.as_ref().unwrap().revision.as_str(), 16).unwrap();
        assert!(verified >= acknowledged, "{acknowledged} was acknowledged, {verified} is there");
        for pinned in pins(state) {
            assert!(journal.blob(&pinned).await.unwrap().is_some(), "{pinned} is needed and gone");
        }
        assert_eq!(append(&journal, "other", round - 1, epoch).await.unwrap(), round);
    }
}
