//! Marks from a repository on this machine: a push to it is seen at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};

/// A push touches several files; what comes within this time is one mark.
const DEBOUNCE: Duration = Duration::from_millis(5);

/// Watches the branches of a repository. Ends when it is dropped.
pub(super) struct RefWatch {
    marks: watch::Receiver<u64>,
    _watcher: RecommendedWatcher,
}

impl RefWatch {
    /// Starts watching; `None` where it cannot: then only polling sees a change, so that is worth a warning, not more.
    pub(super) fn start(repository: &Path) -> Option<RefWatch> {
        let (events, mut seen) = mpsc::channel::<()>(1);
        let folder = git_folder(repository)?;
        let heads = folder.join("refs/heads");
        let started = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| moves_a_branch(&event)) {
                // A full channel holds the mark already.
                let _ = events.try_send(());
            }
        })
        .and_then(|mut watcher| {
            watcher.watch(&heads, RecursiveMode::Recursive)?;
            watcher.watch(&folder, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        let watcher = match started {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::warn!(repository = %repository.display(), %error, "cannot watch the repository; it is only polled");
                return None;
            }
        };
        let (sender, marks) = watch::channel(0);
        tokio::spawn(async move {
            while seen.recv().await.is_some() {
                tokio::time::sleep(DEBOUNCE).await;
                let _ = seen.try_recv();
                sender.send_modify(|count| *count += 1);
            }
        });
        Some(RefWatch { marks, _watcher: watcher })
    }

    /// A receiver of marks.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.marks.clone()
    }
}

/// Where the references of a repository lie: itself if it is bare, else its `.git`.
fn git_folder(repository: &Path) -> Option<PathBuf> {
    [repository.to_owned(), repository.join(".git")].into_iter().find(|folder| folder.join("refs/heads").is_dir())
}

/// Whether an event can be that of a branch that moved: references below `refs/heads` or packed ones, written or
/// renamed into place. Reading must not count, or a fetch would mark its own source.
fn moves_a_branch(event: &Event) -> bool {
    let writes = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        _ => true,
    };
    writes && event.paths.iter().any(|path| is_branch_file(path))
}

fn is_branch_file(path: &Path) -> bool {
    if path.extension().is_some_and(|end| end == "lock") {
        return false;
    }
    let text = path.to_string_lossy();
    text.contains("/refs/heads") || text.ends_with("/packed-refs")
}
