//! The audit log in a SQLite file of its own (`audit.db`), and its head in a file beside it (`audit.head`).

pub mod copy;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior};

use crate::domain::audit::{AuditRecord, Broken, Entry, Head};
use crate::ports::audit::{Audit, AuditError};
use crate::secrets::redact;

/// The file of the records.
const DATABASE: &str = "audit.db";
/// The file beside it.
const HEAD: &str = "audit.head";
/// How long a write waits for whoever else has the file open.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many deliveries are remembered.
const DELIVERIES: u64 = 20_000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
    detail TEXT NOT NULL, outcome TEXT NOT NULL, of INTEGER, hash TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS records_never_change BEFORE UPDATE ON records
BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END;
CREATE TRIGGER IF NOT EXISTS records_never_go BEFORE DELETE ON records
BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END;
CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY, hook TEXT NOT NULL, delivery TEXT NOT NULL, UNIQUE (hook, delivery)
) STRICT;
CREATE TABLE IF NOT EXISTS followed (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT;
";

const COLUMNS: &str = "SELECT seq, at, actor, action, subject, detail, outcome, of, hash FROM records";

/// An audit log in a folder.
pub struct AuditLog {
    path: PathBuf,
    head_path: PathBuf,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    connection: Connection,
    head: Head,
}

impl Inner {
    /// Appends records, all or none, durable when this returns. With how far the journal was followed, from where to where, only if it was
    /// followed up to the first of these; answers how far it was.
    fn take(
        &mut self,
        head_path: &Path,
        entries: Vec<(Timestamp, Entry)>,
        follows: Option<(u64, u64)>,
    ) -> Result<u64, rusqlite::Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found = followed(&transaction)?;
        if let Some((from, to)) = follows {
            if found != from {
                return Ok(found);
            }
            transaction.execute("INSERT OR REPLACE INTO followed (one, number) VALUES (1, ?1)", [to])?;
        }
        // A daemon that is being taken over may have written meanwhile.
        let mut head = last(&transaction)?.filter(|last| last.seq > self.head.seq).unwrap_or_else(|| self.head.clone());
        let mut records = Vec::new();
        for (at, entry) in entries {
            let next = head.next(at, clean(entry));
            insert(&transaction, &next)?;
            head = Head { seq: next.seq, hash: next.hash.clone() };
            records.push(next);
        }
        transaction.commit()?;
        if records.is_empty() {
            return Ok(found);
        }
        self.head = head;
        for AuditRecord { seq, entry, hash, .. } in &records {
            // The line in the daemon's log is a copy of the head that whoever can write here can't take back.
            tracing::info!(seq, actor = entry.actor, action = entry.action, outcome = entry.outcome, hash, "audit");
        }
        if let Err(error) = write_head(head_path, &self.head) {
            tracing::warn!(%error, "the head of the audit log is not kept beside it");
        }
        Ok(found)
    }
}

/// What is recorded holds no secret.
fn clean(entry: Entry) -> Entry {
    let redactor = redact::of_process();
    let clean = |text: &str| redactor.text(text).into_owned();
    Entry { detail: clean(&entry.detail), outcome: clean(&entry.outcome), ..entry }
}

/// The last record.
fn last(connection: &Connection) -> Result<Option<Head>, rusqlite::Error> {
    let query = "SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1";
    connection.query_row(query, [], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? })).optional()
}

/// How far the journal was followed.
fn followed(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let number = connection.query_row("SELECT number FROM followed", [], |row| row.get(0)).optional()?;
    Ok(number.unwrap_or(0))
}

impl AuditLog {
    /// Opens the log in a folder; makes it where there is none.
    ///
    /// Where the file beside it names a later record than the log's last, the end was cut off: the numbers go on after that one, so
    /// that the gap stays to be seen.
    ///
    /// # Errors
    ///
    /// The files can't be read or written.
    pub fn open(folder: &Path) -> Result<Self, AuditError> {
        let path = folder.join(DATABASE);
        let told = |error: &dyn std::fmt::Display| failed(&path, error);
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        made.map_err(|error| told(&error))?;
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(|error| told(&error))?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(|error| told(&error))?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(|error| told(&error))?;
        connection.execute_batch(SCHEMA).map_err(|error| told(&error))?;
        let log = Self::over(folder, connection)?;
        {
            let mut inner = log.lock();
            let kept = read_head(&log.head_path)?;
            if kept.seq > inner.head.seq {
                let broken = Broken::Truncated { found: inner.head.seq, seq: kept.seq };
                tracing::error!(%broken, "the audit log goes on after the gap");
                inner.head = kept;
            }
        }
        Ok(log)
    }

    /// Opens a log that is there, for reading only: beside a running daemon, or where none runs.
    ///
    /// # Errors
    ///
    /// It is not there or can't be read.
    pub fn open_to_read(folder: &Path) -> Result<Self, AuditError> {
        let path = folder.join(DATABASE);
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|error| failed(&path, &error))?;
        Self::over(folder, connection)
    }

    fn over(folder: &Path, connection: Connection) -> Result<Self, AuditError> {
        let path = folder.join(DATABASE);
        let head = last(&connection).map_err(|error| failed(&path, &error))?.unwrap_or_default();
        let inner = Arc::new(Mutex::new(Inner { connection, head }));
        Ok(AuditLog { path, head_path: folder.join(HEAD), inner })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Inner) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, AuditError> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&mut inner.lock().unwrap_or_else(PoisonError::into_inner)));
        done.await.map_err(|error| failed(&self.path, &error))?.map_err(|error| refused(&self.path, &error))
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

/// The store did not take or give something; a full disk is told with the way out.
fn refused(path: &Path, error: &rusqlite::Error) -> AuditError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => failed(path, &format!("{error}; make room, it goes on by itself")),
        _ => failed(path, error),
    }
}

fn failed(path: &Path, reason: &dyn std::fmt::Display) -> AuditError {
    AuditError::Failed { path: path.display().to_string(), reason: reason.to_string() }
}

/// `SEQ HASH`; nothing where the file is missing.
fn read_head(path: &Path) -> Result<Head, AuditError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Head::default()),
        Err(error) => return Err(failed(path, &error)),
    };
    let parsed = text.trim().split_once(' ').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash.to_owned())));
    let (seq, hash) = parsed.ok_or_else(|| failed(path, &"it does not hold a number and a hash"))?;
    Ok(Head { seq, hash })
}

fn write_head(path: &Path, head: &Head) -> std::io::Result<()> {
    let beside = path.with_extension("head.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(file, "{} {}", head.seq, head.hash)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn record(row: &Row<'_>) -> Result<AuditRecord, rusqlite::Error> {
    let at: String = row.get(1)?;
    let entry = Entry {
        actor: row.get(2)?,
        action: row.get(3)?,
        subject: row.get(4)?,
        detail: row.get(5)?,
        outcome: row.get(6)?,
        of: row.get(7)?,
    };
    // A time that is none can't have the hash that it had.
    Ok(AuditRecord { seq: row.get(0)?, at: at.parse().unwrap_or(Timestamp::UNIX_EPOCH), entry, hash: row.get(8)? })
}

fn insert(connection: &Connection, record: &AuditRecord) -> Result<(), rusqlite::Error> {
    let AuditRecord { seq, at, entry, hash } = record;
    connection
        .prepare_cached(
            "INSERT INTO records (seq, at, actor, action, subject, detail, outcome, of, hash)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            seq,
            at.to_string(),
            &entry.actor,
            &entry.action,
            &entry.subject,
            &entry.detail,
            &entry.outcome,
            entry.of,
            hash,
        ))?;
    Ok(())
}

#[async_trait]
impl Audit for AuditLog {
    async fn append(&self, at: Timestamp, entry: Entry) -> Result<u64, AuditError> {
        let head_path = self.head_path.clone();
        self.with(move |inner| {
            inner.take(&head_path, vec![(at, entry)], None)?;
            Ok(inner.head.seq)
        })
        .await
    }

    async fn followed(&self) -> Result<u64, AuditError> {
        self.with(|inner| followed(&inner.connection)).await
    }

    async fn follow(&self, from: u64, to: u64, entries: Vec<(Timestamp, Entry)>) -> Result<(), AuditError> {
        let head_path = self.head_path.clone();
        let found = self.with(move |inner| inner.take(&head_path, entries, Some((from, to))));
        match found.await? {
            found if found == from => Ok(()),
            found => Err(AuditError::Followed { expected: from, found }),
        }
    }

    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, AuditError> {
        self.with(move |inner| {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let mut query =
                inner.connection.prepare_cached(&format!("{COLUMNS} WHERE seq > ?1 ORDER BY seq LIMIT ?2"))?;
            query.query_map((after, limit), record)?.collect()
        })
        .await
    }

    async fn length(&self) -> Result<u64, AuditError> {
        self.with(|inner| inner.connection.query_row("SELECT coalesce(max(seq), 0) FROM records", [], |row| row.get(0)))
            .await
    }

    async fn verify(&self) -> Result<Head, AuditError> {
        // The kept head first: what is appended meanwhile is no matter then.
        let kept = read_head(&self.head_path)?;
        let mut head = Head::default();
        let mut kept_hash = (kept.seq == 0).then(|| kept.hash.clone());
        loop {
            let records = self.read(head.seq, 1_000).await?;
            if records.is_empty() {
                break;
            }
            for record in &records {
                head.take(record)?;
                if record.seq == kept.seq {
                    kept_hash = Some(record.hash.clone());
                }
            }
        }
        match kept_hash {
            Some(hash) if hash == kept.hash => Ok(head),
            Some(_) => Err(Broken::Changed { seq: kept.seq }.into()),
            None => Err(Broken::Truncated { found: head.seq, seq: kept.seq }.into()),
        }
    }

    async fn delivered(&self, hook: &str, delivery: &str) -> Result<bool, AuditError> {
        let (hook, delivery) = (hook.to_owned(), delivery.to_owned());
        self.with(move |inner| {
            let mut query =
                inner.connection.prepare_cached("SELECT 1 FROM deliveries WHERE hook = ?1 AND delivery = ?2")?;
            query.exists((hook, delivery))
        })
        .await
    }

    async fn remember_delivery(&self, hook: &str, delivery: &str) -> Result<(), AuditError> {
        let (hook, delivery) = (hook.to_owned(), delivery.to_owned());
        self.with(move |inner| {
            let transaction = inner.connection.transaction()?;
            transaction
                .prepare_cached("INSERT INTO deliveries (hook, delivery) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute((hook, delivery))?;
            transaction
                .prepare_cached("DELETE FROM deliveries WHERE number <= (SELECT max(number) FROM deliveries) - ?1")?
                .execute([DELIVERIES])?;
            transaction.commit()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn entry(subject: &str) -> Entry {
        Entry {
            actor: "alice".into(),
            action: "test".into(),
            subject: subject.into(),
            detail: String::new(),
            outcome: "done".into(),
            of: None,
        }
    }

    pub(super) async fn filled(folder: &Path) -> AuditLog {
        let log = AuditLog::open(folder).unwrap();
        for number in 0..5 {
            log.append(Timestamp::from_second(number).unwrap(), entry(&number.to_string())).await.unwrap();
        }
        log
    }

    /// Does with the file what its triggers would not let a program do by mistake.
    fn tamper(folder: &Path, statement: &str) {
        let connection = Connection::open(folder.join(DATABASE)).unwrap();
        connection.execute_batch("DROP TRIGGER records_never_change; DROP TRIGGER records_never_go;").unwrap();
        connection.execute_batch(statement).unwrap();
    }

    #[tokio::test]
    async fn it_goes_on_after_a_restart_and_is_only_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path()).await);
        let log = AuditLog::open(dir.path()).unwrap();
        assert_eq!(log.append(Timestamp::UNIX_EPOCH, entry("more")).await.unwrap(), 6);
        assert_eq!(log.verify().await.unwrap().seq, 6);
        assert_eq!(log.read(4, 10).await.unwrap().len(), 2);
        assert!(log.lock().connection.execute("DELETE FROM records", []).is_err());
        assert!(log.lock().connection.execute("UPDATE records SET actor = 'bob'", []).is_err());
        assert_eq!(AuditLog::open_to_read(dir.path()).unwrap().verify().await.unwrap().seq, 6);
    }

    #[tokio::test]
    async fn what_was_changed_removed_reordered_or_cut_off_is_found() {
        for (statement, expected) in [
            ("UPDATE records SET actor = 'bob' WHERE seq = 2", Broken::Changed { seq: 2 }),
            ("DELETE FROM records WHERE seq = 3", Broken::Missing { from: 3, to: 3 }),
            ("DELETE FROM records WHERE seq > 3", Broken::Truncated { found: 3, seq: 5 }),
            ("DELETE FROM records", Broken::Truncated { found: 0, seq: 5 }),
            (
                "UPDATE records SET seq = 9 WHERE seq = 1; UPDATE records SET seq = 1 WHERE seq = 2;
                 UPDATE records SET seq = 2 WHERE seq = 9",
                Broken::Changed { seq: 1 },
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            drop(filled(dir.path()).await);
            tamper(dir.path(), statement);
            let found = AuditLog::open_to_read(dir.path()).unwrap().verify().await;
            assert!(matches!(&found, Err(AuditError::Broken(broken)) if *broken == expected), "{statement}: {found:?}");
        }
    }

    #[tokio::test]
    async fn a_cut_end_stays_to_be_seen_when_it_is_written_on() {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path()).await);
        tamper(dir.path(), "DELETE FROM records WHERE seq > 3");
        let log = AuditLog::open(dir.path()).unwrap();
        assert_eq!(log.append(Timestamp::UNIX_EPOCH, entry("after")).await.unwrap(), 6);
        let found = log.verify().await;
        assert!(matches!(found, Err(AuditError::Broken(Broken::Missing { from: 4, to: 5 }))), "{found:?}");
    }

    #[tokio::test]
    async fn what_was_followed_is_recorded_once_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        let at = Timestamp::UNIX_EPOCH;
        log.follow(0, 7, vec![(at, entry("one")), (at, entry("two"))]).await.unwrap();
        let refused = log.follow(0, 7, vec![(at, entry("one"))]).await;
        assert!(matches!(refused, Err(AuditError::Followed { expected: 0, found: 7 })), "{refused:?}");
        assert_eq!(log.append(at, entry("asked")).await.unwrap(), 3);
        log.follow(7, 1_000, Vec::new()).await.unwrap();
        drop(log);
        let log = AuditLog::open(dir.path()).unwrap();
        assert_eq!(log.followed().await.unwrap(), 1_000);
        assert_eq!(log.verify().await.unwrap().seq, 3);
        // Nothing of it is there when the last of it can't be.
        log.lock().connection.execute_batch("DROP TABLE followed").unwrap();
        assert!(log.follow(1_000, 1_001, vec![(at, entry("three"))]).await.is_err());
        assert_eq!((log.length().await.unwrap(), log.verify().await.unwrap().seq), (3, 3));
    }

    #[tokio::test]
    async fn two_that_write_one_log_make_one_chain() {
        let dir = tempfile::tempdir().unwrap();
        let (former, next) = (AuditLog::open(dir.path()).unwrap(), AuditLog::open(dir.path()).unwrap());
        for number in 0..3 {
            let at = Timestamp::from_second(number).unwrap();
            former.append(at, entry("former")).await.unwrap();
            next.append(at, entry("next")).await.unwrap();
        }
        assert_eq!(next.verify().await.unwrap().seq, 6);
    }

    #[tokio::test]
    async fn a_delivery_is_remembered_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let log = AuditLog::open(dir.path()).unwrap();
        assert!(!log.delivered("github/config", "a").await.unwrap());
        log.remember_delivery("github/config", "a").await.unwrap();
        log.remember_delivery("github/config", "a").await.unwrap();
        drop(log);
        let log = AuditLog::open(dir.path()).unwrap();
        assert!(log.delivered("github/config", "a").await.unwrap());
        assert!(!log.delivered("gitlab/config", "a").await.unwrap());
    }
}
