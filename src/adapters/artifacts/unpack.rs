//! Unpacking an archive that nobody here has made: nothing leaves the folder, nothing grows without limit.
//!
//! Why no entry is written outside: its path has plain parts only, and none of its parents is a link (a folder is never
//! replaced by one). Why no link leads outside: its target is relative, its `..` come first and stay below the root, seen from
//! the real folder it lies in; whatever else the target passes through is itself inside.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use tar::{Archive, Entry, EntryType};

use super::ArtifactLimits;
use super::scratch::make_readable;

const MAX_DEPTH: usize = 100;

/// Why an archive was not unpacked.
#[derive(Debug)]
pub(super) enum UnpackError {
    /// Its content can't be used.
    Unusable(String),
    /// The machine failed.
    Io(io::Error),
}

impl UnpackError {
    /// As one of two errors of the caller.
    pub fn told<E>(self, unusable: impl FnOnce(String) -> E, failed: impl FnOnce(io::Error) -> E) -> E {
        match self {
            UnpackError::Unusable(reason) => unusable(reason),
            UnpackError::Io(error) => failed(error),
        }
    }
}

impl From<io::Error> for UnpackError {
    fn from(error: io::Error) -> Self {
        UnpackError::Io(error)
    }
}

/// Unpacks a tar stream into an empty folder.
pub(super) fn tar(stream: impl Read, into: &Path, limits: &ArtifactLimits) -> Result<(), UnpackError> {
    // Headers count as well: an archive of a billion empty members is a bomb too.
    let budget = limits.unpacked.saturating_add(limits.entries.saturating_mul(4096));
    let mut archive = Archive::new(stream.take(budget));
    let mut unpacker = Unpacker { root: into, left: limits.unpacked, folders: BTreeSet::new() };
    let broken = |error: io::Error| UnpackError::Unusable(format!("the archive can't be read: {error}"));
    let mut count = 0;
    for entry in archive.entries().map_err(broken)? {
        count += 1;
        if count > limits.entries {
            return Err(UnpackError::Unusable(format!("the archive has more than {} entries", limits.entries)));
        }
        unpacker.entry(entry.map_err(broken)?)?;
    }
    if count == 0 {
        return Err(UnpackError::Unusable("the archive is empty".into()));
    }
    Ok(())
}

struct Unpacker<'a> {
    root: &'a Path,
    /// Bytes that files may still have.
    left: u64,
    /// The folders that are known to be real ones.
    folders: BTreeSet<PathBuf>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let path = entry.path().map_err(UnpackError::Io)?.into_owned();
        let relative = plain(&path).ok_or_else(|| refused(&path, "its path leaves the archive or is too deep"))?;
        if relative.as_os_str().is_empty() {
            return if kind.is_dir() { Ok(()) } else { Err(refused(&path, "it has no name")) };
        }
        match kind {
            EntryType::Directory => self.folder(&relative),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(&relative, &mut entry),
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name().map_err(UnpackError::Io)?;
                let target = target.ok_or_else(|| refused(&path, "it links to nothing"))?.into_owned();
                if kind == EntryType::Symlink { self.link(&relative, &target) } else { self.copy(&relative, &target) }
            }
            other => Err(refused(&path, &format!("it is neither a file, a folder nor a link ({other:?})"))),
        }
    }

    fn folder(&mut self, relative: &Path) -> Result<(), UnpackError> {
        let mut path = PathBuf::new();
        for part in relative.components() {
            path.push(part);
            if self.folders.contains(&path) {
                continue;
            }
            let place = self.root.join(&path);
            match fs::create_dir(&place) {
                Ok(()) => make_readable(&place)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(refused(relative, "a file or link of the same path came before"));
                }
                Err(error) => return Err(error.into()),
            }
            self.folders.insert(path.clone());
        }
        Ok(())
    }

    /// Makes room for a file or link: its folder is there, and what had its name before is gone.
    fn place(&mut self, relative: &Path) -> Result<PathBuf, UnpackError> {
        if let Some(parent) = relative.parent() {
            self.folder(parent)?;
        }
        let place = self.root.join(relative);
        if self.folders.contains(relative) {
            return Err(refused(relative, "a folder of the same path came before"));
        }
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(place),
        }
    }

    fn file<R: Read>(&mut self, relative: &Path, entry: &mut Entry<'_, R>) -> Result<(), UnpackError> {
        let place = self.place(relative)?;
        let mode = entry.header().mode().map_err(|error| refused(relative, &error.to_string()))?;
        let executable = mode & 0o111 != 0;
        let size = entry.size();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
        let written = copy_at_most(entry, &mut file, self.left, relative)?;
        if written != size {
            return Err(refused(relative, "the archive ends within it"));
        }
        self.left -= written;
        file.set_permissions(Permissions::from_mode(if executable { 0o755 } else { 0o644 }))?;
        Ok(())
    }

    fn link(&mut self, relative: &Path, target: &Path) -> Result<(), UnpackError> {
        let depth = relative.components().count() - 1;
        let leads_out = || refused(relative, &format!("it links out of the archive, to {}", told(target.as_os_str())));
        let (mut up, mut down) = (0, false);
        for part in target.components() {
            match part {
                Component::CurDir => {}
                Component::ParentDir if !down => up += 1,
                Component::Normal(_) => down = true,
                _ => return Err(leads_out()),
            }
        }
        if up > depth || target.as_os_str().is_empty() {
            return Err(leads_out());
        }
        let place = self.place(relative)?;
        symlink(target, place)?;
        Ok(())
    }

    /// A hard link becomes a copy of the file that it names: a later entry of either name leaves the other alone.
    fn copy(&mut self, relative: &Path, target: &Path) -> Result<(), UnpackError> {
        let nothing =
            || refused(relative, &format!("it links to {}, which is no file of the archive", told(target.as_os_str())));
        let from = plain(target).ok_or_else(nothing)?;
        let real_parent =
            from.parent().is_some_and(|parent| parent.as_os_str().is_empty() || self.folders.contains(parent));
        let source = self.root.join(&from);
        let metadata = fs::symlink_metadata(&source).map_err(|_| nothing())?;
        if !real_parent || !metadata.is_file() || from == relative {
            return Err(nothing());
        }
        let mut source = fs::File::open(source)?;
        let place = self.place(relative)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&place)?;
        self.left -= copy_at_most(&mut source, &mut file, self.left, relative)?;
        file.set_permissions(Permissions::from_mode(metadata.permissions().mode() & 0o777))?;
        Ok(())
    }
}

fn copy_at_most(from: &mut impl Read, to: &mut fs::File, left: u64, path: &Path) -> Result<u64, UnpackError> {
    let mut buffer = vec![0; 64 << 10];
    let mut written = 0_u64;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(written),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(UnpackError::Unusable(format!("the archive can't be read: {error}"))),
        };
        written += read as u64;
        if written > left {
            return Err(refused(path, "the archive's files are larger than what is unpacked"));
        }
        io::Write::write_all(to, &buffer[..read])?;
    }
}

/// The path with its plain parts only; `None` where it is absolute, goes up, or is too deep.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) => out.push(part),
            _ => return None,
        }
    }
    (out.components().count() <= MAX_DEPTH).then_some(out)
}

fn refused(path: &Path, why: &str) -> UnpackError {
    UnpackError::Unusable(format!("the archive's {} is refused: {why}", told(path.as_os_str())))
}

/// A name from outside, safe to show.
fn told(text: &OsStr) -> String {
    let text: String = text.to_string_lossy().chars().take(200).collect();
    text.escape_debug().to_string()
}
