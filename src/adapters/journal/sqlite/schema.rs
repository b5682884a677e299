//! The schema and how a file comes to it. Forward only: a step is never changed once it was released; the next is added.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{failed, state::State};
use crate::ports::journal::JournalError;

/// `trim`: marks the file as trimtab's.
const APPLICATION_ID: i32 = 0x7472_696d;

/// The steps to the present schema; the file's `user_version` says how many it has.
const MIGRATIONS: [&str; 2] = [include_str!("v1.sql"), include_str!("v2.sql")];

/// The schema that this build writes.
pub(super) const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// Opens the file for writing, making it where there is none, and brings it to this build's schema. A file that is not a
/// journal, or one of a later version, is left as it is. SQLite gives its companions (`-wal`, `-shm`) the same mode.
pub(super) fn open(path: &Path, state: &State) -> Result<Connection, JournalError> {
    match create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(path, error)),
        _ => {}
    }
    let told = |error| state.told(error);
    let mut connection = connect(path).map_err(told)?;
    let found = check(&connection, path, state)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|error| failed(path, error))?;
    if found == 0 {
        // Only before the first table; it is part of the file from then on.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(told)?;
    }
    connection.pragma_update(None, "journal_mode", "WAL").map_err(told)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(told)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(told)?;
    if found < SCHEMA {
        migrate(&mut connection).map_err(told)?;
    }
    make_shrinkable(&connection, state);
    Ok(connection)
}

/// Lets the file give back what is removed from it. Files of earlier versions are written anew once; where another daemon still
/// uses one, or there is no room for that, a later start does it.
fn make_shrinkable(connection: &Connection, state: &State) {
    const INCREMENTAL: i64 = 2;
    let mode = connection.query_row("PRAGMA auto_vacuum", [], |row| row.get::<_, i64>(0));
    if mode.is_ok_and(|mode| mode == INCREMENTAL) {
        return;
    }
    if let Err(error) = connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM") {
        tracing::warn!(path = %state.path().display(), %error, "the journal's file can't shrink yet");
    }
}

/// Opens the file a second time, for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Makes an empty file that only its owner reads, with its name on the disk. It must not exist.
pub(super) fn create(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // A statement is prepared once, not again for each value that is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// The schema of the file, 0 for an empty one.
fn check(connection: &Connection, path: &Path, state: &State) -> Result<u32, JournalError> {
    let number = |query: &str| connection.query_row(query, [], |row| row.get::<_, i64>(0));
    let told = |error| state.told(error);
    let application = number("PRAGMA application_id").map_err(told)?;
    let tables = number("SELECT count(*) FROM sqlite_schema").map_err(told)?;
    if application != i64::from(APPLICATION_ID) && (tables > 0 || application != 0) {
        return Err(failed(path, "this is a database of another program; name another file"));
    }
    let found = u32::try_from(number("PRAGMA user_version").map_err(told)?).unwrap_or(u32::MAX);
    if found > SCHEMA {
        return Err(JournalError::Newer { path: path.display().to_string(), found, known: SCHEMA });
    }
    Ok(found)
}

fn migrate(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked again under the lock: a daemon that takes over may have been faster.
    let found: u32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for step in MIGRATIONS.iter().skip(found as usize) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()
}
