//! The one thread that writes.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use tokio::sync::oneshot;

use super::checksum::{self, RecordParts};
use super::failed;
use super::lock::Lock;
use super::state::State;
use super::{read, retain};
use crate::domain::id::Epoch;
use crate::ports::journal::JournalError;

/// So many requests share one transaction and its sync at most.
const BATCH: usize = 64;

/// How often a daemon that took over looks whether the old one has left the lock.
const LOCK_RETRY: Duration = Duration::from_millis(500);

/// One event, encoded.
pub(super) struct Event {
    /// The version of its form.
    pub version: u32,
    /// Its JSON text.
    pub text: String,
}

/// What is written.
pub(super) enum Write {
    /// The next epoch, above `seen`.
    Claim { holder: String, seen: Epoch },
    /// Events of one stream.
    Append { stream: String, expected: u64, epoch: Epoch, at: String, events: Vec<Event> },
    /// The fold of a stream's first events.
    Snapshot { stream: String, seq: u64, epoch: Epoch, version: u32, state: String },
    /// Bytes by their digest.
    Blob { digest: String, epoch: Epoch, bytes: Vec<u8> },
    /// Records that a snapshot stands for go, but for the newest and what came since an instant.
    RemoveRecords { epoch: Epoch, keep: u64, since: Timestamp },
    /// Blobs go.
    RemoveBlobs { epoch: Epoch, digests: Vec<String> },
}

impl Write {
    fn removes(&self) -> bool {
        matches!(self, Write::RemoveRecords { .. } | Write::RemoveBlobs { .. })
    }
}

/// A write and who waits for it.
pub(super) struct Request {
    /// What.
    pub write: Write,
    /// Gets the epoch of a claim, the number of events after an append, how many were removed.
    pub reply: oneshot::Sender<Result<u64, JournalError>>,
}

/// Why one write did not happen.
pub(super) enum Refused {
    /// It alone is refused.
    One(JournalError),
    /// The store failed: nothing of the transaction happened.
    All(rusqlite::Error),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Refused::All(error)
    }
}

/// Writes what is asked for until nobody can ask any more.
pub(super) fn run(mut connection: Connection, requests: &Receiver<Request>, mut lock: Lock, state: &State) {
    while let Some(first) = next(requests, &mut lock) {
        let mut batch = vec![first];
        batch.extend(requests.try_iter().take(BATCH - 1));
        let results = commit(&mut connection, state, &batch);
        if batch.iter().zip(&results).any(|(request, result)| request.write.removes() && result.is_ok()) {
            retain::shrink(&connection);
        }
        for (request, result) in batch.into_iter().zip(results) {
            // Who no longer waits has lost interest in the answer, not in the write.
            let _ = request.reply.send(result);
        }
    }
}

fn next(requests: &Receiver<Request>, lock: &mut Lock) -> Option<Request> {
    loop {
        if lock.held() {
            return requests.recv().ok();
        }
        match requests.recv_timeout(LOCK_RETRY) {
            Ok(request) => return Some(request),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

fn commit(connection: &mut Connection, state: &State, batch: &[Request]) -> Vec<Result<u64, JournalError>> {
    if state.refusal().is_some() {
        return refuse_all(state, batch.len());
    }
    match transact(connection, state, batch) {
        Ok(results) => results,
        Err(error) => {
            let reason = state.told(error);
            tracing::error!(error = %reason, "the journal did not take a write");
            match state.refusal() {
                Some(_) => refuse_all(state, batch.len()),
                None => (0..batch.len()).map(|_| Err(again(state, &reason))).collect(),
            }
        }
    }
}

fn refuse_all(state: &State, count: usize) -> Vec<Result<u64, JournalError>> {
    (0..count).map(|_| Err(state.refusal().unwrap_or_else(|| failed(state.path(), "writes are refused")))).collect()
}

/// The same failure once more: the error of the port can't be cloned.
fn again(state: &State, error: &JournalError) -> JournalError {
    match error {
        JournalError::Failed { path, reason } => JournalError::Failed { path: path.clone(), reason: reason.clone() },
        other => failed(state.path(), other),
    }
}

/// All writes of a batch in one transaction; one that is refused leaves no trace and does not disturb the others.
fn transact(
    connection: &mut Connection,
    state: &State,
    batch: &[Request],
) -> Result<Vec<Result<u64, JournalError>>, rusqlite::Error> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut results = Vec::with_capacity(batch.len());
    for request in batch {
        let savepoint = transaction.savepoint()?;
        match apply(&savepoint, state, &request.write) {
            Ok(value) => {
                savepoint.commit()?;
                results.push(Ok(value));
            }
            Err(Refused::One(error)) => results.push(Err(error)),
            Err(Refused::All(error)) => return Err(error),
        }
    }
    transaction.commit()?;
    Ok(results)
}

fn apply(connection: &Connection, state: &State, write: &Write) -> Result<u64, Refused> {
    match write {
        Write::Claim { holder, seen } => claim(connection, holder, *seen),
        Write::Append { stream, expected, epoch, at, events } => {
            check_epoch(connection, state, *epoch)?;
            append(connection, stream, *expected, *epoch, at, events)
        }
        Write::Snapshot { stream, seq, epoch, version, state: text } => {
            check_epoch(connection, state, *epoch)?;
            put_snapshot(connection, state, stream, *seq, *version, text)
        }
        Write::Blob { digest, epoch, bytes } => {
            check_epoch(connection, state, *epoch)?;
            put_blob(connection, state, digest, bytes)
        }
        Write::RemoveRecords { epoch, keep, since } => {
            check_epoch(connection, state, *epoch)?;
            retain::records(connection, state, *keep, *since)
        }
        Write::RemoveBlobs { epoch, digests } => {
            check_epoch(connection, state, *epoch)?;
            retain::blobs(connection, digests)
        }
    }
}

fn current_epoch(connection: &Connection) -> Result<u64, rusqlite::Error> {
    connection.prepare_cached("SELECT coalesce(max(epoch), 0) FROM claims")?.query_row([], |row| row.get(0))
}

fn check_epoch(connection: &Connection, state: &State, mine: Epoch) -> Result<(), Refused> {
    let current = Epoch(current_epoch(connection)?);
    match mine.cmp(&current) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(Refused::One(JournalError::Stale { mine, current })),
        std::cmp::Ordering::Greater => Err(Refused::One(failed(
            state.path(),
            format!(
                "epoch {mine} was never claimed here (the highest is {current}): was an older copy put in its place?"
            ),
        ))),
    }
}

fn claim(connection: &Connection, holder: &str, seen: Epoch) -> Result<u64, Refused> {
    let epoch = current_epoch(connection)?.max(seen.0).saturating_add(1);
    connection.execute("INSERT INTO claims (epoch, holder) VALUES (?1, ?2)", (epoch, holder))?;
    Ok(epoch)
}

fn append(
    connection: &Connection,
    stream: &str,
    expected: u64,
    epoch: Epoch,
    at: &str,
    events: &[Event],
) -> Result<u64, Refused> {
    let known: Option<(i64, u64)> = connection
        .prepare_cached("SELECT id, events FROM streams WHERE name = ?1")?
        .query_row([stream], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let actual = known.map_or(0, |(_, events)| events);
    if actual != expected {
        return Err(Refused::One(JournalError::Conflict { stream: stream.to_owned(), expected, actual }));
    }
    if events.is_empty() {
        return Ok(actual);
    }
    let id = match known {
        Some((id, _)) => id,
        None => {
            connection.prepare_cached("INSERT INTO streams (name, events) VALUES (?1, 0)")?.execute([stream])?;
            connection.last_insert_rowid()
        }
    };
    let mut global = read::newest(connection)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO records (global, stream, seq, epoch, at, version, event, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let mut seq = actual;
    for Event { version, text } in events {
        (seq, global) = (seq + 1, global + 1);
        let sum = checksum::record(&RecordParts {
            stream,
            seq,
            global,
            epoch: epoch.0,
            at: at.as_bytes(),
            version: *version,
            event: text.as_bytes(),
        });
        insert.execute((global, id, seq, epoch.0, at, version, text, sum))?;
    }
    connection.prepare_cached("UPDATE streams SET events = ?2 WHERE id = ?1")?.execute((id, seq))?;
    Ok(seq)
}

fn put_snapshot(
    connection: &Connection,
    state: &State,
    stream: &str,
    seq: u64,
    version: u32,
    text: &str,
) -> Result<u64, Refused> {
    let known: Option<(i64, u64)> = connection
        .prepare_cached("SELECT id, events FROM streams WHERE name = ?1")?
        .query_row([stream], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((id, _)) = known.filter(|(_, events)| *events >= seq) else {
        let reason = format!("stream {stream} has no {seq} events that a snapshot could stand for");
        return Err(Refused::One(failed(state.path(), reason)));
    };
    let sum = checksum::snapshot(stream, seq, version, text.as_bytes());
    connection
        .prepare_cached(
            "INSERT INTO snapshots (stream, seq, version, state, sum) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (stream) DO UPDATE SET seq = excluded.seq, version = excluded.version, state = excluded.state,
             sum = excluded.sum WHERE excluded.seq >= seq",
        )?
        .execute((id, seq, version, text, sum))?;
    Ok(seq)
}

fn put_blob(connection: &Connection, state: &State, digest: &str, bytes: &[u8]) -> Result<u64, Refused> {
    let sum = checksum::blob(digest, bytes);
    let inserted = connection
        .prepare_cached("INSERT INTO blobs (digest, bytes, sum) VALUES (?1, ?2, ?3) ON CONFLICT (digest) DO NOTHING")?
        .execute((digest, bytes, &sum))?;
    if inserted == 0 {
        let stored: Vec<u8> =
            connection.query_row("SELECT sum FROM blobs WHERE digest = ?1", [digest], |row| row.get(0))?;
        if stored != sum {
            let reason =
                format!("blob {digest} is there with other content: what is stored under a digest never changes");
            return Err(Refused::One(failed(state.path(), reason)));
        }
    }
    Ok(0)
}
