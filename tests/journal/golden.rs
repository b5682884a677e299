//! Journals that earlier versions wrote must open for good. `golden/vN.db` was written by the first version with schema N
//! and is never written again.

use std::path::PathBuf;

use serde_json::json;
use trimtab::domain::digest::Digest;
use trimtab::domain::id::Epoch;
use trimtab::ports::journal::{Journal, NewEvent};

use super::{append, at, event, open};

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
    journal.put_snapshot("installation", 1, epoch, 4, &json!({"one": [1]})).await.unwrap();
    journal.put_blob(&Digest::of_bytes("r1", b"blob"), epoch, b"blob").await.unwrap();
    drop(journal);
    std::fs::remove_file(path.with_file_name(format!("{}.lock", name.to_str().unwrap()))).unwrap();
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
        assert_eq!(journal.verify().await.unwrap(), 4, "{:?}", entry.path());
        let unit = journal.read("unit/hello/staging/default", 0).await.unwrap();
        assert_eq!(unit[0].event, json!({"planned": {"plan": "p1:00"}}));
        assert_eq!((unit[1].event.clone(), unit[1].epoch, unit[1].at), (event(2).event, Epoch(1), at(0)));
        let all = journal.since(0, 10).await.unwrap();
        assert_eq!((all[3].0.as_str(), all[3].1.global, all[3].1.epoch), ("installation", 4, Epoch(7)));
        assert_eq!(journal.snapshot("installation").await.unwrap(), Some((1, 4, json!({"one": [1]}))));
        let blob = journal.blob(&Digest::of_bytes("r1", b"blob")).await.unwrap();
        assert_eq!(blob.as_deref(), Some(&b"blob"[..]));
        assert_eq!(journal.claim("next").await.unwrap(), Epoch(8));
        append(&journal, "installation", 2, Epoch(8)).await.unwrap();
        seen += 1;
    }
    assert!(seen > 0, "no golden journal was found");
}
