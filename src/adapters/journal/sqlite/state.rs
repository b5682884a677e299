//! What the threads of one journal share: its path, and whether writes are refused.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::ErrorCode;

use super::failed;
use crate::ports::journal::JournalError;

/// Why nothing is written any more.
#[derive(Clone, Debug)]
pub(super) enum Harm {
    /// A record does not match its checksum.
    Record {
        /// Its stream.
        stream: String,
        /// Its number.
        seq: u64,
    },
    /// Something else is not as it was written; what.
    Other(String),
    /// A write or sync failed in a way after which it can't be known what is on the disk.
    Disk(String),
}

/// What is known about the file.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    harm: Mutex<Option<Harm>>,
}

impl State {
    /// Nothing bad is known.
    pub fn new(path: &Path) -> Self {
        State { path: path.to_owned(), harm: Mutex::new(None) }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The error that each write gets, if writes are refused.
    pub fn refusal(&self) -> Option<JournalError> {
        self.harm.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|harm| self.error(harm))
    }

    /// Notes harm, from which on writes are refused (the first stays), and returns it as an error.
    pub fn harmed(&self, harm: Harm) -> JournalError {
        let error = self.error(&harm);
        self.harm.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(harm);
        error
    }

    /// What SQLite says, as an error of the port. Damage and a disk that fails are noted.
    pub fn told(&self, error: rusqlite::Error) -> JournalError {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => self.harmed(Harm::Other(error.to_string())),
            // After a failed sync the kernel may have dropped what it could not write and call it clean: a write that
            // succeeds afterwards would stand on records that are not there.
            Some(ErrorCode::SystemIoFailure) => self.harmed(Harm::Disk(error.to_string())),
            Some(ErrorCode::DiskFull) => failed(&self.path, format!("{error}; make room, it goes on by itself")),
            _ => failed(&self.path, error),
        }
    }

    fn error(&self, harm: &Harm) -> JournalError {
        let path = self.path.display().to_string();
        match harm.clone() {
            Harm::Record { stream, seq } => JournalError::Damaged { path, stream, seq },
            Harm::Other(what) => JournalError::Corrupt { path, what },
            Harm::Disk(reason) => JournalError::Failed {
                path,
                reason: format!(
                    "{reason}; nothing more is written, because what is on the disk can't be known: see the kernel's log, \
                     then restart the daemon"
                ),
            },
        }
    }
}
