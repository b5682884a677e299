//! The lock that lets one daemon use a journal. The kernel releases it when its holder dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::failed;
use crate::ports::journal::JournalError;
use crate::process;

/// The lock of one journal, held or (after a take-over) not yet.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    held: bool,
}

impl Lock {
    /// Takes the lock beside the file; blocks for up to two seconds where another has it. With `take_over` another may have it: [`Lock::held`] then tries again.
    pub fn acquire(journal: &Path, take_over: bool) -> Result<Self, JournalError> {
        if let Some(folder) = journal.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(journal, error))?;
        }
        let path = path(journal);
        let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| failed(&path, error))?;
        let mut lock = Lock { file, held: false };
        let taken = if take_over { lock.file.try_lock() } else { process::try_lock_soon(&lock.file) };
        match taken {
            Ok(()) => lock.held = true,
            Err(TryLockError::WouldBlock) if take_over => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::Held { path: journal.display().to_string() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
        }
        Ok(lock)
    }

    /// Whether it is held, after another try where it was not.
    pub fn held(&mut self) -> bool {
        self.held = self.held || self.file.try_lock().is_ok();
        self.held
    }
}

fn path(journal: &Path) -> PathBuf {
    let mut path = journal.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}
