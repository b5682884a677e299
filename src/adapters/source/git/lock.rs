//! Processes that use one mirror take turns.
//!
//! The lock keeps their fetches from disturbing each other (one would remove the other's temporary files, and both would do the
//! work). It does not guard what the mirror is: git's own locks do that, and an object is never changed.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::mirror::{beside, io};
use crate::ports::source::SourceError;

/// So long another process may fetch. Who holds it longer is stopped or stuck: no daemon shares its mirror with a living one, and
/// one that took over must not wait until the one before it is continued.
const TURN: Duration = Duration::from_secs(5);

/// The lock, if nobody has it. Held as long as the file is open.
pub(super) fn try_lock(mirror: &Path) -> Result<Option<File>, SourceError> {
    let file = open(mirror)?;
    Ok(locked(mirror, &file)?.then_some(file))
}

/// Waits for its turn, and takes it from who does not end theirs.
pub(super) async fn lock(mirror: &Path) -> Result<File, SourceError> {
    let begun = Instant::now();
    loop {
        let file = open(mirror)?;
        if locked(mirror, &file)? {
            return Ok(file);
        }
        if begun.elapsed() >= TURN {
            return take(mirror, &file);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Puts a file of its own in the place of the one that another process holds, which then guards nothing.
fn take(mirror: &Path, held: &File) -> Result<File, SourceError> {
    let path = beside(mirror, "lock");
    let same = |file: &File| Ok(file.metadata()?.ino() == held.metadata()?.ino());
    let other = open(mirror)?;
    if io("look at", &path, same(&other))? {
        tracing::warn!(lock = %path.display(), "whoever has the mirror's lock does not let go of it, and is not waited for");
        io("replace", &path, std::fs::remove_file(&path))?;
    }
    let file = open(mirror)?;
    locked(mirror, &file)?;
    Ok(file)
}

fn open(mirror: &Path) -> Result<File, SourceError> {
    let path = beside(mirror, "lock");
    io("open", &path, File::options().create(true).truncate(false).write(true).open(&path))
}

fn locked(mirror: &Path, file: &File) -> Result<bool, SourceError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(cause)) => io("lock", &beside(mirror, "lock"), Err(cause)).map(|()| false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_does_not_let_go_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mirror = dir.path().join("mirror.git");
        let stuck = try_lock(&mirror).unwrap().expect("nobody has it");
        assert!(try_lock(&mirror).unwrap().is_none());
        let mine = lock(&mirror).await.unwrap();
        assert!(try_lock(&mirror).unwrap().is_none(), "it is held by the one that took it");
        drop(stuck);
        assert!(try_lock(&mirror).unwrap().is_none());
        drop(mine);
        assert!(try_lock(&mirror).unwrap().is_some());
    }
}
