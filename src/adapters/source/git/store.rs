//! The mirror as libgit2 reads it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use git2::{ErrorClass, ErrorCode, ObjectType, Oid, Repository, Tree};
use sha2::{Digest as _, Sha256};

use super::address::Address;
use super::config::{GitConfig, Limits};
use crate::domain::id::Revision;
use crate::ports::source::SourceError;

/// Handles kept open; more callers at a time open their own.
const KEPT_HANDLES: usize = 4;

/// The largest tree object that is taken apart, in bytes: room for about a million entries of one folder.
const MAX_TREE_BYTES: usize = 64 << 20;

/// Access to the mirror's objects. A handle is used by one thread at a time; opening one costs more than most lookups.
pub(super) struct Store {
    mirror: PathBuf,
    prefix: String,
    limits: Limits,
    head_ref: String,
    handles: Mutex<Vec<Repository>>,
    suspect: AtomicBool,
}

impl Store {
    pub(super) fn new(config: &GitConfig, address: &Address, prefix: String) -> Self {
        // The head of this address and branch only: after a change of the settings the old one is not taken for it.
        let key = Sha256::digest(format!("{}\n{}", address.as_str(), config.branch));
        Store {
            mirror: config.mirror.clone(),
            prefix,
            limits: config.limits,
            head_ref: format!("refs/trimtab/heads/{}", hex::encode(&key[..8])),
            handles: Mutex::default(),
            suspect: AtomicBool::new(false),
        }
    }

    /// The mirror's folder.
    pub(super) fn mirror(&self) -> &Path {
        &self.mirror
    }

    /// The root folder within the repository; empty for the whole.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The limits.
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The reference that holds the fetched head.
    pub(super) fn head_ref(&self) -> &str {
        &self.head_ref
    }

    /// Whether damage was seen since the last rebuild.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Notes damage, which the next fetch mends.
    pub(super) fn suspect(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Forgets handles and suspicion: the folder is another one now.
    pub(super) fn replaced(&self) {
        self.lock().clear();
        self.suspect.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Repository>> {
        // What a panicking holder left is a list of handles, as good as before.
        self.handles.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Does something with the repository.
    pub(super) fn with<T>(&self, work: impl FnOnce(&Repository) -> Result<T, SourceError>) -> Result<T, SourceError> {
        let kept = self.lock().pop();
        let repository = match kept {
            Some(repository) => repository,
            None => Repository::open_bare(&self.mirror).map_err(|error| self.corrupt(&error))?,
        };
        let result = work(&repository);
        if matches!(result, Err(SourceError::Corrupt { .. })) {
            self.suspect();
            return result;
        }
        let mut handles = self.lock();
        if handles.len() < KEPT_HANDLES {
            handles.push(repository);
        }
        result
    }

    /// The head that was fetched last.
    pub(super) fn head(&self) -> Result<Option<Revision>, SourceError> {
        self.with(|repository| match repository.refname_to_id(&self.head_ref) {
            Ok(oid) => Ok(Some(Revision(oid.to_string()))),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(self.corrupt(&error)),
        })
    }

    /// The commit of a revision.
    pub(super) fn commit<'r>(
        &self,
        repository: &'r Repository,
        revision: &Revision,
    ) -> Result<git2::Commit<'r>, SourceError> {
        let unknown = || SourceError::Unknown { what: "commit", name: shortened(revision.as_str()) };
        let oid = full_oid(revision.as_str()).ok_or_else(unknown)?;
        repository.find_commit(oid).map_err(|error| match error.code() {
            ErrorCode::NotFound => unknown(),
            _ => self.failed(&error),
        })
    }

    /// A tree that has to be there.
    pub(super) fn tree<'r>(&self, repository: &'r Repository, oid: Oid) -> Result<Tree<'r>, SourceError> {
        let odb = repository.odb().map_err(|error| self.failed(&error))?;
        let (size, kind) = odb.read_header(oid).map_err(|error| self.missing(&error))?;
        if kind == ObjectType::Tree && size > MAX_TREE_BYTES {
            return Err(SourceError::TooLarge {
                what: format!("the folder object {oid}"),
                limit: format!("{MAX_TREE_BYTES} bytes"),
                setting: "limits.maxFiles",
            });
        }
        repository.find_tree(oid).map_err(|error| self.missing(&error))
    }

    /// The tree below the root folder at a revision, `None` if there is no such folder.
    pub(super) fn root<'r>(
        &self,
        repository: &'r Repository,
        revision: &Revision,
    ) -> Result<Option<Tree<'r>>, SourceError> {
        let commit = self.commit(repository, revision)?;
        let root = self.tree(repository, commit.tree_id())?;
        self.subtree(repository, root, &self.prefix)
    }

    /// The tree at a path below another, `None` if there is no such folder. Links are not followed.
    pub(super) fn subtree<'r>(
        &self,
        repository: &'r Repository,
        mut tree: Tree<'r>,
        path: &str,
    ) -> Result<Option<Tree<'r>>, SourceError> {
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let Some(oid) = tree.get_name(part).filter(|entry| entry.kind() == Some(ObjectType::Tree)).map(|e| e.id())
            else {
                return Ok(None);
            };
            tree = self.tree(repository, oid)?;
        }
        Ok(Some(tree))
    }

    /// The error for an object that another one names: its absence is damage.
    pub(super) fn missing(&self, error: &git2::Error) -> SourceError {
        match error.code() {
            ErrorCode::NotFound => self.corrupt(error),
            _ => self.failed(error),
        }
    }

    /// The error for a failure of libgit2.
    pub(super) fn failed(&self, error: &git2::Error) -> SourceError {
        match error.class() {
            ErrorClass::Odb | ErrorClass::Zlib | ErrorClass::Object | ErrorClass::Tree | ErrorClass::Repository => {
                self.corrupt(error)
            }
            _ => SourceError::Git { remote: self.mirror.display().to_string(), detail: error.message().to_owned() },
        }
    }

    fn corrupt(&self, error: &git2::Error) -> SourceError {
        SourceError::Corrupt { mirror: self.mirror.clone(), detail: error.message().to_owned() }
    }
}

/// A full object name. Shorter ones are not taken: what is persisted is never ambiguous.
pub(super) fn full_oid(text: &str) -> Option<Oid> {
    (text.len() == 40).then(|| Oid::from_str(text).ok()).flatten()
}

/// A text from outside, short enough for a message.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_default).collect()
}
