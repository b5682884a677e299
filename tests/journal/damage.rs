//! Bits that flip, files that are something else.

use std::path::Path;

use serde_json::json;
use trimtab::adapters::journal::sqlite::SqliteJournal;
use trimtab::domain::digest::Digest;
use trimtab::ports::journal::{Journal, JournalError, NewEvent, Record};

use super::{append, at, open};

pub async fn fill(path: &Path) {
    let journal = open(path);
    let epoch = journal.claim("one").await.unwrap();
    for number in 0..4 {
        append(&journal, "removed", number, epoch).await.unwrap();
    }
    journal.put_snapshot("removed", 3, epoch, 1, &json!("what stands for them")).await.unwrap();
    assert_eq!(journal.remove_records(epoch, 0, jiff::Timestamp::MIN).await.unwrap(), 3);
    for number in 0..4 {
        let events = [NewEvent { version: 1, event: json!({ "mark": format!("needle-{number}") }) }];
        journal.append("hurt", number, epoch, at(number), &events).await.unwrap();
        append(&journal, "sound", number, epoch).await.unwrap();
    }
    journal.put_snapshot("hurt", 2, epoch, 1, &json!("snapshot-needle")).await.unwrap();
    journal.put_blob(&Digest::of_bytes("r1", b"blob-needle"), epoch, b"blob-needle").await.unwrap();
}

pub fn flip(path: &Path, needle: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let places: Vec<_> = (0..bytes.len()).filter(|start| bytes[*start..].starts_with(needle.as_bytes())).collect();
    assert!(!places.is_empty(), "{needle} is not in the file");
    for place in places {
        bytes[place] ^= 1;
    }
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn damage_beside_the_records_is_named_too() {
    for (needle, word) in [("snapshot-needle", "the snapshot of stream hurt"), ("blob-needle", "blob r1:")] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        fill(&path).await;
        flip(&path, needle);
        let error = open(&path).claim("two").await.unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

async fn everything(path: &Path) -> Result<Vec<Record>, JournalError> {
    let journal = SqliteJournal::open(path, false)?;
    journal.verify().await?;
    let blob = journal.blob(&Digest::of_bytes("r1", b"blob-needle")).await?;
    assert_eq!(blob.as_deref(), Some(&b"blob-needle"[..]));
    let mut all = journal.read("hurt", 0).await?;
    all.extend(journal.read("sound", 0).await?);
    all.extend(journal.read("removed", 3).await?);
    assert_eq!(journal.snapshot("removed").await?, Some((3, 1, json!("what stands for them"))));
    Ok(all)
}

/// Wherever one bit flips, what was stored comes back unchanged or not at all.
#[tokio::test]
async fn no_flipped_bit_changes_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    fill(&path).await;
    let sound = std::fs::read(&path).unwrap();
    let expected = everything(&path).await.unwrap();
    let used: Vec<usize> = (0..sound.len()).filter(|place| sound[*place] != 0).collect();
    let mut noticed = 0;
    for (round, place) in used.iter().step_by(used.len().div_ceil(300)).enumerate() {
        let mut bytes = sound.clone();
        bytes[*place] ^= 1 << (round % 8);
        let path = folder.path().join(format!("{round}.db"));
        std::fs::write(&path, bytes).unwrap();
        match everything(&path).await {
            Ok(read) => assert_eq!(read, expected, "bit {} of byte {place}", round % 8),
            Err(_) => noticed += 1,
        }
    }
    assert!(noticed > 100, "only {noticed} were noticed");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    fill(&path).await;
    let known: u32 =
        rusqlite::Connection::open(&path).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    match SqliteJournal::open(&path, false) {
        Err(JournalError::Newer { found: 99, known, .. }) => assert!(known < 99),
        other => panic!("{other:?}"),
    }
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", known).unwrap();
    assert_eq!(open(&path).verify().await.unwrap(), 9);
}

#[test]
fn what_is_no_journal_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "some notes\n".repeat(200)).unwrap();
    let error = SqliteJournal::open(&text, false).unwrap_err();
    assert!(error.to_string().contains("not a database"), "{error}");
    assert!(std::fs::read_to_string(&text).unwrap().starts_with("some notes"));

    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE mine (x)").unwrap();
    let before = std::fs::read(&foreign).unwrap();
    let error = SqliteJournal::open(&foreign, false).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(std::fs::read(&foreign).unwrap(), before);
}

#[tokio::test]
async fn records_can_not_be_changed_or_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    fill(&path).await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    for statement in ["UPDATE records SET event = '{}'", "DELETE FROM records"] {
        let error = connection.execute(statement, []).unwrap_err();
        assert!(error.to_string().contains("records are never"), "{error}");
    }
}
