//! Durable records: one JSON file each, replaced as a whole.
//!
//! A record is written to a temporary file, synced, renamed over the old one, and its folder synced; after the call it
//! survives a power cut, and a reader sees the old or the new one, never half of one. Each file carries the version of
//! its kind; fields that this build does not know are passed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::process;

/// A record is at most this long; a longer file is not ours.
const LARGEST: u64 = 16 << 20;

/// A kind of record.
pub trait Record: Serialize + DeserializeOwned {
    /// The file's name in its folder.
    const FILE: &'static str;
    /// The version that this build writes, and the newest that it reads.
    const VERSION: u32 = 1;
}

#[derive(Serialize)]
struct Written<'a, T> {
    version: u32,
    record: &'a T,
}

#[derive(Deserialize)]
struct Head {
    version: u32,
}

#[derive(Deserialize)]
struct Stored<T> {
    record: T,
}

/// Why a record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("{path} can't be {what}: {source}; free space or mend the permissions of the state folder")]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried, as a participle.
        what: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{path} is damaged: {reason}; restore it from a backup, or remove it to forget what it describes")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer build wrote it.
    #[error(
        "{path} was written by a newer trimtab (record version {found}, this build reads up to {known}); start that one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this build reads.
        known: u32,
    },
}

impl StoreError {
    pub(crate) fn io(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_owned();
        move |source| StoreError::Io { path, what, source }
    }
}

/// Writes a record into a folder, durably.
pub fn write<T: Record>(dir: &Path, record: &T) -> Result<(), StoreError> {
    let path = dir.join(T::FILE);
    let damaged = |error: serde_json::Error| StoreError::Damaged { path: path.clone(), reason: error.to_string() };
    let bytes = serde_json::to_vec_pretty(&Written { version: T::VERSION, record }).map_err(damaged)?;
    let temporary = dir.join(format!(".{}.{}", T::FILE, std::process::id()));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(StoreError::io(&temporary, "written"))?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(StoreError::io(&temporary, "written"))?;
    fs::rename(&temporary, &path).map_err(StoreError::io(&path, "replaced"))?;
    sync_dir(dir)
}

/// Reads a record from a folder; `None` when there is none.
pub fn read<T: Record>(dir: &Path) -> Result<Option<T>, StoreError> {
    let path = dir.join(T::FILE);
    let size = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Io { path, what: "read", source }),
    };
    let damaged = |reason: String| StoreError::Damaged { path: path.clone(), reason };
    if size > LARGEST {
        return Err(damaged(format!("{size} bytes are more than any record has")));
    }
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Io { path, what: "read", source }),
    };
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if head.version > T::VERSION {
        return Err(StoreError::Newer { path, found: head.version, known: T::VERSION });
    }
    let stored: Stored<T> = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    Ok(Some(stored.record))
}

/// Makes the names in a folder durable.
pub fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io(dir, "synced"))
}

/// The names in a folder, sorted; those that are no UTF-8 are nobody's here and left out.
pub fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let failed = || StoreError::io(dir, "listed");
    let entries = fs::read_dir(dir).map_err(failed())?;
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(failed())?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

/// Creates a folder that only its owner lists and others may pass through, with its parents.
pub fn create_dir(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o711).create(dir).map_err(StoreError::io(dir, "created"))
}

/// Removes a folder with everything in it; that it is gone already is fine.
pub fn remove_dir(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io(dir, "removed")(error)),
        _ => Ok(()),
    }
}

/// Removes a folder in one step for whoever looks for it by its name: nobody sees it without some of its files. The
/// remains, should the removal be cut off, have a name that begins with `.gone-`.
pub fn discard_dir(dir: &Path) -> Result<(), StoreError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let going = dir.with_file_name(format!(".gone-{name}"));
    remove_dir(&going)?;
    match fs::rename(dir, &going) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io(dir, "removed")(error)),
        Ok(()) => remove_dir(&going),
    }
}

/// A lock on a file, held until the value is dropped or its process ends, however it ends.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Takes the lock at a path; `None` when another process holds it.
    pub fn take(path: &Path) -> Result<Option<Lock>, StoreError> {
        Lock::with(path, File::try_lock)
    }

    /// As [`Lock::take`], but a dead holder's last child is waited for: [`process::try_lock_soon`].
    pub fn take_soon(path: &Path) -> Result<Option<Lock>, StoreError> {
        Lock::with(path, process::try_lock_soon)
    }

    fn with(path: &Path, lock: impl Fn(&File) -> Result<(), fs::TryLockError>) -> Result<Option<Lock>, StoreError> {
        let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = options.map_err(StoreError::io(path, "locked"))?;
        match lock(&file) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => Err(StoreError::io(path, "locked")(source)),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not left to the close: a child between fork and exec holds the same open file for a moment.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    impl Record for Note {
        const FILE: &'static str = "note.json";
    }

    #[test]
    fn reads_back_what_was_written_and_passes_over_unknown_fields() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read::<Note>(dir.path()).unwrap(), None);
        write(dir.path(), &Note { text: "a".into() }).unwrap();
        assert_eq!(read::<Note>(dir.path()).unwrap(), Some(Note { text: "a".into() }));
        fs::write(dir.path().join("note.json"), r#"{"version":1,"later":2,"record":{"text":"b","more":[]}}"#).unwrap();
        assert_eq!(read::<Note>(dir.path()).unwrap(), Some(Note { text: "b".into() }));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file was left behind");
    }

    #[test]
    fn tells_damage_from_a_newer_version() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("note.json"), r#"{"version":2,"record":{"other":1}}"#).unwrap();
        assert!(matches!(read::<Note>(dir.path()), Err(StoreError::Newer { found: 2, known: 1, .. })));
        fs::write(dir.path().join("note.json"), r#"{"version":1,"rec"#).unwrap();
        assert!(matches!(read::<Note>(dir.path()), Err(StoreError::Damaged { .. })));
    }

    #[test]
    fn a_lock_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::take(&path).unwrap();
        assert!(held.is_some());
        assert!(Lock::take(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::take(&path).unwrap().is_some());
    }
}
