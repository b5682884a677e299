//! The mirror's life: created, fetched into under a lock, rebuilt when damaged, tidied.
//!
//! Beside the mirror's folder lie `<name>.lock`, which whoever fetches holds ([`lock`]), `<name>.gitconfig` ([`Git`]), and for the time of a rebuild
//! `<name>.rebuild`. A damaged mirror whose pins could not all be saved is kept as `<name>.damaged`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use git2::{Repository, RepositoryInitOptions};
use tokio::sync::Mutex;

use super::classify::{Told, classify, too_large};
use super::command::Git;
use super::lock;
use super::store::Store;
use super::{run_blocking, write};
use crate::domain::id::Revision;
use crate::ports::source::SourceError;

/// A rebuild transfers everything, so one that failed is not tried again sooner.
const REBUILD_PAUSE: Duration = Duration::from_secs(300);

/// Where a fetch puts what it brought, until it is looked at. Never packed: it is removed before each fetch.
const INCOMING: &str = "refs/trimtab/incoming";

/// Packs (one a fetch) that are left before they are joined.
const MAX_PACKS: usize = 32;

/// The folder of the mirror, and what writes to it.
pub(super) struct Mirror {
    git: Git,
    store: Arc<Store>,
    branch: String,
    max_fetch_bytes: u64,
    /// One fetch at a time in this process; with the time of the last rebuild that failed.
    fetching: Mutex<Option<Instant>>,
}

impl Mirror {
    pub(super) fn new(git: Git, store: Arc<Store>, branch: String, max_fetch_bytes: u64) -> Self {
        Mirror { git, store, branch, max_fetch_bytes, fetching: Mutex::default() }
    }

    /// The program.
    pub(super) fn git(&self) -> &Git {
        &self.git
    }

    fn path(&self) -> &Path {
        self.store.mirror()
    }

    /// Makes sure that there is a mirror, and removes what an interrupted run left.
    pub(super) async fn prepare(&self) -> Result<(), SourceError> {
        let parent = self.path().parent().unwrap_or(Path::new("/"));
        io("create the folder", parent, std::fs::create_dir_all(parent))?;
        if self.path().join("objects").is_dir()
            && self.git.has_global_config()
            && lock::try_lock(self.path())?.is_none()
        {
            // In use by a process that has prepared it already.
            return Ok(());
        }
        let _lock = lock::lock(self.path()).await?;
        finish_rebuild(self.path())?;
        if is_absent_or_empty(self.path())? {
            create(self.path())?;
        } else if !self.path().join("objects").is_dir() {
            return Err(SourceError::Config(format!(
                "the mirror folder {} holds something else; choose an empty or new one",
                self.path().display()
            )));
        }
        remove_leftovers(self.path());
        remove_locks(self.path());
        self.git.write_global_config()?;
        // Damage is no reason to refuse the start: the next fetch mends it.
        if Repository::open_bare(self.path()).is_err() {
            self.store.suspect();
        }
        Ok(())
    }

    /// Fetches the branch; returns where it stands.
    pub(super) async fn fetch(&self) -> Result<Revision, SourceError> {
        let mut failed_rebuild = self.fetching.lock().await;
        let _lock = lock::lock(self.path()).await?;
        if let Some(head) = self.unchanged().await {
            return Ok(head);
        }
        let fetched = if self.store.is_suspect() {
            Err(self.damaged("damage was seen while reading"))
        } else {
            self.fetch_into(self.path()).await
        };
        let fetched = match fetched {
            Ok(()) => run_blocking(&self.store, take_incoming).await,
            Err(error) => Err(error),
        };
        match fetched {
            Err(SourceError::Corrupt { .. }) if failed_rebuild.is_some_and(|at| at.elapsed() < REBUILD_PAUSE) => {
                fetched
            }
            Err(SourceError::Corrupt { detail, .. }) => {
                tracing::warn!(mirror = %self.path().display(), detail, "the mirror is damaged and is rebuilt");
                let rebuilt = self.rebuild().await;
                *failed_rebuild = rebuilt.is_err().then(Instant::now);
                rebuilt?;
                run_blocking(&self.store, take_incoming).await
            }
            Err(error) => {
                remove_leftovers(self.path());
                Err(error)
            }
            Ok(revision) => {
                self.join_packs().await;
                Ok(revision)
            }
        }
    }

    /// The branch of a repository on this machine, where it stands as it was fetched last: a look at one file instead of three
    /// processes. Whatever is unclear is left to a real fetch.
    async fn unchanged(&self) -> Option<Revision> {
        let remote = self.git.address().local_path()?.to_owned();
        if self.store.is_suspect() {
            return None;
        }
        let reference = format!("refs/heads/{}", self.branch);
        let looked = run_blocking(&self.store, move |store| {
            let Some(head) = store.head()? else { return Ok(None) };
            let there = Repository::open(&remote).and_then(|repository| repository.refname_to_id(&reference));
            if there.map(|oid| oid.to_string()).ok().as_deref() != Some(head.as_str()) {
                return Ok(None);
            }
            store.with(|repository| {
                let commit = store.commit(repository, &head)?;
                store.tree(repository, commit.tree_id()).map(|_| ())
            })?;
            Ok(Some(head))
        });
        looked.await.ok().flatten()
    }

    /// Fetches the branch into a reference of its own, from which [`take_incoming`] takes it: git ends with 0 also when
    /// it decided to leave the reference as it was.
    async fn fetch_into(&self, repository: &Path) -> Result<(), SourceError> {
        let incoming = repository.join(INCOMING);
        match std::fs::remove_file(&incoming) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => io("remove", &incoming, Err(error))?,
            _ => {}
        }
        // Whoever cleaned the mirror up has packed it: git would leave it there, and write no file, where it is up to date.
        let packed = std::fs::read_to_string(repository.join("packed-refs")).unwrap_or_default();
        if packed.lines().any(|line| line.ends_with(&format!(" {INCOMING}"))) {
            self.git.run(repository, &["update-ref", "-d", INCOMING], None).await?;
        }
        let refspec = format!("+refs/heads/{}:{INCOMING}", self.branch);
        let args = [
            "fetch",
            "--no-progress",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-auto-maintenance",
            "--no-write-fetch-head",
            "--",
            self.git.address().as_str(),
            &refspec,
        ];
        let ran = self.git.run(repository, &args, Some(self.max_fetch_bytes)).await?;
        if ran.success && incoming.is_file() {
            return Ok(());
        }
        // The program that writes the file dies of its limit without a word.
        if largest_partial_pack(repository) >= self.max_fetch_bytes {
            return Err(too_large(&self.told()));
        }
        Err(classify(&ran.stderr, &self.told()))
    }

    /// Fetches everything anew beside the damaged mirror, takes the pins over, and puts it in its place.
    async fn rebuild(&self) -> Result<(), SourceError> {
        let (fresh, damaged) = (beside(self.path(), "rebuild"), beside(self.path(), "damaged"));
        remove_folder(&fresh)?;
        create(&fresh)?;
        self.fetch_into(&fresh).await.map_err(|error| match error {
            // The damage is the remote's own, then.
            SourceError::Corrupt { detail, .. } => SourceError::Git { remote: self.git.address().to_string(), detail },
            error => error,
        })?;
        let lost = self.take_pins_over(&fresh).await?;
        remove_folder(&damaged)?;
        if self.path().exists() {
            io("move away", self.path(), std::fs::rename(self.path(), &damaged))?;
        }
        io("put into place", self.path(), std::fs::rename(&fresh, self.path()))?;
        self.store.replaced();
        if lost.is_empty() {
            // What stays takes room and is removed by the next rebuild.
            let _ = std::fs::remove_dir_all(&damaged);
        } else {
            tracing::error!(
                pins = lost.join(", "),
                kept = %damaged.display(),
                "the damaged mirror lacked the commits of some pins, which the remote does not have either; a rollback to them needs these commits pushed again"
            );
        }
        Ok(())
    }

    /// The pins that could not be saved.
    async fn take_pins_over(&self, fresh: &Path) -> Result<Vec<String>, SourceError> {
        let mut lost = Vec::new();
        make_readable(self.path());
        for (name, oid) in write::pins_in(self.path()) {
            let reference = format!("{}{name}", write::PINS);
            if !write::pin_in(fresh, &reference, oid) {
                let source = format!("{}:{reference}", self.path().display());
                tracing::debug!(source, "the remote no longer has a pinned commit");
                if !self.git.copy_ref(self.path(), fresh, &reference).await? {
                    lost.push(name);
                }
            }
        }
        Ok(lost)
    }

    /// Joins packs when there are many. Nothing is ever dropped: what left the branch may still be effective somewhere.
    async fn join_packs(&self) {
        let packs = std::fs::read_dir(self.path().join("objects/pack")).map_or(0, |entries| {
            entries.flatten().filter(|entry| entry.path().extension().is_some_and(|end| end == "pack")).count()
        });
        if packs <= MAX_PACKS {
            return;
        }
        let args = ["repack", "-d", "--geometric=2", "-q", "--no-write-bitmap-index"];
        match self.git.run(self.path(), &args, None).await {
            Ok(ran) if ran.success => {}
            Ok(ran) => tracing::warn!(detail = ran.stderr, "cannot join the mirror's packs; reading gets slower"),
            Err(error) => tracing::warn!(%error, "cannot join the mirror's packs; reading gets slower"),
        }
    }

    fn damaged(&self, detail: &str) -> SourceError {
        SourceError::Corrupt { mirror: self.path().to_owned(), detail: detail.to_owned() }
    }

    /// What errors tell about this source.
    pub(super) fn told(&self) -> Told {
        Told {
            remote: self.git.address().to_string(),
            branch: self.branch.clone(),
            mirror: self.path().to_owned(),
            known_hosts: self.git.known_hosts(),
            max_fetch_bytes: self.max_fetch_bytes,
        }
    }
}

/// Moves the head to what a fetch brought, if the commit and its root folder are really there.
fn take_incoming(store: &Store) -> Result<Revision, SourceError> {
    let corrupt = |detail: String| SourceError::Corrupt { mirror: store.mirror().to_owned(), detail };
    store.with(|repository| {
        let failed = |error: git2::Error| corrupt(error.message().to_owned());
        let incoming = Revision(repository.refname_to_id(INCOMING).map_err(failed)?.to_string());
        let commit = store.commit(repository, &incoming).map_err(|error| corrupt(error.to_string()))?;
        store.tree(repository, commit.tree_id())?;
        repository.reference(store.head_ref(), commit.id(), true, "fetch").map_err(failed)?;
        Ok(incoming)
    })
}

/// The size of the largest pack that is being received or was left half received.
fn largest_partial_pack(repository: &Path) -> u64 {
    let entries = std::fs::read_dir(repository.join("objects/pack")).into_iter().flatten().flatten();
    let partial = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("tmp_pack_"));
    partial.filter_map(|entry| Some(entry.metadata().ok()?.len())).max().unwrap_or(0)
}

/// Creates an empty bare repository, all at once and without templates.
fn create(path: &Path) -> Result<(), SourceError> {
    let new = beside(path, "new");
    remove_folder(&new)?;
    let mut options = RepositoryInitOptions::new();
    options.bare(true).external_template(false).initial_head("refs/heads/none");
    Repository::init_opts(&new, &options)
        .map_err(|error| SourceError::Git { remote: new.display().to_string(), detail: error.message().to_owned() })?;
    let _ = std::fs::remove_dir(path);
    io("create the mirror", path, std::fs::rename(&new, path))
}

/// Writes anew what git wants to see before it reads a repository at all, so that pins can be copied out of it.
fn make_readable(damaged: &Path) {
    let _ = std::fs::write(damaged.join("HEAD"), "ref: refs/heads/none\n");
    let _ = std::fs::write(damaged.join("config"), "[core]\n\trepositoryformatversion = 0\n\tbare = true\n");
    let _ = std::fs::create_dir_all(damaged.join("refs"));
}

/// A rebuild that was interrupted between its two renames is finished.
fn finish_rebuild(path: &Path) -> Result<(), SourceError> {
    let (fresh, damaged) = (beside(path, "rebuild"), beside(path, "damaged"));
    if !path.exists() && fresh.is_dir() && damaged.is_dir() {
        io("put into place", path, std::fs::rename(&fresh, path))?;
    }
    Ok(())
}

/// Removes the temporary files of a fetch that was killed. The caller holds the lock, so no fetch is running.
fn remove_leftovers(path: &Path) {
    remove_from(&path.join("objects/pack"), |name| name.starts_with("tmp_") || name.starts_with(".tmp-"));
    remove_from(&path.join("objects"), |name| name.starts_with("tmp_") || name.starts_with("incoming-"));
}

/// Removes git's own locks that a killed process left; only at the start, when nothing of this process holds one.
fn remove_locks(path: &Path) {
    for folder in ["", "refs/trimtab", "refs/trimtab/heads", "refs/trimtab/pins"] {
        remove_from(&path.join(folder), |name| name.ends_with(".lock"));
    }
}

fn remove_from(folder: &Path, is_left: fn(&str) -> bool) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left) {
            let left = entry.path();
            let _ = if left.is_dir() { std::fs::remove_dir_all(&left) } else { std::fs::remove_file(&left) };
        }
    }
}

fn is_absent_or_empty(path: &Path) -> Result<bool, SourceError> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => io("read the folder", path, Err(error)),
    }
}

fn remove_folder(path: &Path) -> Result<(), SourceError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => io("remove", path, Err(error)),
        _ => Ok(()),
    }
}

/// A path with the same folder and a longer name.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(end);
    path.with_file_name(name)
}

/// Gives an I/O error its place.
pub(super) fn io<T>(doing: &'static str, path: &Path, result: std::io::Result<T>) -> Result<T, SourceError> {
    result.map_err(|cause| SourceError::Io { doing, path: path.to_owned(), cause })
}
