//! What is written into the mirror: commits to be offered, and pins.

use std::collections::BTreeMap;
use std::path::Path;

use git2::{ErrorCode, Oid, Repository, Time, Tree};

use super::names;
use super::store::{Store, full_oid, shortened};
use crate::domain::id::Revision;
use crate::ports::source::{Edit, Signature, SourceError};

/// Where pins lie in the mirror. A fetch writes elsewhere and prunes nothing.
pub(super) const PINS: &str = "refs/trimtab/pins/";

const FOLDER_MODE: i32 = 0o040_000;

/// See [`crate::ports::source::Source::commit`].
pub(super) fn commit(
    store: &Store,
    base: &Revision,
    edits: &[Edit],
    author: &Signature,
    message: &str,
) -> Result<Revision, SourceError> {
    let signature = signature(author)?;
    let message = checked_message(message)?;
    store.with(|repository| {
        let failed = |error: git2::Error| store.missing(&error);
        let parent = store.commit(repository, base)?;
        let mut root = parent.tree_id();
        for edit in edits {
            root = apply(store, repository, root, edit)?;
        }
        if root == parent.tree_id() {
            return Err(SourceError::NothingToCommit(base.clone()));
        }
        let tree = store.tree(repository, root)?;
        let commit = repository.commit(None, &signature, &signature, &message, &tree, &[&parent]).map_err(failed)?;
        Ok(Revision(commit.to_string()))
    })
}

/// What is to stand at a path: object and mode, or nothing.
type Leaf = Option<(Oid, i32)>;

fn apply(store: &Store, repository: &Repository, root: Oid, edit: &Edit) -> Result<Oid, SourceError> {
    let failed = |error: git2::Error| store.missing(&error);
    let inner = names::normal_path(edit.path())?;
    let path = match (store.prefix(), inner.as_str()) {
        ("", inner) => inner.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, inner) => format!("{prefix}/{inner}"),
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let root = store.tree(repository, root)?;
    let leaf = match edit {
        Edit::Write { content, executable, .. } => {
            if inner.is_empty() {
                return Err(SourceError::BadName { what: "file", text: inner, why: "it is the root folder".into() });
            }
            let kept = look_up(store, repository, &root, &parts)?.filter(|(_, mode)| mode & 0o170_000 == 0o100_000);
            let executable = executable.unwrap_or(kept.is_some_and(|(_, mode)| mode & 0o111 != 0));
            Some((repository.blob(content).map_err(failed)?, if executable { 0o100_755 } else { 0o100_644 }))
        }
        Edit::Remove { .. } => None,
        Edit::Restore { from, .. } => {
            let commit = store.commit(repository, from)?;
            let then = store.tree(repository, commit.tree_id())?;
            look_up(store, repository, &then, &parts)?
        }
    };
    match replaced(store, repository, Some(&root), &parts, leaf)? {
        Some(oid) => Ok(oid),
        None => repository.treebuilder(None).and_then(|empty| empty.write()).map_err(failed),
    }
}

/// What stands at a path.
fn look_up(store: &Store, repository: &Repository, root: &Tree<'_>, parts: &[&str]) -> Result<Leaf, SourceError> {
    let Some((name, folders)) = parts.split_last() else {
        return Ok(Some((root.id(), FOLDER_MODE)));
    };
    let Some(folder) = store.subtree(repository, root.clone(), &folders.join("/"))? else {
        return Ok(None);
    };
    Ok(folder.get_name(name).map(|entry| (entry.id(), entry.filemode())))
}

/// The folder with something else at a path below it; `None` when nothing is left in it, for Git keeps no empty ones.
fn replaced(
    store: &Store,
    repository: &Repository,
    folder: Option<&Tree<'_>>,
    parts: &[&str],
    leaf: Leaf,
) -> Result<Option<Oid>, SourceError> {
    let failed = |error: git2::Error| store.missing(&error);
    let Some((name, rest)) = parts.split_first() else {
        return Ok(leaf.map(|(oid, _)| oid));
    };
    let mut builder = repository.treebuilder(folder).map_err(failed)?;
    let now = folder.and_then(|folder| folder.get_name(name)).map(|entry| (entry.id(), entry.filemode()));
    let put = if rest.is_empty() {
        leaf
    } else {
        let below = match now {
            Some((oid, FOLDER_MODE)) => Some(store.tree(repository, oid)?),
            _ => None,
        };
        if below.is_none() && leaf.is_none() {
            // There is nothing to remove below a file or below nothing.
            now
        } else {
            replaced(store, repository, below.as_ref(), rest, leaf)?.map(|oid| (oid, FOLDER_MODE))
        }
    };
    match put {
        Some((oid, mode)) => builder.insert(name, oid, mode).map(|_| ()).map_err(failed)?,
        None if now.is_some() => builder.remove(name).map_err(failed)?,
        None => {}
    }
    if builder.is_empty() { Ok(None) } else { builder.write().map(Some).map_err(failed) }
}

fn signature(author: &Signature) -> Result<git2::Signature<'static>, SourceError> {
    let bad = |text: &str, why: &str| SourceError::BadName {
        what: "name or address of an author",
        text: shortened(text),
        why: why.into(),
    };
    for text in [&author.name, &author.email] {
        if text.trim().is_empty() || text.contains(|c: char| c.is_control() || c == '<' || c == '>') {
            return Err(bad(text, "it is empty or has `<`, `>` or control characters in it"));
        }
    }
    git2::Signature::new(&author.name, &author.email, &Time::new(author.time.as_second(), 0))
        .map_err(|error| bad(&author.name, error.message()))
}

fn checked_message(message: &str) -> Result<String, SourceError> {
    if message.trim().is_empty() || message.contains('\0') {
        let why = "it is empty or has a zero byte in it".into();
        return Err(SourceError::BadName { what: "commit message", text: shortened(message), why });
    }
    Ok(format!("{}\n", message.trim_end()))
}

/// See [`crate::ports::source::Source::pin`].
pub(super) fn pin(store: &Store, name: &str, revision: &Revision) -> Result<(), SourceError> {
    let reference = pin_reference(name)?;
    store.with(|repository| {
        let commit = store.commit(repository, revision)?;
        // A hundred units that one commit changes pin it a hundred times.
        if repository.refname_to_id(&reference).is_ok_and(|pinned| pinned == commit.id()) {
            return Ok(());
        }
        repository.reference(&reference, commit.id(), true, "pin").map(|_| ()).map_err(|error| store.missing(&error))
    })
}

/// See [`crate::ports::source::Source::unpin`].
pub(super) fn unpin(store: &Store, name: &str) -> Result<(), SourceError> {
    let reference = pin_reference(name)?;
    store.with(|repository| match repository.find_reference(&reference).and_then(|mut reference| reference.delete()) {
        Err(error) if error.code() != ErrorCode::NotFound => Err(store.missing(&error)),
        _ => Ok(()),
    })
}

/// See [`crate::ports::source::Source::pins`].
pub(super) fn pins(store: &Store) -> Result<Vec<(String, Revision)>, SourceError> {
    store.with(|repository| {
        let failed = |error: git2::Error| store.missing(&error);
        let mut pins = Vec::new();
        for reference in repository.references_glob(&format!("{PINS}*")).map_err(failed)? {
            let reference = reference.map_err(failed)?;
            if let (Ok(name), Some(oid)) = (reference.name(), reference.target()) {
                let name = name.strip_prefix(PINS).unwrap_or(name).replace('+', "/");
                pins.push((name, Revision(oid.to_string())));
            }
        }
        pins.sort();
        Ok(pins)
    })
}

/// The reference of a pin. A `/` becomes `+`: as folders, `a` and `a/b` would exclude each other.
fn pin_reference(name: &str) -> Result<String, SourceError> {
    let reference = format!("{PINS}{}", name.replace('/', "+"));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_./".contains(&b);
    if !name.is_empty() && name.len() <= 200 && name.bytes().all(allowed) && git2::Reference::is_valid_name(&reference)
    {
        return Ok(reference);
    }
    Err(SourceError::BadName {
        what: "pin",
        text: shortened(name),
        why: "use letters, digits, `-`, `_`, `.` and `/`, at most 200 of them".into(),
    })
}

/// The pins of a mirror that may be damaged, read as files; by the last part of their references.
pub(super) fn pins_in(mirror: &Path) -> Vec<(String, Oid)> {
    let mut pins = BTreeMap::new();
    let packed = std::fs::read_to_string(mirror.join("packed-refs")).unwrap_or_default();
    for line in packed.lines() {
        if let Some((oid, name)) = line.split_once(' ')
            && let (Some(oid), Some(name)) = (full_oid(oid), name.strip_prefix(PINS))
        {
            pins.insert(name.to_owned(), oid);
        }
    }
    for entry in std::fs::read_dir(mirror.join(PINS)).into_iter().flatten().flatten() {
        let content = std::fs::read_to_string(entry.path()).unwrap_or_default();
        if let (Some(oid), Ok(name)) = (full_oid(content.trim()), entry.file_name().into_string()) {
            pins.insert(name, oid);
        }
    }
    pins.into_iter().collect()
}

/// Sets a reference in another mirror if the commit is there.
pub(super) fn pin_in(mirror: &Path, reference: &str, oid: Oid) -> bool {
    Repository::open_bare(mirror).is_ok_and(|repository| {
        repository.find_commit(oid).is_ok() && repository.reference(reference, oid, true, "pin").is_ok()
    })
}
