//! The server half: a Unix socket that only its owner and group can reach, and a lock that lets one process serve it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::process;

/// Why a socket could not be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process serves it.
    #[error("another process serves {0}: stop it first, or choose another path")]
    Taken(PathBuf),
    /// The system refused.
    #[error("{path} can't be served: {source}")]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// A bound socket. The lock on `PATH.lock` is held for as long as this lives, so that a stale socket file of a killed
/// process is replaced while that of a living one never is.
#[derive(Debug)]
pub struct Bound {
    /// The listener, to be served.
    pub listener: UnixListener,
    lock: File,
}

impl Bound {
    /// Splits the listener from the lock, which must be kept for as long as the socket is served.
    pub fn into_parts(self) -> (UnixListener, File) {
        (self.listener, self.lock)
    }
}

/// Binds a Unix socket with a file mode (0o600: the owner only; 0o660: its group as well).
pub fn bind(path: &Path, mode: u32) -> Result<Bound, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut lock_path = path.as_os_str().to_owned();
    lock_path.push(".lock");
    let lock =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock_path).map_err(failed)?;
    match process::try_lock_soon(&lock) {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(BindError::Taken(path.to_owned())),
        Err(fs::TryLockError::Error(source)) => return Err(failed(source)),
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok(Bound { listener, lock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_process_serves_and_its_successor_takes_the_stale_file_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let first = bind(&path, 0o600).unwrap();
        assert!(matches!(bind(&path, 0o600), Err(BindError::Taken(taken)) if taken == path));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(first);
        assert!(path.exists(), "a killed process leaves its file behind");
        bind(&path, 0o660).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    }
}
