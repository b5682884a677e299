//! Two daemons on one state: the lock and the epoch.

use trimtab::adapters::journal::sqlite::SqliteJournal;
use trimtab::domain::digest::Digest;
use trimtab::domain::id::Epoch;
use trimtab::ports::journal::{Journal, JournalError};

use super::{append, open};
use crate::support::{PATIENCE, eventually};

#[tokio::test]
async fn a_second_daemon_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let first = open(&path);
    match SqliteJournal::open(&path, false) {
        Err(JournalError::Held { path: told }) => assert_eq!(told, path.display().to_string()),
        other => panic!("{other:?}"),
    }
    drop(first);
    open(&path);
}

#[tokio::test]
async fn whoever_was_taken_over_is_stale() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let old = open(&path);
    let old_epoch = old.claim("old").await.unwrap();
    append(&old, "a", 0, old_epoch).await.unwrap();

    let new = SqliteJournal::open(&path, true).unwrap();
    append(&old, "a", 1, old_epoch).await.expect("nothing was claimed yet");
    let new_epoch = new.claim("new").await.unwrap();
    assert!(new_epoch > old_epoch);
    let digest = Digest::of_bytes("r1", b"x");
    for error in [
        append(&old, "a", 2, old_epoch).await.unwrap_err(),
        old.put_blob(&digest, old_epoch, b"x").await.unwrap_err(),
        old.put_snapshot("a", 1, old_epoch, 1, &serde_json::json!({})).await.unwrap_err(),
    ] {
        match error {
            JournalError::Stale { mine, current } => assert_eq!((mine, current), (old_epoch, new_epoch)),
            other => panic!("{other}"),
        }
    }
    assert_eq!(append(&new, "a", 2, new_epoch).await.unwrap(), 3);
    assert_eq!(new.read("a", 0).await.unwrap().len(), 3);
    assert!(old.blob(&digest).await.unwrap().is_none());
}

#[tokio::test]
async fn whoever_took_over_gets_the_lock_when_the_other_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let old = open(&path);
    let new = SqliteJournal::open(&path, true).unwrap();
    new.claim("new").await.unwrap();
    assert!(matches!(SqliteJournal::open(&path, false), Err(JournalError::Held { .. })), "the old one has it");
    drop(old);
    // Whoever opens it in between and leaves again must not disturb that.
    eventually(PATIENCE, "the new daemon has the lock", || {
        matches!(SqliteJournal::open(&path, false), Err(JournalError::Held { .. }))
    });
}

#[tokio::test]
async fn an_epoch_goes_above_what_was_seen_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    assert_eq!(journal.claim_above("a", Epoch(41)).await.unwrap(), Epoch(42));
    assert_eq!(journal.claim_above("b", Epoch(7)).await.unwrap(), Epoch(43));
    assert_eq!(journal.claim("c").await.unwrap(), Epoch(44));
    let unclaimed = append(&journal, "a", 0, Epoch(45)).await.unwrap_err();
    assert!(unclaimed.to_string().contains("never claimed"), "{unclaimed}");
}
