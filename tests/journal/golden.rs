//! Journals that earlier versions wrote must open for good. `golden/vN.db` was written by the first version with schema N
//! and is never written again.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use trimtab::adapters::journal::sqlite::SqliteJournal;
use trimtab::app::log::Log;
use trimtab::domain::digest::Digest;
use trimtab::domain::id::Epoch;
use trimtab::domain::unit::event::UnitEvent;
use trimtab::domain::unit::state::UnitState;
use trimtab::ports::journal::{Journal, JournalError, NewEvent};

use super::retention::{digest, rollout};
use super::{append, at, event, open};

/// The stream in the newer ones whose first events were removed.
const REMOVED: &str = "unit/removed/staging/default";

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/journal/golden").join(name)
}

/// Writes the golden journal of a new schema when asked to: `TRIMTAB_NEW_GOLDEN=v2.db tests/run journal::golden`.
#[tokio::test]
async fn write_a_new_one() {
    let Some(name) = std::env::var_os("TRIMTAB_NEW_GOLDEN") else { return };
    let path = golden(name.to_str().unwrap());
    assert!(!path.exists(), "a golden journal is never written again");
    let journal = open(&path);
    let epoch = journal.claim("golden").await.unwrap();
    let events = [NewEvent { version: 1, event: json!({"planned": {"plan": "p1:00"}}) }, event(2)];
    journal.append("unit/hello/staging/default", 0, epoch, at(0), &events).await.unwrap();
    append(&journal, "installation", 0, epoch).await.unwrap();
    let epoch = journal.claim_above("golden again", Epoch(6)).await.unwrap();
    append(&journal, "installation", 1, epoch).await.unwrap();
    journal.put_blob(&Digest::of_bytes("r1", b"blob"), epoch, b"blob").await.unwrap();
    let mut log = Log::open(journal.clone(), epoch, REMOVED.into(), UnitState::default()).await.unwrap();
    for round in 0..3 {
        log.append(at(round), &rollout(round, &digest("desired"), &digest("plan"))).await.unwrap();
    }
    log.snapshot().await;
    let suspended = UnitEvent::Suspended { by: "me".into(), reason: "golden".into() };
    log.append(at(3), &[suspended]).await.unwrap();
    while journal.remove_records(epoch, 0, jiff::Timestamp::MIN).await.unwrap() > 0 {}
    journal.put_snapshot("installation", 1, epoch, 4, &json!({"one": [1]})).await.unwrap();
    drop(journal);
    std::fs::remove_file(path.with_file_name(format!("{}.lock", name.to_str().unwrap()))).unwrap();
}

/// The stream whose first events were removed: what its snapshot holds is known only from there.
async fn check_removed(journal: &Arc<SqliteJournal>) {
    assert!(matches!(journal.read(REMOVED, 0).await, Err(JournalError::Removed { first: 24, .. })));
    let log = Log::open(journal.clone(), Epoch(8), REMOVED.into(), UnitState::default()).await.unwrap();
    let state: &UnitState = log.state();
    assert_eq!(state.last_verified.as_ref().unwrap().rendered, digest("desired"));
    assert_eq!((state.history.len(), state.history[2].ended), (3, at(2)));
    assert_eq!(state.rollout.as_ref().unwrap().plan, digest("plan"));
    assert_eq!(state.suspended, Some(("me".into(), "golden".into())), "the event after the snapshot");
    assert_eq!(journal.removed().await.unwrap(), 28);
}

#[tokio::test]
async fn every_golden_journal_opens_reads_and_takes_more() {
    let mut seen = 0;
    for entry in std::fs::read_dir(golden("")).unwrap() {
        let entry = entry.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        std::fs::copy(entry.path(), &path).unwrap();
        let journal = open(&path);
        let removes = entry.file_name() != "v1.db";
        assert_eq!(journal.verify().await.unwrap(), 4 + u64::from(removes), "{:?}", entry.path());
        let unit = journal.read("unit/hello/staging/default", 0).await.unwrap();
        assert_eq!(unit[0].event, json!({"planned": {"plan": "p1:00"}}));
        assert_eq!((unit[1].event.clone(), unit[1].epoch, unit[1].at), (event(2).event, Epoch(1), at(0)));
        let all = journal.since(0, 10).await.unwrap();
        assert_eq!((all[3].0.as_str(), all[3].1.global, all[3].1.epoch), ("installation", 4, Epoch(7)));
        assert_eq!(journal.snapshot("installation").await.unwrap(), Some((1, 4, json!({"one": [1]}))));
        let blob = journal.blob(&Digest::of_bytes("r1", b"blob")).await.unwrap();
        assert_eq!(blob.as_deref(), Some(&b"blob"[..]));
        assert_eq!(journal.claim("next").await.unwrap(), Epoch(8));
        if removes {
            check_removed(&journal).await;
        }
        append(&journal, "installation", 2, Epoch(8)).await.unwrap();
        seen += 1;
    }
    assert!(seen > 0, "no golden journal was found");
}
