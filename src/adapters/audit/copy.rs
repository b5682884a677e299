//! The audit log in a backup: copied while it is in use, and put in place where it is not continued there already.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::{AuditLog, DATABASE, HEAD, connect, failed};
use crate::ports::audit::AuditError;

/// The log's files.
const FILES: [&str; 4] = [DATABASE, "audit.db-wal", "audit.db-shm", HEAD];

/// Copies a log as it is at one moment, sound or not, from one folder to another, also while a daemon writes it. Answers how many records
/// it has; `None`: there is no log.
///
/// # Errors
///
/// It can't be read, or the copy can't be written.
pub fn copy(from: &Path, to: &Path) -> Result<Option<u64>, AuditError> {
    let (path, target) = (from.join(DATABASE), to.join(DATABASE));
    if !path.is_file() {
        return Ok(None);
    }
    // The head first: it is never ahead of the copy then.
    if from.join(HEAD).is_file() {
        fs::copy(from.join(HEAD), to.join(HEAD)).map_err(|error| failed(&from.join(HEAD), &error))?;
    }
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target);
    made.map_err(|error| failed(&target, &error))?;
    let copied = (|| {
        let mut source = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let transaction = source.transaction_with_behavior(TransactionBehavior::Deferred)?;
        let count = transaction.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
        transaction.backup(rusqlite::MAIN_DB, &target, None)?;
        Ok(count)
    })();
    copied.map(Some).map_err(|error: rusqlite::Error| failed(&path, &error))
}

/// Puts a copied log in place of the one in a folder that no daemon uses, whose files are moved to the folder `aside`; a log there that
/// continues the copied one stays, so that no record is lost. Answers whether something was moved.
///
/// # Errors
///
/// [`AuditError::Failed`]; the old log is then still in one of the two places.
pub fn put(copy: &Path, folder: &Path, aside: &Path) -> Result<bool, AuditError> {
    let path = folder.join(DATABASE);
    if !copy.join(DATABASE).is_file() || (path.is_file() && continues(folder, copy)?) {
        return Ok(false);
    }
    let moved = path.exists();
    for name in FILES {
        let old = folder.join(name);
        if old.exists() {
            let step = fs::create_dir_all(aside).and_then(|()| fs::rename(&old, aside.join(name)));
            step.map_err(|error| failed(&old, &error))?;
        }
    }
    for name in [HEAD, DATABASE] {
        let new = copy.join(name);
        if new.exists() {
            fs::rename(&new, folder.join(name)).map_err(|error| failed(&new, &error))?;
        }
    }
    Ok(moved)
}

/// Whether a log has the last record of another. One that can't be read continues nothing.
fn continues(folder: &Path, other: &Path) -> Result<bool, AuditError> {
    let last = AuditLog::open_to_read(other)?.lock().head.clone();
    let hash = |connection: Connection| {
        let found =
            connection.query_row("SELECT hash FROM records WHERE seq = ?1", [last.seq], |row| row.get::<_, String>(0));
        found.optional()
    };
    let found = connect(&folder.join(DATABASE), OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(hash);
    Ok(last.seq == 0 || found.is_ok_and(|hash| hash.as_ref() == Some(&last.hash)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::audit::tests::{entry, filled};
    use crate::ports::audit::Audit;
    use jiff::Timestamp;

    #[tokio::test]
    async fn a_log_that_goes_on_from_the_copied_one_stays_and_any_other_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            dir.path().join(name)
        };
        let log = filled(&folder("log")).await;
        assert_eq!(copy(&folder("log"), &folder("copy")).unwrap(), Some(5), "while it is open");
        assert_eq!(AuditLog::open_to_read(&folder("copy")).unwrap().verify().await.unwrap().seq, 5);
        log.append(Timestamp::UNIX_EPOCH, entry("more")).await.unwrap();
        drop(log);
        let aside = dir.path().join("aside");
        assert!(!put(&folder("copy"), &folder("log"), &aside).unwrap() && !aside.exists());
        assert_eq!(AuditLog::open_to_read(&folder("log")).unwrap().verify().await.unwrap().seq, 6);

        let other = AuditLog::open(&folder("other")).unwrap();
        other.append(Timestamp::UNIX_EPOCH, entry("another story")).await.unwrap();
        drop(other);
        assert!(put(&folder("copy"), &folder("other"), &aside).unwrap());
        assert_eq!(AuditLog::open_to_read(&folder("other")).unwrap().verify().await.unwrap().seq, 5);
        assert_eq!(AuditLog::open_to_read(&aside).unwrap().verify().await.unwrap().seq, 1);
        assert_eq!(copy(&folder("nothing"), &folder("copy")).unwrap(), None);
    }
}
