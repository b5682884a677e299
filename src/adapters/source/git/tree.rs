//! Trees: what lies at a revision, what differs between two, and the contents.

use std::collections::BTreeMap;

use git2::{ErrorCode, ObjectType, Odb, Oid, Repository, Tree};

use super::names;
use super::store::{Store, full_oid, shortened};
use crate::domain::id::Revision;
use crate::ports::source::{
    ChangedPath, EntryKind, FileId, Listing, RefusedEntry, RefusedReason, SourceError, TreeEntry,
};

/// Bytes of all files that one call reads into memory.
const MAX_READ_BYTES: u64 = 256 << 20;

/// The longest target of a symbolic link; the kernel takes no longer ones.
const MAX_LINK_BYTES: usize = 4096;

/// What a mode in a tree means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Folder,
    File,
    Executable,
    Link,
    Submodule,
}

impl Mode {
    /// Reads a mode. Old repositories have other permission bits on files than today's 0644 and 0755.
    pub(super) fn of(raw: i32) -> Result<Mode, RefusedReason> {
        match raw & 0o170_000 {
            0o040_000 => Ok(Mode::Folder),
            0o100_000 if raw & 0o111 != 0 => Ok(Mode::Executable),
            0o100_000 => Ok(Mode::File),
            0o120_000 => Ok(Mode::Link),
            0o160_000 => Ok(Mode::Submodule),
            _ => Err(RefusedReason::Mode(raw)),
        }
    }
}

/// See [`crate::ports::source::Source::list`].
pub(super) fn list(store: &Store, revision: &Revision) -> Result<Listing, SourceError> {
    store.with(|repository| {
        let mut lister =
            Lister { store, repository, odb: odb(store, repository)?, seen: 0, listing: Listing::default() };
        if let Some(root) = store.root(repository, revision)? {
            lister.folder(&root, "", 0)?;
        }
        let mut listing = lister.listing;
        listing.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        listing.refused.sort_unstable();
        Ok(listing)
    })
}

/// See [`crate::ports::source::Source::list_below`].
pub(super) fn list_below(store: &Store, revision: &Revision, path: &str) -> Result<Listing, SourceError> {
    let path = names::normal_path(path)?;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    store.with(|repository| {
        let mut lister =
            Lister { store, repository, odb: odb(store, repository)?, seen: 0, listing: Listing::default() };
        let Some(root) = store.root(repository, revision)? else { return Ok(lister.listing) };
        let Some(parent) = store.subtree(repository, root, folder)? else { return Ok(lister.listing) };
        let found = parent.get_name(name).map(|entry| (entry.id(), Mode::of(entry.filemode_raw())));
        match found {
            Some((oid, Ok(Mode::Folder))) => {
                let depth = path.split('/').count();
                lister.folder(&store.tree(repository, oid)?, &path, depth)?;
            }
            Some((oid, Ok(mode))) => match lister.file(path.clone(), folder, oid, mode)? {
                Ok(entry) => lister.listing.entries.push(entry),
                Err(reason) => lister.listing.refused.push(RefusedEntry { path: path.clone(), reason }),
            },
            Some((_, Err(reason))) => lister.listing.refused.push(RefusedEntry { path: path.clone(), reason }),
            None => {}
        }
        let mut listing = lister.listing;
        listing.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        listing.refused.sort_unstable();
        Ok(listing)
    })
}

struct Lister<'r> {
    store: &'r Store,
    repository: &'r Repository,
    odb: Odb<'r>,
    seen: usize,
    listing: Listing,
}

impl Lister<'_> {
    fn folder(&mut self, tree: &Tree<'_>, folder: &str, depth: usize) -> Result<(), SourceError> {
        let mut names = std::collections::HashSet::with_capacity(tree.len());
        for entry in tree {
            self.seen += 1;
            check_count(self.store, self.seen)?;
            let checked = names::component(entry.name_bytes())
                .and_then(|name| names::join(folder, name))
                .and_then(|path| Ok((path, Mode::of(entry.filemode_raw())?)))
                .and_then(|found| match names.insert(entry.name_bytes().to_owned()) {
                    true => Ok(found),
                    false => Err(RefusedReason::Name("it is there twice".into())),
                });
            let outcome = match checked {
                Ok((path, Mode::Folder)) if depth < self.store.limits().max_depth => {
                    let tree = self.store.tree(self.repository, entry.id())?;
                    self.folder(&tree, &path, depth + 1)?;
                    continue;
                }
                Ok((_, Mode::Folder)) => Err(RefusedReason::Depth(self.store.limits().max_depth)),
                Ok((path, mode)) => self.file(path, folder, entry.id(), mode)?,
                Err(reason) => Err(reason),
            };
            match outcome {
                Ok(entry) => self.listing.entries.push(entry),
                Err(reason) => {
                    let path = names::escaped(folder, entry.name_bytes());
                    self.listing.refused.push(RefusedEntry { path, reason });
                }
            }
        }
        Ok(())
    }

    fn file(
        &self,
        path: String,
        folder: &str,
        oid: Oid,
        mode: Mode,
    ) -> Result<Result<TreeEntry, RefusedReason>, SourceError> {
        if mode == Mode::Submodule {
            return Ok(Err(RefusedReason::Submodule));
        }
        let (size, _) = self.odb.read_header(oid).map_err(|error| self.store.missing(&error))?;
        let kind = match mode {
            Mode::Link => match link(self.store, &self.odb, oid, size, folder)? {
                Ok(target) => EntryKind::Symlink { target },
                Err(reason) => return Ok(Err(reason)),
            },
            Mode::Executable => EntryKind::Executable,
            _ => EntryKind::File,
        };
        Ok(Ok(TreeEntry { path, oid: oid.to_string(), kind, size: size as u64 }))
    }
}

/// The checked target of a symbolic link in a folder, relative to the root that the folder is relative to.
fn link(
    store: &Store,
    odb: &Odb<'_>,
    oid: Oid,
    size: usize,
    folder: &str,
) -> Result<Result<String, RefusedReason>, SourceError> {
    if size > MAX_LINK_BYTES {
        return Ok(Err(RefusedReason::Link(format!("a text of {size} bytes"))));
    }
    let target = odb.read(oid).map_err(|error| store.missing(&error))?;
    Ok(names::link_target(folder, target.data()))
}

/// See [`crate::ports::source::Source::changes`].
pub(super) fn changes(store: &Store, from: &Revision, to: &Revision) -> Result<Vec<ChangedPath>, SourceError> {
    store.with(|repository| {
        let (before, after) = (store.root(repository, from)?, store.root(repository, to)?);
        let mut comparison = Comparison { store, repository, found: Vec::new() };
        comparison.folders(before, after, "", 0)?;
        comparison.found.sort_unstable();
        Ok(comparison.found)
    })
}

struct Comparison<'r> {
    store: &'r Store,
    repository: &'r Repository,
    found: Vec<ChangedPath>,
}

type Sides = (Option<(Oid, i32)>, Option<(Oid, i32)>);

impl Comparison<'_> {
    fn folders(
        &mut self,
        before: Option<Tree<'_>>,
        after: Option<Tree<'_>>,
        folder: &str,
        depth: usize,
    ) -> Result<(), SourceError> {
        let id = |tree: &Option<Tree<'_>>| tree.as_ref().map(Tree::id);
        if id(&before) == id(&after) {
            return Ok(());
        }
        if depth > self.store.limits().max_depth {
            return after.map_or(Ok(()), |after| self.refused(folder.to_owned(), after.id()));
        }
        let mut sides: BTreeMap<Vec<u8>, Sides> = BTreeMap::new();
        for entry in before.iter().flatten() {
            sides.entry(entry.name_bytes().to_owned()).or_default().0 = Some((entry.id(), entry.filemode_raw()));
        }
        for entry in after.iter().flatten() {
            let (name, side) = (entry.name_bytes(), Some((entry.id(), entry.filemode_raw())));
            let twice = std::mem::replace(&mut sides.entry(name.to_owned()).or_default().1, side).is_some();
            // What has such a name on the earlier side is refused there, and nothing is compared with that.
            if twice || names::component(name).and_then(|name| names::join(folder, name)).is_err() {
                self.refused(names::escaped(folder, name), entry.id())?;
            }
        }
        drop((before, after));
        for (name, (before, after)) in sides {
            if before != after {
                self.entry(&names::escaped_if_unsafe(folder, &name), before, after, depth)?;
            }
        }
        Ok(())
    }

    /// Something that a listing refuses for its name or depth, whatever it is.
    fn refused(&mut self, path: String, oid: Oid) -> Result<(), SourceError> {
        let after = Some(FileId { oid: oid.to_string(), mode: FileId::REFUSED });
        self.found.push(ChangedPath { path, before: None, after });
        check_count(self.store, self.found.len())
    }

    /// One name that differs: of folders what lies in them, of files the file; a file that became a folder is both.
    fn entry(
        &mut self,
        path: &str,
        before: Option<(Oid, i32)>,
        after: Option<(Oid, i32)>,
        depth: usize,
    ) -> Result<(), SourceError> {
        let is_folder = |side: &(Oid, i32)| Mode::of(side.1) == Ok(Mode::Folder);
        let tree = |side: Option<(Oid, i32)>| {
            side.filter(is_folder).map(|(oid, _)| self.store.tree(self.repository, oid)).transpose()
        };
        let (tree_before, tree_after) = (tree(before)?, tree(after)?);
        self.folders(tree_before, tree_after, path, depth + 1)?;
        let file = |side: Option<(Oid, i32)>| {
            side.filter(|side| !is_folder(side))
                .map(|(oid, mode)| FileId { oid: oid.to_string(), mode: mode.cast_unsigned() })
        };
        let (before, after) = (file(before), file(after));
        if before.is_some() || after.is_some() {
            self.found.push(ChangedPath { path: path.to_owned(), before, after });
            check_count(self.store, self.found.len())?;
        }
        Ok(())
    }
}

/// See [`crate::ports::source::Source::read_many`].
pub(super) fn read_many(store: &Store, oids: &[String]) -> Result<Vec<Vec<u8>>, SourceError> {
    store.with(|repository| {
        let odb = odb(store, repository)?;
        let mut total = 0;
        oids.iter()
            .map(|name| {
                let unknown = || SourceError::Unknown { what: "file", name: shortened(name) };
                let oid = full_oid(name).ok_or_else(unknown)?;
                let (size, kind) = odb.read_header(oid).map_err(|error| match error.code() {
                    ErrorCode::NotFound => unknown(),
                    _ => store.failed(&error),
                })?;
                if kind != ObjectType::Blob {
                    return Err(unknown());
                }
                total += size as u64;
                check_size(format!("the file object {oid}"), size as u64, store.limits().max_file_bytes)?;
                check_size("what is read at once".into(), total, MAX_READ_BYTES)?;
                Ok(odb.read(oid).map_err(|error| store.missing(&error))?.data().to_vec())
            })
            .collect()
    })
}

/// See [`crate::ports::source::Source::tree_oid`].
pub(super) fn tree_oid(store: &Store, revision: &Revision, path: &str) -> Result<Option<String>, SourceError> {
    let path = names::normal_path(path)?;
    store.with(|repository| {
        let Some(root) = store.root(repository, revision)? else {
            return Ok(None);
        };
        Ok(store.subtree(repository, root, &path)?.map(|tree| tree.id().to_string()))
    })
}

/// See [`crate::ports::source::Source::file_oid`].
pub(super) fn file_oid(store: &Store, revision: &Revision, path: &str) -> Result<Option<String>, SourceError> {
    let path = names::normal_path(path)?;
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    store.with(|repository| {
        let Some(root) = store.root(repository, revision)? else {
            return Ok(None);
        };
        let Some(tree) = store.subtree(repository, root, folder)? else { return Ok(None) };
        let entry = tree.get_name(name);
        let file = entry.filter(|entry| matches!(Mode::of(entry.filemode_raw()), Ok(Mode::File | Mode::Executable)));
        Ok(file.map(|entry| entry.id().to_string()))
    })
}

/// The object database of a repository.
pub(super) fn odb<'r>(store: &Store, repository: &'r Repository) -> Result<Odb<'r>, SourceError> {
    repository.odb().map_err(|error| store.failed(&error))
}

fn check_size(what: String, size: u64, limit: u64) -> Result<(), SourceError> {
    if size <= limit {
        return Ok(());
    }
    Err(SourceError::TooLarge {
        what: format!("{what} ({size} bytes)"),
        limit: format!("{limit} bytes"),
        setting: "limits.maxFileBytes",
    })
}

/// Refuses more files and folders than the limit.
pub(super) fn check_count(store: &Store, count: usize) -> Result<(), SourceError> {
    let limit = store.limits().max_files;
    if count <= limit {
        return Ok(());
    }
    Err(SourceError::TooLarge {
        what: "the repository's tree".into(),
        limit: format!("{limit} files and folders"),
        setting: "limits.maxFiles",
    })
}
