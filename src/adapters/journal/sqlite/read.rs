//! What is read, each piece compared with its checksum.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::Value;

use super::checksum::{self, RecordParts};
use super::state::{Harm, State};
use crate::domain::id::Epoch;
use crate::ports::journal::{JournalError, Record};

const RECORDS: &str = "SELECT s.name, r.seq, r.global, r.epoch, r.at, r.version, r.event, r.sum
    FROM records r JOIN streams s ON s.id = r.stream";

/// The events of a stream after a number: all of them, without gaps, or an error.
pub(super) fn stream(
    connection: &Connection,
    state: &State,
    stream: &str,
    after: u64,
) -> Result<Vec<Record>, JournalError> {
    let told = |error| state.told(error);
    // One transaction: the number of events and the events are of the same moment.
    let transaction = connection.unchecked_transaction().map_err(told)?;
    let known: Option<(u64, u64)> = transaction
        .prepare_cached("SELECT events, first FROM streams WHERE name = ?1")
        .and_then(|mut query| query.query_row([stream], |row| Ok((row.get(0)?, row.get(1)?))).optional())
        .map_err(told)?;
    let (events, first) = known.unwrap_or_default();
    if after < first {
        return Err(JournalError::Removed { stream: stream.to_owned(), first });
    }
    let mut records = Vec::new();
    let mut query = transaction
        .prepare_cached(&format!("{RECORDS} WHERE s.name = ?1 AND r.seq > ?2 ORDER BY r.seq"))
        .map_err(told)?;
    let mut rows = query.query((stream, after)).map_err(told)?;
    while let Some(row) = rows.next().map_err(told)? {
        let (_, record) = decode(row, state)?;
        let due = after + records.len() as u64 + 1;
        if record.seq != due {
            return Err(missing(state, stream, due));
        }
        records.push(record);
    }
    match after + records.len() as u64 {
        end if end < events => Err(missing(state, stream, end + 1)),
        _ => Ok(records),
    }
}

/// The streams whose names begin with a prefix.
pub(super) fn streams(
    connection: &Connection,
    state: &State,
    prefix: &str,
) -> Result<BTreeMap<String, u64>, JournalError> {
    let mut query = connection
        .prepare_cached("SELECT name, events FROM streams WHERE substr(name, 1, length(?1)) = ?1")
        .map_err(|error| state.told(error))?;
    let rows = query.query_map([prefix], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.and_then(Iterator::collect).map_err(|error| state.told(error))
}

/// The events of all streams after a global number.
pub(super) fn since(
    connection: &Connection,
    state: &State,
    global: u64,
    limit: usize,
) -> Result<Vec<(String, Record)>, JournalError> {
    let query = format!("{RECORDS} WHERE r.global > ?1 ORDER BY r.global LIMIT ?2");
    beside(connection, state, &query, global, limit)
}

/// The events of all streams before a global number, the newest first.
pub(super) fn before(
    connection: &Connection,
    state: &State,
    global: u64,
    limit: usize,
) -> Result<Vec<(String, Record)>, JournalError> {
    let query = format!("{RECORDS} WHERE r.global < ?1 ORDER BY r.global DESC LIMIT ?2");
    beside(connection, state, &query, global, limit)
}

/// What a query by a global number and a limit finds.
fn beside(
    connection: &Connection,
    state: &State,
    query: &str,
    global: u64,
    limit: usize,
) -> Result<Vec<(String, Record)>, JournalError> {
    let told = |error| state.told(error);
    let (global, limit) = (i64::try_from(global).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let mut query = connection.prepare_cached(query).map_err(told)?;
    let mut rows = query.query((global, limit)).map_err(told)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next().map_err(told)? {
        records.push(decode(row, state)?);
    }
    Ok(records)
}

/// The highest number over all streams, of what is there and of what was removed.
pub(super) fn newest(connection: &Connection) -> Result<u64, rusqlite::Error> {
    connection
        .prepare_cached("SELECT max((SELECT coalesce(max(global), 0) FROM records), (SELECT coalesce(max(global), 0) FROM removed))")?
        .query_row([], |row| row.get(0))
}

/// The highest number over all streams among the removed records.
pub(super) fn removed(connection: &Connection, state: &State) -> Result<u64, JournalError> {
    connection
        .query_row("SELECT coalesce(max(global), 0) FROM removed", [], |row| row.get(0))
        .map_err(|error| state.told(error))
}

/// The digests of all blobs.
pub(super) fn digests(connection: &Connection, state: &State) -> Result<Vec<String>, JournalError> {
    let all = connection
        .prepare_cached("SELECT digest FROM blobs")
        .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect());
    all.map_err(|error| state.told(error))
}

/// The newest snapshot of a stream.
pub(super) fn snapshot(
    connection: &Connection,
    state: &State,
    stream: &str,
) -> Result<Option<(u64, u32, Value)>, JournalError> {
    let row: Option<(u64, u32, Vec<u8>, Vec<u8>)> = connection
        .prepare_cached(
            "SELECT n.seq, n.version, n.state, n.sum FROM snapshots n JOIN streams s ON s.id = n.stream WHERE s.name = ?1",
        )
        .and_then(|mut query| {
            query
                .query_row([stream], |row| Ok((row.get(0)?, row.get(1)?, bytes(row, 2)?, bytes(row, 3)?)))
                .optional()
        })
        .map_err(|error| state.told(error))?;
    let Some((seq, version, text, sum)) = row else { return Ok(None) };
    let broken = || state.harmed(Harm::Other(format!("the snapshot of stream {stream} does not match its checksum")));
    if checksum::snapshot(stream, seq, version, &text) != sum {
        return Err(broken());
    }
    let value = serde_json::from_slice(&text).map_err(|_| broken())?;
    Ok(Some((seq, version, value)))
}

/// A blob by its digest.
pub(super) fn blob(connection: &Connection, state: &State, digest: &str) -> Result<Option<Vec<u8>>, JournalError> {
    let row: Option<(Vec<u8>, Vec<u8>)> = connection
        .prepare_cached("SELECT bytes, sum FROM blobs WHERE digest = ?1")
        .and_then(|mut query| query.query_row([digest], |row| Ok((bytes(row, 0)?, bytes(row, 1)?))).optional())
        .map_err(|error| state.told(error))?;
    let Some((bytes, sum)) = row else { return Ok(None) };
    if checksum::blob(digest, &bytes) != sum {
        return Err(state.harmed(Harm::Other(format!("blob {digest} does not match its checksum"))));
    }
    Ok(Some(bytes))
}

/// Reads everything and compares; the number of records.
pub(super) fn verify(connection: &Connection, state: &State) -> Result<u64, JournalError> {
    let told = |error| state.told(error);
    let transaction = connection.unchecked_transaction().map_err(told)?;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let firsts = firsts(&transaction, state)?;
    let mut total = 0;
    let mut query = transaction.prepare(&format!("{RECORDS} ORDER BY r.global")).map_err(told)?;
    let mut rows = query.query([]).map_err(told)?;
    while let Some(row) = rows.next().map_err(told)? {
        let (stream, seq) = check(row, state)?;
        total += 1;
        let first = || firsts.get(&stream).copied().unwrap_or(0);
        let last = seen.get(&stream).copied().unwrap_or_else(first);
        if seq != last + 1 {
            return Err(missing(state, &stream, last + 1));
        }
        match seen.get_mut(&stream) {
            Some(last) => *last = seq,
            None => {
                seen.insert(stream, seq);
            }
        }
    }
    let stored: u64 = transaction.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).map_err(told)?;
    if stored != total {
        let what = format!("{} records belong to no stream", stored - total.min(stored));
        return Err(state.harmed(Harm::Other(what)));
    }
    for (stream, events) in streams(&transaction, state, "")? {
        let first = firsts.get(&stream).copied().unwrap_or(0);
        let last = seen.get(&stream).copied().unwrap_or(first);
        if last != events {
            return Err(missing(state, &stream, last.min(events) + 1));
        }
        let snapshot = snapshot(&transaction, state, &stream)?;
        if first > snapshot.map_or(0, |(seq, ..)| seq) {
            let what = format!("nothing stands for the first {first} records of stream {stream}, which were removed");
            return Err(state.harmed(Harm::Other(what)));
        }
    }
    for digest in digests(&transaction, state)? {
        blob(&transaction, state, &digest)?;
    }
    Ok(total)
}

/// How many of each stream's first records were removed.
fn firsts(connection: &Connection, state: &State) -> Result<BTreeMap<String, u64>, JournalError> {
    let all = connection
        .prepare_cached("SELECT name, first FROM streams WHERE first > 0")
        .and_then(|mut query| query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect());
    all.map_err(|error| state.told(error))
}

/// SQLite's own look at its pages and references.
pub(super) fn check_structure(connection: &Connection, state: &State) -> Result<(), JournalError> {
    let told = |error| state.told(error);
    let word: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(told)?;
    if word != "ok" {
        return Err(state.harmed(Harm::Other(word)));
    }
    let orphan: Option<String> =
        connection.query_row("PRAGMA foreign_key_check", [], |row| row.get(0)).optional().map_err(told)?;
    match orphan {
        Some(table) => Err(state.harmed(Harm::Other(format!("a row of {table} refers to nothing")))),
        None => Ok(()),
    }
}

fn missing(state: &State, stream: &str, seq: u64) -> JournalError {
    state.harmed(Harm::Other(format!("record {seq} of stream {stream} is missing")))
}

fn bytes(row: &Row<'_>, index: usize) -> Result<Vec<u8>, rusqlite::Error> {
    Ok(row.get_ref(index)?.as_bytes().map_err(rusqlite::Error::from)?.to_vec())
}

/// A record's stream and number, once its checksum was found to be right.
fn check(row: &Row<'_>, state: &State) -> Result<(String, u64), JournalError> {
    let told = |error| state.told(error);
    // A flipped bit may make a name that is no text: the record is then told by its number over all.
    let stream = String::from_utf8_lossy(&bytes(row, 0).map_err(told)?).into_owned();
    let seq: u64 = row.get(1).map_err(told)?;
    let damaged = || state.harmed(Harm::Record { stream: stream.clone(), seq });
    let number = |index| row.get::<_, u64>(index).map_err(|_| damaged());
    let text = |index| row.get_ref(index).and_then(|value| Ok(value.as_bytes()?)).map_err(told);
    let (global, epoch) = (number(2)?, number(3)?);
    let version = u32::try_from(number(5)?).map_err(|_| damaged())?;
    let parts = RecordParts { stream: &stream, seq, global, epoch, at: text(4)?, version, event: text(6)? };
    if checksum::record(&parts)[..] != *text(7)? {
        return Err(damaged());
    }
    Ok((stream, seq))
}

fn decode(row: &Row<'_>, state: &State) -> Result<(String, Record), JournalError> {
    let (stream, seq) = check(row, state)?;
    let damaged = || state.harmed(Harm::Record { stream: stream.clone(), seq });
    let number = |index| row.get::<_, u64>(index).map_err(|_| damaged());
    let (global, epoch) = (number(2)?, number(3)?);
    let version = u32::try_from(number(5)?).map_err(|_| damaged())?;
    let (at, event) = (bytes(row, 4).map_err(|_| damaged())?, bytes(row, 6).map_err(|_| damaged())?);
    let at = std::str::from_utf8(&at).ok().and_then(|text| text.parse().ok()).ok_or_else(damaged)?;
    let event = serde_json::from_slice(&event).map_err(|_| damaged())?;
    Ok((stream.clone(), Record { seq, global, epoch: Epoch(epoch), at, version, event }))
}
