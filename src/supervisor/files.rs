//! Copies of artifacts: complete and durable, or not there.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::libc;

use super::sys;

/// An artifact has at most this many files and folders.
const MOST_ENTRIES: usize = 200_000;
/// An artifact has at most this many bytes.
const MOST_BYTES: u64 = 16 << 30;
/// An artifact's folders are at most this deep.
const DEEPEST: usize = 64;
/// Up to this many files are synced one by one; beyond, the file system is synced as a whole.
const FEW_FILES: usize = 64;

/// Why a tree could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The system refused.
    #[error("{path} can't be copied: {source}")]
    Io {
        /// The file at fault.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// It is beyond a limit, or not a file.
    #[error("{path} can't be copied: {reason}")]
    Refused {
        /// The file at fault.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Copies a folder's content into a new folder, and makes it durable. Files share their blocks with the source where
/// the file system can (reflinks), but never their inode: an instance that writes into its files changes only its own.
/// Symbolic links are copied as they are; set-user-id bits are left out. `owner` gets the copy.
pub fn copy_tree(source: &Path, target: &Path, owner: Option<(u32, u32)>) -> Result<(), CopyError> {
    let mut copy = Copy { owner, entries: 0, bytes: 0, written: Vec::new() };
    copy.folder(source, target, 0)?;
    copy.sync(target)
}

/// Makes a working directory: a copy of a folder's content as [`copy_tree`] makes it, or an empty one.
pub fn make_dir(source: Option<&Path>, target: &Path, owner: Option<(u32, u32)>) -> Result<(), CopyError> {
    match source {
        Some(source) => copy_tree(source, target, owner),
        None => {
            fs::create_dir(target).map_err(failed(target))?;
            fs::set_permissions(target, Permissions::from_mode(0o755)).map_err(failed(target))?;
            owner.map_or(Ok(()), |(uid, gid)| lchown(target, Some(uid), Some(gid)).map_err(failed(target)))
        }
    }
}

struct Copy {
    owner: Option<(u32, u32)>,
    entries: usize,
    bytes: u64,
    /// What must be synced, up to [`FEW_FILES`].
    written: Vec<PathBuf>,
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CopyError {
    let path = path.to_owned();
    move |source| CopyError::Io { path: path.clone(), source }
}

fn refused(path: &Path, reason: String) -> CopyError {
    CopyError::Refused { path: path.to_owned(), reason }
}

impl Copy {
    fn folder(&mut self, source: &Path, target: &Path, depth: usize) -> Result<(), CopyError> {
        if depth > DEEPEST {
            return Err(refused(source, format!("its folders are more than {DEEPEST} deep")));
        }
        fs::create_dir(target).map_err(failed(target))?;
        let mode = fs::metadata(source).map_err(failed(source))?.permissions().mode() & 0o777;
        for entry in fs::read_dir(source).map_err(failed(source))? {
            let entry = entry.map_err(failed(source))?;
            self.entries += 1;
            if self.entries > MOST_ENTRIES {
                return Err(refused(source, format!("it has more than {MOST_ENTRIES} files")));
            }
            let (from, to) = (entry.path(), target.join(entry.file_name()));
            let kind = entry.file_type().map_err(failed(&from))?;
            if kind.is_dir() {
                self.folder(&from, &to, depth + 1)?;
            } else if kind.is_symlink() {
                symlink(fs::read_link(&from).map_err(failed(&from))?, &to).map_err(failed(&to))?;
                self.hand_over(&to)?;
            } else if kind.is_file() {
                self.file(&from, &to)?;
            } else {
                return Err(refused(&from, "it is neither a file nor a folder nor a symbolic link".into()));
            }
        }
        // Last, since it may forbid writing; the owner may always, so that the copy can be removed again.
        fs::set_permissions(target, Permissions::from_mode(mode | 0o700)).map_err(failed(target))?;
        self.note(target);
        self.hand_over(target)
    }

    fn file(&mut self, source: &Path, target: &Path) -> Result<(), CopyError> {
        let mut from =
            OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(source).map_err(failed(source))?;
        let metadata = from.metadata().map_err(failed(source))?;
        self.bytes += metadata.len();
        if self.bytes > MOST_BYTES {
            return Err(refused(source, format!("the artifact has more than {MOST_BYTES} bytes")));
        }
        let mut to = OpenOptions::new().create_new(true).write(true).open(target).map_err(failed(target))?;
        if sys::reflink(to.as_fd(), from.as_fd()).is_err() {
            io::copy(&mut from, &mut to).map_err(failed(source))?;
        }
        to.set_permissions(Permissions::from_mode(metadata.permissions().mode() & 0o777)).map_err(failed(target))?;
        self.note(target);
        self.hand_over(target)
    }

    fn hand_over(&self, path: &Path) -> Result<(), CopyError> {
        self.owner.map_or(Ok(()), |(uid, gid)| lchown(path, Some(uid), Some(gid)).map_err(failed(path)))
    }

    fn note(&mut self, path: &Path) {
        if self.written.len() <= FEW_FILES {
            self.written.push(path.to_owned());
        }
    }

    fn sync(&self, target: &Path) -> Result<(), CopyError> {
        let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all()).map_err(failed(path));
        if self.written.len() <= FEW_FILES {
            self.written.iter().try_for_each(|path| sync(path))?;
        } else {
            let file = File::open(target).map_err(failed(target))?;
            nix::unistd::syncfs(file).map_err(|errno| failed(target)(errno.into()))?;
        }
        target.parent().map_or(Ok(()), sync)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_copy_shares_no_inode_and_keeps_modes_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir_all(source.join("bin")).unwrap();
        fs::write(source.join("bin/app"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(source.join("bin/app"), Permissions::from_mode(0o4755)).unwrap();
        symlink("bin/app", source.join("link")).unwrap();
        let target = dir.path().join("target");
        copy_tree(&source, &target, None).unwrap();
        let (old, new) = (fs::metadata(source.join("bin/app")).unwrap(), fs::metadata(target.join("bin/app")).unwrap());
        assert_ne!(old.ino(), new.ino());
        assert_eq!(new.permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("bin/app"));
        assert_eq!(fs::read_to_string(target.join("link")).unwrap(), "#!/bin/sh\n");
    }

    #[test]
    fn a_pipe_is_refused_by_name_and_a_missing_source_too() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        nix::unistd::mkfifo(&source.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let error = copy_tree(&source, &dir.path().join("target"), None).unwrap_err().to_string();
        assert!(error.contains("source/pipe") && error.contains("neither a file"), "{error}");
        let error = copy_tree(&dir.path().join("none"), &dir.path().join("t2"), None).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }

    #[test]
    fn many_files_are_copied_too() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        (0..2 * FEW_FILES).for_each(|n| fs::write(source.join(n.to_string()), "x").unwrap());
        copy_tree(&source, &dir.path().join("target"), None).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("target")).unwrap().count(), 2 * FEW_FILES);
    }
}
