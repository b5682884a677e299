//! The source port on Git.
//!
//! Two tools share the work. The `git` program moves objects over the network (`command`): it knows proxies,
//! ssh and credential helpers, runs in a process of its own that can be limited and killed, and is what administrators
//! debug with. libgit2 reads and writes objects of the mirror in this process: no process start for each file.
//!
//! | file | what it holds |
//! |---|---|
//! | `config` | the settings and their defaults |
//! | `address` | which addresses are taken, and how they are shown without credentials |
//! | `command` | running `git`: environment, limits, time limit, credentials |
//! | `redact` | the token kept out of messages |
//! | `classify` | what git's words mean |
//! | `store` | the mirror read by libgit2: a pool of handles, errors, damage |
//! | `mirror` | creating, locking, fetching, rebuilding, tidying the mirror |
//! | `names` | which names and links in a tree are safe |
//! | `tree` | listing, comparing, reading |
//! | `export` | a folder written to disk |
//! | `history` | commits: ancestors, log, trailers |
//! | `write` | building commits, pins |
//! | `push` | offering a commit |
//! | `watch` | marks from local repositories |

mod address;
mod classify;
mod command;
mod config;
mod export;
mod history;
mod lock;
mod mirror;
mod names;
mod push;
mod redact;
mod store;
mod tree;
mod watch;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::id::Revision;
use crate::ports::source::{
    ChangedPath, CommitInfo, Edit, Head, Listing, PushOutcome, RefusedReason, Signature, Source, SourceError, Walk,
};

pub use config::{Auth, GitConfig, Limits, Token};

use address::Address;
use command::Git;
use mirror::Mirror;
use store::Store;
use watch::RefWatch;

/// Whether a symbolic link in a folder may be there; the folder and all that it leads to is relative to the root.
///
/// # Errors
///
/// It leads out of the root.
pub fn check_link(folder: &str, target: &[u8]) -> Result<(), RefusedReason> {
    names::link_target(folder, target).map(drop)
}

/// A branch of a Git repository, by a bare mirror on this machine.
pub struct GitSource {
    shown: String,
    branch: String,
    mirror: Mirror,
    store: Arc<Store>,
    watch: Option<RefWatch>,
}

impl GitSource {
    /// Opens the mirror, creating it where there is none; nothing is fetched yet and the remote may be down. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`SourceError::Config`] for settings that cannot work (each of them checked here, so that a wrong address or
    /// branch is told at the start), [`SourceError::NoGit`], and [`SourceError::Io`] for a mirror folder that cannot be
    /// made.
    pub async fn open(config: GitConfig) -> Result<GitSource, SourceError> {
        let address = Address::parse(&config.url)?;
        config.check(&address)?;
        let prefix = names::normal_path(&config.path)?;
        let shown = match prefix.as_str() {
            "" => format!("{address} (branch {})", config.branch),
            prefix => format!("{address} (branch {}, folder {prefix})", config.branch),
        };
        let store = Arc::new(Store::new(&config, &address, prefix));
        let watch = address.local_path().and_then(RefWatch::start);
        let git = Git::new(&config, address).await?;
        let mirror = Mirror::new(git, store.clone(), config.branch.clone(), config.limits.max_fetch_bytes);
        mirror.prepare().await?;
        Ok(GitSource { shown, branch: config.branch, mirror, store, watch })
    }

    /// Does blocking work with the mirror on a thread for it.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        run_blocking(&self.store, work).await
    }
}

/// Does blocking work with the mirror on a thread for it.
async fn run_blocking<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let store = store.clone();
    let shown = store.mirror().display().to_string();
    tokio::task::spawn_blocking(move || work(&store)).await.unwrap_or_else(|stopped| {
        Err(SourceError::Git { remote: shown, detail: format!("reading the mirror was broken off: {stopped}") })
    })
}

#[async_trait]
impl Source for GitSource {
    fn describe(&self) -> String {
        self.shown.clone()
    }

    async fn fetch(&self) -> Result<Head, SourceError> {
        let revision = self.mirror.fetch().await?;
        Ok(Head { branch: self.branch.clone(), revision })
    }

    async fn head(&self) -> Result<Option<Revision>, SourceError> {
        self.blocking(Store::head).await
    }

    async fn is_ancestor(&self, older: &Revision, newer: &Revision) -> Result<bool, SourceError> {
        let (older, newer) = (older.clone(), newer.clone());
        self.blocking(move |store| history::is_ancestor(store, &older, &newer)).await
    }

    async fn resolve(&self, text: &str) -> Result<Revision, SourceError> {
        let text = text.to_owned();
        self.blocking(move |store| history::resolve(store, &text)).await
    }

    async fn list(&self, revision: &Revision) -> Result<Listing, SourceError> {
        let revision = revision.clone();
        self.blocking(move |store| tree::list(store, &revision)).await
    }

    async fn list_below(&self, revision: &Revision, path: &str) -> Result<Listing, SourceError> {
        let (revision, path) = (revision.clone(), path.to_owned());
        self.blocking(move |store| tree::list_below(store, &revision, &path)).await
    }

    async fn changes(&self, from: &Revision, to: &Revision) -> Result<Vec<ChangedPath>, SourceError> {
        let (from, to) = (from.clone(), to.clone());
        self.blocking(move |store| tree::changes(store, &from, &to)).await
    }

    async fn read(&self, oid: &str) -> Result<Vec<u8>, SourceError> {
        let mut contents = self.read_many(&[oid.to_owned()]).await?;
        Ok(contents.pop().unwrap_or_default())
    }

    async fn read_many(&self, oids: &[String]) -> Result<Vec<Vec<u8>>, SourceError> {
        let oids = oids.to_vec();
        self.blocking(move |store| tree::read_many(store, &oids)).await
    }

    async fn tree_oid(&self, revision: &Revision, path: &str) -> Result<Option<String>, SourceError> {
        let (revision, path) = (revision.clone(), path.to_owned());
        self.blocking(move |store| tree::tree_oid(store, &revision, &path)).await
    }

    async fn file_oid(&self, revision: &Revision, path: &str) -> Result<Option<String>, SourceError> {
        let (revision, path) = (revision.clone(), path.to_owned());
        self.blocking(move |store| tree::file_oid(store, &revision, &path)).await
    }

    async fn export_tree(&self, oid: &str, into: &Path) -> Result<(), SourceError> {
        let (oid, into): (_, PathBuf) = (oid.to_owned(), into.to_owned());
        self.blocking(move |store| export::export_tree(store, &oid, &into)).await
    }

    async fn commit_info(&self, revision: &Revision) -> Result<CommitInfo, SourceError> {
        let revision = revision.clone();
        self.blocking(move |store| history::commit_info(store, &revision)).await
    }

    async fn log(&self, from: &Revision, limit: usize, walk: Walk) -> Result<Vec<CommitInfo>, SourceError> {
        let from = from.clone();
        self.blocking(move |store| history::log(store, &from, limit, walk)).await
    }

    async fn commit(
        &self,
        base: &Revision,
        edits: &[Edit],
        author: &Signature,
        message: &str,
    ) -> Result<Revision, SourceError> {
        let (base, edits, author, message) = (base.clone(), edits.to_vec(), author.clone(), message.to_owned());
        self.blocking(move |store| write::commit(store, &base, &edits, &author, &message)).await
    }

    async fn push(
        &self,
        commit: &Revision,
        branch: &str,
        expect: Option<&Revision>,
    ) -> Result<PushOutcome, SourceError> {
        if let Some(expect) = expect
            && !self.is_ancestor(expect, commit).await?
        {
            return Err(SourceError::NotDescendant { commit: commit.clone(), expect: expect.clone() });
        }
        push::push(self.mirror.git(), &self.mirror.told(), commit, branch, expect).await
    }

    async fn remote_branch(&self, branch: &str) -> Result<Option<Revision>, SourceError> {
        push::remote_branch(self.mirror.git(), &self.mirror.told(), branch).await
    }

    async fn find_trailer(
        &self,
        head: &Revision,
        key: &str,
        value: &str,
        limit: usize,
    ) -> Result<Option<Revision>, SourceError> {
        let (head, key, value) = (head.clone(), key.to_owned(), value.to_owned());
        self.blocking(move |store| history::find_trailer(store, &head, &key, &value, limit)).await
    }

    async fn pin(&self, name: &str, revision: &Revision) -> Result<(), SourceError> {
        let (name, revision) = (name.to_owned(), revision.clone());
        self.blocking(move |store| write::pin(store, &name, &revision)).await
    }

    async fn unpin(&self, name: &str) -> Result<(), SourceError> {
        let name = name.to_owned();
        self.blocking(move |store| write::unpin(store, &name)).await
    }

    async fn pins(&self) -> Result<Vec<(String, Revision)>, SourceError> {
        self.blocking(write::pins).await
    }

    fn watch(&self) -> Option<tokio::sync::watch::Receiver<u64>> {
        self.watch.as_ref().map(RefWatch::subscribe)
    }
}
