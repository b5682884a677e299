//! Appending, reading, snapshots, blobs.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use trimtab::adapters::journal::sqlite::{MAX_BLOB, MAX_EVENT};
use trimtab::domain::digest::Digest;
use trimtab::domain::id::Epoch;
use trimtab::ports::journal::{Journal, JournalError, NewEvent};

use super::{append, at, event, open};

#[tokio::test]
async fn gives_back_what_was_appended_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/journal.db");
    let journal = open(&path);
    let epoch = journal.claim("one").await.unwrap();
    assert_eq!(epoch, Epoch(1));
    assert_eq!(journal.append("unit/a", 0, epoch, at(0), &[event(1), event(2)]).await.unwrap(), 2);
    assert_eq!(journal.append("unit/b", 0, epoch, at(1), &[event(9)]).await.unwrap(), 1);
    assert_eq!(journal.append("unit/a", 2, epoch, at(2), &[event(3)]).await.unwrap(), 3);
    assert_eq!(journal.append("unit/a", 3, epoch, at(3), &[]).await.unwrap(), 3);
    drop(journal);

    let journal = open(&path);
    let all = journal.read("unit/a", 0).await.unwrap();
    assert_eq!(all.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(all[2].event, event(3).event);
    assert_eq!((all[2].epoch, all[2].version, all[2].at), (epoch, 1, at(2)));
    assert_eq!(journal.read("unit/a", 2).await.unwrap(), all[2..]);
    assert_eq!(journal.read("unit/a", 7).await.unwrap(), []);
    assert_eq!(journal.read("unit/none", 0).await.unwrap(), []);
    let streams = journal.streams("unit/").await.unwrap();
    assert_eq!(streams, BTreeMap::from([("unit/a".to_owned(), 3), ("unit/b".to_owned(), 1)]));
    assert!(journal.streams("unit/c").await.unwrap().is_empty());
    assert_eq!(journal.verify().await.unwrap(), 4);
}

#[tokio::test]
async fn orders_everything_by_the_global_number() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    for number in 0..5 {
        append(&journal, "a", number, epoch).await.unwrap();
        append(&journal, "b", number, epoch).await.unwrap();
    }
    let first = journal.since(0, 4).await.unwrap();
    let seen: Vec<_> = first.iter().map(|(stream, record)| (stream.as_str(), record.seq, record.global)).collect();
    assert_eq!(seen, [("a", 1, 1), ("b", 1, 2), ("a", 2, 3), ("b", 2, 4)]);
    let rest = journal.since(first[3].1.global, usize::MAX).await.unwrap();
    assert_eq!(rest.len(), 6);
    assert!(journal.since(10, 100).await.unwrap().is_empty());
}

#[tokio::test]
async fn refuses_a_writer_that_has_not_read_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    append(&journal, "a", 0, epoch).await.unwrap();
    for expected in [0, 2] {
        match append(&journal, "a", expected, epoch).await {
            Err(JournalError::Conflict { stream, expected: told, actual: 1 }) => {
                assert_eq!((stream.as_str(), told), ("a", expected));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(journal.read("a", 0).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_concurrent_writers_wins_each_place() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..8_u64 {
        let journal = journal.clone();
        writers.push(tokio::spawn(async move {
            let (mut written, mut expected) = (0, 0);
            while written < 20 {
                match journal.append("shared", expected, epoch, at(0), &[event(writer)]).await {
                    Ok(now) => (written, expected) = (written + 1, now),
                    Err(JournalError::Conflict { actual, .. }) => expected = actual,
                    Err(other) => panic!("{other}"),
                }
            }
            for number in 0..20 {
                append(&journal, &format!("own/{writer}"), number, epoch).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(journal.streams("").await.unwrap().values().sum::<u64>(), 320);
    assert_eq!(journal.read("shared", 0).await.unwrap().len(), 160);
    assert_eq!(journal.verify().await.unwrap(), 320);
}

#[tokio::test]
async fn keeps_the_newest_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    journal.append("a", 0, epoch, at(0), &[event(1), event(2)]).await.unwrap();
    assert_eq!(journal.snapshot("a").await.unwrap(), None);
    journal.put_snapshot("a", 2, epoch, 3, &json!({"sum": 2})).await.unwrap();
    journal.put_snapshot("a", 1, epoch, 3, &json!({"sum": 1})).await.unwrap();
    assert_eq!(journal.snapshot("a").await.unwrap(), Some((2, 3, json!({"sum": 2}))));
    let beyond = journal.put_snapshot("a", 3, epoch, 3, &json!({})).await.unwrap_err();
    assert!(beyond.to_string().contains("has no 3 events"), "{beyond}");
}

#[tokio::test]
async fn keeps_blobs_by_their_digest() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    let digest = Digest::of_bytes("r1", b"content");
    assert_eq!(journal.blob(&digest).await.unwrap(), None);
    for _ in 0..2 {
        journal.put_blob(&digest, epoch, b"content").await.unwrap();
    }
    assert_eq!(journal.blob(&digest).await.unwrap().as_deref(), Some(&b"content"[..]));
    let other = journal.put_blob(&digest, epoch, b"other").await.unwrap_err();
    assert!(other.to_string().contains("other content"), "{other}");
    assert_eq!(journal.blob(&digest).await.unwrap().as_deref(), Some(&b"content"[..]));
}

#[tokio::test]
async fn refuses_what_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    let large = NewEvent { version: 1, event: json!("x".repeat(MAX_EVENT)) };
    assert!(journal.append("a", 0, epoch, at(0), &[large]).await.is_err());
    assert!(journal.append(&"a".repeat(2000), 0, epoch, at(0), &[event(1)]).await.is_err());
    let bytes = vec![0; MAX_BLOB + 1];
    assert!(journal.put_blob(&Digest::of_bytes("r1", &bytes), epoch, &bytes).await.is_err());
    assert!(journal.streams("").await.unwrap().is_empty());
}

#[tokio::test]
async fn only_its_owner_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    std::fs::write(&path, b"").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let journal = open(&path);
    let epoch = journal.claim("one").await.unwrap();
    append(&journal, "a", 0, epoch).await.unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert!(files >= 3, "database, log, lock: {files}");
}

#[tokio::test]
async fn a_copy_made_in_use_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("journal.db"));
    let epoch = journal.claim("one").await.unwrap();
    append(&journal, "a", 0, epoch).await.unwrap();
    let copy = folder.path().join("copy.db");
    journal.backup(copy.clone()).await.unwrap();
    append(&journal, "a", 1, epoch).await.unwrap();
    assert!(journal.backup(copy.clone()).await.is_err(), "a file that exists is not written over");
    assert_eq!(open(&copy).read("a", 0).await.unwrap().len(), 1);
}
