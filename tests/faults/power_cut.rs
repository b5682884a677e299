//! The power goes at any moment: what was synced is there, of everything else any part may be, down to single sectors. The journal
//! opens, and every record that was acknowledged is in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use trimtab::adapters::journal::sqlite::SqliteJournal;
use trimtab::domain::digest::Digest;
use trimtab::ports::journal::{Journal, NewEvent};

use super::recorder::{self, Op};
use crate::sim::dice::Dice;

const CHILD: &str = "POWER_CUT_CHILD";
const SECTOR: usize = 512;
/// How many moments are tried.
const CUTS: usize = 150;

/// A process of its own, since SQLite's file system is one for the whole process.
#[test]
fn fault_03_every_acknowledged_record_survives_a_power_cut() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["faults::power_cut::child_that_is_cut", "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("cuts survived"), "{text}");
}

/// Not a test by itself: the child of the one above.
#[tokio::test]
async fn child_that_is_cut() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    recorder::install(folder.path());
    write_much(&folder.path().join("journal.db")).await;
    let ops = recorder::taken();
    let syncs = ops.iter().filter(|op| matches!(op, Op::Sync { file } if file == "journal.db")).count();
    assert!(syncs > 3, "the write-ahead log was not brought over once: {syncs}");
    let mut dice = Dice::new(3);
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..CUTS {
        // Every other cut is right behind an acknowledgement, where nothing may be missing.
        let mut at = dice.below(ops.len() as u64) as usize;
        while number % 2 == 0 && !matches!(ops[at.saturating_sub(1)], Op::Acknowledged(_)) {
            at = dice.below(ops.len() as u64) as usize;
        }
        seen.insert(survives(&ops[..at], &mut dice).await);
    }
    assert!(seen.len() > CUTS / 4, "the cuts met few states: {seen:?}");
    println!("{CUTS} cuts survived");
}

/// Enough to bring the write-ahead log over to the database several times.
async fn write_much(path: &Path) {
    let journal = SqliteJournal::open(path, false).unwrap();
    let epoch = journal.claim("one").await.unwrap();
    let text = "x".repeat(12_000);
    let mut count = 0;
    for number in 0..400_u64 {
        let event = NewEvent { version: 1, event: json!({ "number": number, "text": text }) };
        count = journal.append("a", count, epoch, at(), &[event.clone(), event]).await.unwrap();
        recorder::acknowledged(count);
        if number % 9 == 0 {
            let bytes = number.to_le_bytes().repeat(700);
            journal.put_blob(&Digest::of_bytes("r1", &bytes), epoch, &bytes).await.unwrap();
            journal.put_snapshot("a", count, epoch, 1, &json!({ "text": text })).await.unwrap();
        }
    }
}

fn at() -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_800_000_000).unwrap()
}

/// One file: what is surely there, and what may be.
#[derive(Default)]
struct File {
    synced: Vec<u8>,
    loose: Vec<Op>,
}

/// Makes what may be left after these operations, and opens it; how many records there are.
async fn survives(ops: &[Op], dice: &mut Dice) -> u64 {
    let mut files: BTreeMap<&str, File> = BTreeMap::new();
    let mut acknowledged = 0;
    for op in ops {
        match op {
            Op::Acknowledged(count) => acknowledged = *count,
            Op::Delete { file } => {
                files.remove(file.as_str());
            }
            Op::Sync { file } => {
                let file = files.entry(file).or_default();
                for op in std::mem::take(&mut file.loose) {
                    apply(&mut file.synced, &op, None);
                }
            }
            Op::Write { file, .. } | Op::Truncate { file, .. } => files.entry(file).or_default().loose.push(op.clone()),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let mood = dice.below(4);
    for (name, mut file) in files {
        for op in &file.loose {
            match mood {
                0 => {}
                1 => apply(&mut file.synced, op, None),
                _ if dice.permille(500) => apply(&mut file.synced, op, Some(dice)),
                _ => {}
            }
        }
        std::fs::write(folder.path().join(name), &file.synced).unwrap();
    }
    let path = folder.path().join("journal.db");
    let journal =
        SqliteJournal::open(&path, false).unwrap_or_else(|error| panic!("after {} operations: {error}", ops.len()));
    let records = journal.verify().await.unwrap_or_else(|error| panic!("after {} operations: {error}", ops.len()));
    assert!(records >= acknowledged, "{acknowledged} were acknowledged, {records} are there");
    assert_eq!(records % 2, 0, "half of an append is there");
    if acknowledged > 0 {
        let epoch = journal.claim("two").await.unwrap();
        let event = NewEvent { version: 1, event: json!({}) };
        assert_eq!(journal.append("a", records, epoch, at(), &[event]).await.unwrap(), records + 1);
    }
    records
}

/// Carries out a write or cut; with dice, only some sectors of a write.
fn apply(content: &mut Vec<u8>, op: &Op, mut dice: Option<&mut Dice>) {
    match op {
        Op::Truncate { size, .. } => content.truncate(usize::try_from(*size).unwrap()),
        Op::Write { at, bytes, .. } => {
            let at = usize::try_from(*at).unwrap();
            let mut offset = 0;
            while offset < bytes.len() {
                // Sectors of the disk, not of the write.
                let end = (((at + offset) / SECTOR + 1) * SECTOR - at).min(bytes.len());
                if dice.as_deref_mut().is_none_or(|dice| dice.permille(700)) {
                    if content.len() < at + end {
                        content.resize(at + end, 0);
                    }
                    content[at + offset..at + end].copy_from_slice(&bytes[offset..end]);
                }
                offset = end;
            }
        }
        Op::Sync { .. } | Op::Delete { .. } | Op::Acknowledged(_) => {}
    }
}
