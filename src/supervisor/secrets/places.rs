//! Where secrets are laid out as files: one folder in memory for each supervisor, with one in it for each process.
//!
//! A supervisor's folder is found by the path of its state, so that its next start finds what lies there for the processes that went on.
//! A supervisor that never comes back, since it was killed and its state removed, leaves its folder to whichever starts next for the
//! same user: the file `.owner` in it names the state, and is locked for as long as its supervisor lives.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use nix::unistd::Uid;
use sha2::{Digest as _, Sha256};

use crate::process;
use crate::supervisor::store::{self, StoreError};

/// ramfs, which is memory too.
const RAMFS: FsType = FsType(0x8584_58f6);
/// What the folders' names begin with.
const PREFIX: &str = "trimtab-secrets-";
/// Names the state of the supervisor whose folder it is in.
const OWNER: &str = ".owner";
/// The longest path that is read from it.
const LONGEST: u64 = 16 << 10;
/// An empty folder without an owner is left alone for so long.
const SETTLED: Duration = Duration::from_secs(3_600);

/// The folder in which secrets are laid out.
#[derive(Clone, Debug)]
pub struct Places {
    pub(super) folder: PathBuf,
    /// Why it is not in memory, where it is not.
    pub limitation: Option<String>,
    /// Locked.
    _owner: Option<Arc<File>>,
}

impl Places {
    /// Looks for a folder in memory for this state folder: systemd's runtime folder, `/run`, `/dev/shm`. What supervisors left
    /// beside it that never come back is removed.
    pub fn find(state: &Path) -> Self {
        let own = std::env::var_os("RUNTIME_DIRECTORY").unwrap_or_default();
        let own = std::env::split_paths(&own).filter(|path| path.is_absolute());
        for base in own.chain(["/run".into(), "/dev/shm".into()]) {
            if !in_memory(&base) {
                continue;
            }
            if let Ok(places) = Places::below(&base, state) {
                sweep(&base, &places.folder);
                return places;
            }
        }
        let limitation = "there is no writable tmpfs (/run, /dev/shm): secrets that apps get as files lie on disk while the \
                          apps run";
        Places { folder: state.join("secrets"), limitation: Some(limitation.into()), _owner: None }
    }

    fn below(base: &Path, state: &Path) -> io::Result<Self> {
        let digest = hex::encode(Sha256::digest(state.as_os_str().as_encoded_bytes()));
        let folder = base.join(format!("{PREFIX}{}", &digest[..16]));
        let owner = claim(&folder, state)?;
        Ok(Places { folder, limitation: None, _owner: Some(Arc::new(owner)) })
    }

    /// Nobody else's, for tests.
    #[cfg(test)]
    pub(super) fn plain(folder: PathBuf) -> Self {
        Places { folder, limitation: None, _owner: None }
    }

    /// The folder of one instance or run, by its own folder in the state.
    pub fn of(&self, dir: &Path) -> PathBuf {
        self.folder.join(&hex::encode(Sha256::digest(dir.as_os_str().as_encoded_bytes()))[..24])
    }

    /// Removes the files of one instance or run.
    pub fn remove(&self, dir: &Path) {
        let folder = self.of(dir);
        if let Err(error) = clear(&folder) {
            tracing::error!(folder = %folder.display(), %error, "secrets of a process that is gone can't be removed");
        }
    }

    /// Removes the files of all but these.
    pub fn keep_only(&self, dirs: &[PathBuf]) {
        let kept: Vec<PathBuf> = dirs.iter().map(|dir| self.of(dir)).collect();
        for folder in self.folders().filter(|folder| !kept.contains(folder)) {
            let _ = clear(&folder);
        }
    }

    /// Leaves nothing behind where no process has files.
    pub fn leave(&self) {
        if self._owner.is_some() && self.folders().next().is_none() {
            let _ = fs::remove_file(self.folder.join(OWNER));
            let _ = fs::remove_dir(&self.folder);
        }
    }

    /// The folders of processes.
    fn folders(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let found = fs::read_dir(&self.folder).map(Iterator::flatten).into_iter().flatten();
        found.filter(|entry| entry.file_name() != OWNER).map(|entry| entry.path())
    }
}

/// Removes the folder of a process.
pub(super) fn clear(folder: &Path) -> Result<(), StoreError> {
    // They are closed to their owner as well. An owner that is somebody else may have put anything there, which root
    // removes without that.
    for part in [folder.to_owned(), folder.join("files"), folder.join("credentials")] {
        if fs::symlink_metadata(&part).is_ok_and(|found| is_mine(&found)) {
            let _ = fs::set_permissions(&part, Permissions::from_mode(0o700));
        }
    }
    store::remove_dir(folder)
}

/// Makes a supervisor's folder. Others may pass through it, since apps run as other users, and see nothing. A link is nobody's folder.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o711).create(folder)?;
    if !is_mine(&fs::symlink_metadata(folder)?) {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    fs::set_permissions(folder, Permissions::from_mode(0o711))
}

fn in_memory(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC || found.filesystem_type() == RAMFS)
}

fn is_mine(found: &fs::Metadata) -> bool {
    found.is_dir() && found.uid() == Uid::effective().as_raw()
}

/// Makes the folder this supervisor's. Another one may be removing it as nobody's at that moment: then it is made again.
fn claim(folder: &Path, state: &Path) -> io::Result<File> {
    let path = folder.join(OWNER);
    for _ in 0..100 {
        make(folder)?;
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        process::try_lock_soon(&file)?;
        if fs::metadata(&path).is_ok_and(|found| file.metadata().is_ok_and(|mine| found.ino() == mine.ino())) {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(state.as_os_str().as_bytes())?;
            return Ok(file);
        }
    }
    Err(io::Error::other("others remove it again and again"))
}

/// Removes the folders of this user's supervisors that never come back.
fn sweep(base: &Path, own: &Path) {
    let found = fs::read_dir(base).map(Iterator::flatten).into_iter().flatten();
    let others = found.filter(|entry| entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()));
    for folder in others.map(|entry| entry.path()).filter(|folder| folder != own) {
        if let Err(error) = sweep_one(&folder) {
            tracing::debug!(folder = %folder.display(), %error, "what another supervisor left can't be removed");
        }
    }
}

fn sweep_one(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    if !is_mine(&found) {
        return Ok(());
    }
    let owner = match OpenOptions::new().read(true).write(true).open(folder.join(OWNER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Of an older build, or being made right now. Should it not be empty, this fails.
            let settled = found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > SETTLED));
            return if settled { fs::remove_dir(folder) } else { Ok(()) };
        }
        opened => opened?,
    };
    if owner.try_lock().is_err() {
        // Its supervisor lives.
        return Ok(());
    }
    let mut state = Vec::new();
    (&owner).take(LONGEST).read_to_end(&mut state)?;
    let state = Path::new(std::ffi::OsStr::from_bytes(&state));
    let gone = || matches!(fs::symlink_metadata(state), Err(error) if error.kind() == io::ErrorKind::NotFound);
    if state.is_absolute() && gone() {
        tracing::info!(state = %state.display(), "removes what a supervisor left that is gone with its state");
        for entry in fs::read_dir(folder)?.flatten().filter(|entry| entry.file_name() != OWNER) {
            clear(&entry.path()).map_err(io::Error::other)?;
        }
        return fs::remove_dir_all(folder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A supervisor's folder with a file of a process in it.
    fn laid_out(base: &Path, state: &Path) -> (Places, PathBuf) {
        fs::create_dir_all(state).unwrap();
        let places = Places::below(base, state).unwrap();
        let file = places.of(&state.join("slot")).join("files/0");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "hunter2").unwrap();
        fs::set_permissions(file.parent().unwrap(), Permissions::from_mode(0o500)).unwrap();
        (places, file)
    }

    #[test]
    fn what_is_left_of_a_supervisor_goes_once_it_is_dead_and_its_state_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (base, state) = (dir.path().join("memory"), dir.path().join("state"));
        let own = Places::below(&base, &dir.path().join("own")).unwrap();
        let (other, file) = laid_out(&base, &state);
        sweep(&base, &own.folder);
        assert!(file.exists(), "it lives and has its state");
        fs::remove_dir(&state).unwrap();
        sweep(&base, &own.folder);
        assert!(file.exists(), "it lives");
        let folder = other.folder.clone();
        drop(other);
        fs::create_dir(&state).unwrap();
        sweep(&base, &own.folder);
        assert!(file.exists(), "it may be started again");
        fs::remove_dir(&state).unwrap();
        sweep(&base, &own.folder);
        assert!(!folder.exists());
        assert!(own.folder.exists(), "its own is never swept");
    }

    #[test]
    fn the_next_start_finds_the_folder_and_removes_what_no_process_needs() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let (first, file) = laid_out(dir.path(), &state);
        first.leave();
        assert!(file.exists(), "a process has it");
        drop(first);
        let next = Places::below(dir.path(), &state).unwrap();
        next.keep_only(&[state.join("slot")]);
        assert!(file.exists());
        next.keep_only(&[]);
        assert!(!file.exists());
        next.leave();
        assert!(!next.folder.exists());
    }

    #[test]
    fn a_folder_without_an_owner_is_left_alone_unless_it_is_old_and_empty() {
        let dir = tempfile::tempdir().unwrap();
        let (new, old, full) = (
            dir.path().join("trimtab-secrets-0"),
            dir.path().join("trimtab-secrets-1"),
            dir.path().join("trimtab-secrets-2"),
        );
        for folder in [&new, &old, &full] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(full.join("file"), "").unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + SETTLED;
        for folder in [&old, &full] {
            File::open(folder).unwrap().set_modified(long_ago).unwrap();
        }
        sweep(dir.path(), &dir.path().join("own"));
        assert_eq!((new.exists(), old.exists(), full.exists()), (true, false, true));
    }
}
