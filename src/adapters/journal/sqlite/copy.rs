//! A journal as a whole: copied while it is in use, and put in place of another while nobody uses that.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use rusqlite::TransactionBehavior;

use super::lock::Lock;
use super::state::State;
use super::{failed, read, schema};
use crate::ports::journal::JournalError;

/// What SQLite keeps beside a file.
const COMPANIONS: [&str; 3] = ["", "-wal", "-shm"];

/// Copies a journal as it is at one moment to a new file (mode 0600), also while a daemon writes it; compares everything in the
/// copy with its checksums and answers how many records it has.
///
/// # Errors
///
/// [`JournalError::Failed`] when there is no journal, or `to` exists or can't be written; the kinds of damage where the journal
/// is damaged. No copy is left then.
pub fn copy(path: &Path, to: &Path) -> Result<u64, JournalError> {
    if !path.is_file() {
        return Err(failed(path, "there is no journal"));
    }
    let state = State::new(path);
    let mut source = schema::open_reader(path).map_err(|error| state.told(error))?;
    schema::create(to).map_err(|error| failed(to, error))?;
    // Inside one transaction the copy is of one moment, and no writer makes it begin anew.
    let copied = source.transaction_with_behavior(TransactionBehavior::Deferred).and_then(|transaction| {
        transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))?;
        transaction.backup(rusqlite::MAIN_DB, to, None)
    });
    let counted = copied.map_err(|error| state.told(error)).and_then(|()| {
        let copy = schema::open_reader(to).map_err(|error| state.told(error))?;
        read::check_structure(&copy, &state)?;
        read::verify(&copy, &state)
    });
    if counted.is_err() {
        let _ = fs::remove_file(to);
    }
    counted
}

/// The place of a journal, held against every daemon.
pub struct Place {
    path: PathBuf,
    _lock: Lock,
}

impl Place {
    /// Holds the place of a journal.
    ///
    /// # Errors
    ///
    /// [`JournalError::Held`] when a daemon uses it.
    pub fn hold(path: &Path) -> Result<Self, JournalError> {
        Ok(Place { path: path.to_owned(), _lock: Lock::acquire(path, false)? })
    }

    /// Puts a closed journal there, on the disk when this returns. What was there is moved into the folder `aside`; answers
    /// whether there was something.
    ///
    /// # Errors
    ///
    /// [`JournalError::Failed`]; the old journal is then still in one of the two places.
    pub fn put(&self, journal: &Path, aside: &Path) -> Result<bool, JournalError> {
        let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let moved = self.path.exists();
        if moved {
            fs::create_dir_all(aside).map_err(|error| failed(aside, error))?;
        }
        for companion in COMPANIONS {
            let old = with(&self.path, companion);
            if let (true, Some(name)) = (old.exists(), old.file_name()) {
                fs::create_dir_all(aside).map_err(|error| failed(aside, error))?;
                fs::rename(&old, aside.join(name)).map_err(|error| failed(&old, error))?;
            }
        }
        // Whoever restores may be root: the daemon must be able to read it.
        let owner = fs::metadata(folder).map_err(|error| failed(folder, error))?;
        for file in [journal, &with(&self.path, ".lock")] {
            chown(file, Some(owner.uid()), Some(owner.gid())).map_err(|error| failed(file, error))?;
        }
        sync(journal).map_err(|error| failed(journal, error))?;
        fs::rename(journal, &self.path).map_err(|error| failed(&self.path, error))?;
        sync(folder).map_err(|error| failed(folder, error))?;
        Ok(moved)
    }
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
