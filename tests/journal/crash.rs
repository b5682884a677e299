//! Death in the middle: of the process, and of the machine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use trimtab::ports::journal::Journal;

use super::{append, at, event, open};
use crate::support::Running;

const CHILD: &str = "JOURNAL_CRASH_CHILD";

/// Not a test by itself: the child of the next one. It appends until it is killed and tells each acknowledgement.
#[tokio::test]
async fn child_that_appends() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let journal = open(Path::new(&path));
    let epoch = journal.claim("child").await.unwrap();
    let mut count = journal.read("a", 0).await.unwrap().len() as u64;
    loop {
        count = journal.append("a", count, epoch, at(count), &[event(count + 1), event(count + 2)]).await.unwrap();
        println!("acknowledged {count}");
    }
}

#[tokio::test]
async fn every_acknowledged_record_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let mut acknowledged = 0;
    for round in 1..=5_u64 {
        let mut child = Running::spawn(
            Command::new(std::env::current_exe().unwrap())
                .args(["journal::crash::child_that_appends", "--exact", "--nocapture"])
                .env(CHILD, &path)
                .stdout(Stdio::piped()),
        );
        let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let told = lines.map(|line| line.unwrap()).filter_map(|line| line.strip_prefix("acknowledged ")?.parse().ok());
        acknowledged = told.take(usize::try_from(round * 7).unwrap()).last().unwrap_or(acknowledged);
        child.kill();
        assert!(acknowledged >= round * 14, "the child appended nothing");

        let journal = open(&path);
        let records = journal.read("a", 0).await.unwrap();
        let count = records.len() as u64;
        assert!(count >= acknowledged, "{acknowledged} were acknowledged, {count} are there");
        assert_eq!(count % 2, 0, "half of an append is there");
        assert!(records.iter().all(|record| record.event == event(record.seq).event));
        assert_eq!(journal.verify().await.unwrap(), count);
    }
}

/// What a power cut leaves is a write-ahead log cut at some length: whatever that is, whole appends are there and no others.
#[tokio::test]
async fn a_log_cut_anywhere_holds_whole_appends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    let epoch = journal.claim("one").await.unwrap();
    for number in 0..20 {
        journal.append("a", number * 3, epoch, at(0), &[event(1), event(2), event(3)]).await.unwrap();
    }
    let database = std::fs::read(&path).unwrap();
    let log = std::fs::read(path.with_file_name("journal.db-wal")).unwrap();
    drop(journal);

    let mut counts = std::collections::BTreeSet::new();
    for cut in (0..=log.len()).step_by(1777).chain([log.len()]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.db");
        std::fs::write(&path, &database).unwrap();
        std::fs::write(path.with_file_name("journal.db-wal"), &log[..cut]).unwrap();
        let journal = open(&path);
        let count = journal.verify().await.unwrap();
        assert_eq!(count % 3, 0, "half of an append is there after a cut at {cut}");
        let epoch = journal.claim("two").await.unwrap();
        append(&journal, "a", count, epoch).await.unwrap();
        counts.insert(count);
    }
    assert_eq!(counts.last(), Some(&60));
    assert!(counts.len() > 10, "the cuts met few appends: {counts:?}");
}
