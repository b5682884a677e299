//! The journal in SQLite: what it guarantees, through its port.

mod crash;
pub mod damage;
mod golden;
mod holders;
mod retention;
mod store;
mod values;

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use trimtab::adapters::journal::sqlite::SqliteJournal;
use trimtab::domain::id::Epoch;
use trimtab::ports::journal::{Journal, JournalError, NewEvent};

pub fn open(path: &Path) -> Arc<SqliteJournal> {
    Arc::new(SqliteJournal::open(path, false).unwrap())
}

pub fn event(number: u64) -> NewEvent {
    NewEvent { version: 1, event: json!({ "number": number, "text": "größer \u{1F600} \u{0}" }) }
}

pub fn at(second: u64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(1_800_000_000_123 + i64::try_from(second).unwrap() * 1000).unwrap()
}

pub async fn append(journal: &SqliteJournal, stream: &str, expected: u64, epoch: Epoch) -> Result<u64, JournalError> {
    journal.append(stream, expected, epoch, at(expected), &[event(expected + 1)]).await
}
