//! Scratch folders: where things are made before they have a name.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = ".scratch-";

/// A folder that goes with its owner.
#[derive(Debug)]
pub(in crate::adapters) struct Scratch(PathBuf);

impl Scratch {
    /// A new folder below the store's.
    pub fn new(root: &Path) -> io::Result<Self> {
        let path = root.join(format!("{PREFIX}{}", uuid::Uuid::now_v7()));
        fs::create_dir(&path)?;
        Ok(Scratch(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a scratch folder was left behind");
        }
    }
}

/// Removes what a killed daemon left.
pub(super) fn remove_abandoned(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Mode 0755, whatever the umask is.
pub(super) fn make_readable(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Everything of the file system that the folder lies on is on the disk: one call instead of one a file.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    nix::unistd::syncfs(File::open(folder)?).map_err(io::Error::from)
}
