//! A folder of the repository written to disk: complete, or not at all.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use git2::{ErrorCode, Odb, Oid, Repository};

use super::mirror::io;
use super::names;
use super::store::{Store, full_oid, shortened};
use super::tree::{Mode, check_count, odb};
use crate::ports::source::{RefusedEntry, RefusedReason, SourceError};

/// See [`crate::ports::source::Source::export_tree`].
///
/// It is written beside its place and moved there when all of it is on disk. Links are made last, when every folder
/// exists: a crafted tree with a link and a folder of the same name cannot lead a file through the link.
pub(super) fn export_tree(store: &Store, oid: &str, into: &Path) -> Result<(), SourceError> {
    let unknown = || SourceError::Unknown { what: "folder", name: shortened(oid) };
    let tree = full_oid(oid).ok_or_else(unknown)?;
    if into.symlink_metadata().is_ok() {
        return Ok(());
    }
    let (Some(parent), Some(name)) = (into.parent(), into.file_name().and_then(|name| name.to_str())) else {
        return Err(SourceError::BadName {
            what: "folder to export into",
            text: into.display().to_string(),
            why: "it needs a parent folder and a name".into(),
        });
    };
    io("create the folder", parent, std::fs::create_dir_all(parent))?;
    remove_abandoned(parent, name);
    let partial = Partial::new(parent, name);
    store.with(|repository| {
        if let Err(error) = repository.find_tree(tree)
            && error.code() == ErrorCode::NotFound
        {
            return Err(unknown());
        }
        let mut export = Export::new(store, repository)?;
        export.folder(tree, "", &partial.0, 0)?;
        export.links(&partial.0)
    })?;
    match std::fs::rename(&partial.0, into) {
        // Someone else was faster with the same content.
        Err(_) if into.is_dir() => Ok(()),
        renamed => io("put into place", into, renamed),
    }?;
    sync(parent)
}

struct Export<'r> {
    store: &'r Store,
    repository: &'r Repository,
    odb: Odb<'r>,
    entries: usize,
    bytes: u64,
    /// Path, text and checked target of each link.
    links: Vec<(String, Vec<u8>)>,
}

impl<'r> Export<'r> {
    fn new(store: &'r Store, repository: &'r Repository) -> Result<Self, SourceError> {
        Ok(Export { store, repository, odb: odb(store, repository)?, entries: 0, bytes: 0, links: Vec::new() })
    }

    fn folder(&mut self, oid: Oid, path: &str, on_disk: &Path, depth: usize) -> Result<(), SourceError> {
        let refused =
            |name: &[u8], reason| Err(SourceError::Refused(RefusedEntry { path: names::escaped(path, name), reason }));
        let tree = self.store.tree(self.repository, oid)?;
        io("create the folder", on_disk, std::fs::create_dir(on_disk))?;
        io("set the mode of", on_disk, std::fs::set_permissions(on_disk, Permissions::from_mode(0o755)))?;
        for entry in &tree {
            self.entries += 1;
            check_count(self.store, self.entries)?;
            let name = entry.name_bytes();
            let checked = names::component(name).and_then(|text| Ok((names::join(path, text)?, text)));
            let (inner, text) = match checked {
                Ok(checked) => checked,
                Err(reason) => return refused(name, reason),
            };
            let place = on_disk.join(text);
            match Mode::of(entry.filemode_raw()) {
                Ok(Mode::Folder) if depth >= self.store.limits().max_depth => {
                    return refused(name, RefusedReason::Depth(self.store.limits().max_depth));
                }
                Ok(Mode::Folder) => self.folder(entry.id(), &inner, &place, depth + 1)?,
                Ok(Mode::File) => self.file(entry.id(), &place, 0o644)?,
                Ok(Mode::Executable) => self.file(entry.id(), &place, 0o755)?,
                Ok(Mode::Link) => {
                    let target = self.content(entry.id())?;
                    if let Err(reason) = names::link_target(path, &target) {
                        return refused(name, reason);
                    }
                    self.links.push((inner, target));
                }
                Ok(Mode::Submodule) => return refused(name, RefusedReason::Submodule),
                Err(reason) => return refused(name, reason),
            }
        }
        sync(on_disk)
    }

    fn file(&mut self, oid: Oid, place: &Path, mode: u32) -> Result<(), SourceError> {
        let content = self.content(oid)?;
        let mut file = io("create", place, OpenOptions::new().write(true).create_new(true).open(place))?;
        io("write", place, file.write_all(&content))?;
        io("set the mode of", place, file.set_permissions(Permissions::from_mode(mode)))?;
        io("write", place, file.sync_all())
    }

    fn links(&self, root: &Path) -> Result<(), SourceError> {
        use std::os::unix::ffi::OsStrExt;
        for (path, target) in &self.links {
            let place = root.join(path);
            io("link", &place, symlink(std::ffi::OsStr::from_bytes(target), &place))?;
            place.parent().map_or(Ok(()), sync)?;
        }
        Ok(())
    }

    fn content(&mut self, oid: Oid) -> Result<Vec<u8>, SourceError> {
        let (size, _) = self.odb.read_header(oid).map_err(|error| self.store.missing(&error))?;
        self.bytes += size as u64;
        let limit = self.store.limits().max_export_bytes;
        if self.bytes > limit {
            return Err(SourceError::TooLarge {
                what: "the folder to export".into(),
                limit: format!("{limit} bytes"),
                setting: "limits.maxExportBytes",
            });
        }
        Ok(self.odb.read(oid).map_err(|error| self.store.missing(&error))?.data().to_vec())
    }
}

/// A folder that is removed unless it was moved away.
struct Partial(PathBuf);

impl Partial {
    fn new(parent: &Path, name: &str) -> Partial {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Partial(parent.join(format!(".{name}.partial-{}-{number}", std::process::id())))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Removes what exports of processes that are gone left of this folder.
fn remove_abandoned(parent: &Path, name: &str) {
    let prefix = format!(".{name}.partial-");
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let file = entry.file_name();
        let owner = file.to_str().and_then(|file| file.strip_prefix(&prefix)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

fn sync(folder: &Path) -> Result<(), SourceError> {
    io("write", folder, File::open(folder).and_then(|file| file.sync_all()))
}
