//! What is removed: records that a snapshot stands for, and blobs that nobody needs. Each call is a transaction: a death at any
//! point leaves all of it or nothing.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use super::read;
use super::state::State;
use super::write::Refused;

/// So many records are removed by one transaction, give or take those of one stream: others want to write meanwhile.
const AT_ONCE: u64 = 2_000;

/// So many free pages go back to the file system at a time.
const PAGES_AT_ONCE: u32 = 2_000;

/// Removes records older than an instant, and those before the newest `keep`, where a snapshot stands for them; how many.
/// Fewer than there are to remove: it wants to be asked again until it answers 0.
pub(super) fn records(connection: &Connection, state: &State, keep: u64, since: Timestamp) -> Result<u64, Refused> {
    let newest = read::newest(connection)?;
    let cut = newest.saturating_sub(keep).max(before(connection, since)?);
    let mut due = connection.prepare_cached(
        "SELECT s.id, s.name, (SELECT max(r.seq) FROM records r WHERE r.stream = s.id AND r.seq <= n.seq AND r.global <= ?1)
         FROM streams s JOIN snapshots n ON n.stream = s.id WHERE n.seq > s.first",
    )?;
    let streams = due
        .query_map([cut], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<Vec<(i64, String, Option<u64>)>, _>>()?;
    let (mut count, mut highest) = (0, 0);
    for (id, name, first) in streams {
        let Some(first) = first else { continue };
        // What stands for the records has to be sound before they go.
        read::snapshot(connection, state, &name).map_err(Refused::One)?;
        connection.prepare_cached("UPDATE streams SET first = ?2 WHERE id = ?1")?.execute((id, first))?;
        let last: u64 = connection
            .prepare_cached("SELECT global FROM records WHERE stream = ?1 AND seq = ?2")?
            .query_row((id, first), |row| row.get(0))?;
        highest = last.max(highest);
        let gone =
            connection.prepare_cached("DELETE FROM records WHERE stream = ?1 AND seq <= ?2")?.execute((id, first))?;
        count += gone as u64;
        if count >= AT_ONCE {
            break;
        }
    }
    if count > 0 {
        connection.execute("UPDATE removed SET global = max(global, ?1)", [highest])?;
    }
    Ok(count)
}

/// The number of the newest record before an instant. Records come in the order of time but for a clock that was set back, so a
/// few more or less than asked for may go.
fn before(connection: &Connection, since: Timestamp) -> Result<u64, rusqlite::Error> {
    let (mut low, mut high) =
        connection.query_row("SELECT coalesce(min(global), 0), coalesce(max(global), 0) FROM records", [], |row| {
            Ok((row.get::<_, u64>(0)?, row.get::<_, u64>(1)?))
        })?;
    if high == 0 {
        return Ok(0);
    }
    low = low.saturating_sub(1);
    let mut next =
        connection.prepare_cached("SELECT global, at FROM records WHERE global > ?1 ORDER BY global LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found = next.query_row([middle], |row| Ok((row.get::<_, u64>(0)?, row.get::<_, String>(1)?))).optional()?;
        match found {
            Some((global, at)) if at.parse::<Timestamp>().is_ok_and(|at| at < since) => low = global,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Removes blobs by their digests; how many were there.
pub(super) fn blobs(connection: &Connection, digests: &[String]) -> Result<u64, Refused> {
    let mut remove = connection.prepare_cached("DELETE FROM blobs WHERE digest = ?1")?;
    let mut count = 0;
    for digest in digests {
        count += remove.execute([digest])? as u64;
    }
    Ok(count)
}

/// Gives what was freed back to the file system, a part at a time. Only saves room: its failure is told and changes nothing.
pub(super) fn shrink(connection: &Connection) {
    let freed =
        connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})")).and_then(|mut statement| {
            statement.query([]).and_then(|mut rows| {
                while rows.next()?.is_some() {}
                Ok(())
            })
        });
    if let Err(error) = freed {
        tracing::warn!(%error, "the journal's file does not shrink");
    }
}
