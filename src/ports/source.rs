//! Where the desired state comes from: a branch of a repository, mirrored, read by content, and written to by
//! compare-and-swap.
//!
//! # Flow
//!
//! 1. Something marks the source as due: [`Source::watch`], a poll ([`poll_delay`]), a hand. None of them carries
//!    information; the reason never reaches the planner.
//! 2. [`Source::fetch`] brings the mirror up to date and names the head. From here on everything is read at *that*
//!    revision, from the mirror: nothing in one reconcile can mix two states of the branch.
//! 3. [`Source::is_ancestor`] tells an advance from a rewritten history; [`Source::changes`] tells which files differ
//!    between two revisions, by object names; [`Source::list`] and [`Source::read_many`] bring the content.
//! 4. [`Source::pin`] keeps what is effective or last verified readable, whatever happens on the remote.
//! 5. A rollback builds a commit ([`Source::commit`]) and offers it ([`Source::push`]). After a crash
//!    [`Source::find_trailer`] tells whether that already happened.
//!
//! # Guarantees
//!
//! - Everything but `fetch`, `push` and `remote_branch` works from the mirror, with the remote gone.
//! - What was fetched once stays readable: the mirror only grows, a rewritten history removes nothing from it.
//! - `fetch` either moves the head to a complete commit or leaves it where it was.
//! - `push` moves the branch from exactly the expected revision to a descendant of it, or not at all. It never forces.
//! - `commit` is deterministic: the same base, edits, message, identity and time give the same revision.
//! - Nothing that lies in a repository is ever executed, and nothing outside the source's folder is read through it.
//! - No message and no process argument carries a credential.
//!
//! # Assumptions
//!
//! - One mirror folder serves one source configuration; several processes may use it at a time (fetches take a lock).
//! - Whoever may push to the branch may change the desired state. The source checks form and limits, not intent.
//!
//! # Paths
//!
//! Every path of this port is relative to the source's root folder (the configured path prefix, or the repository's
//! root), uses `/`, has no leading or trailing `/`, and is valid text. The empty path is the root folder itself.

mod commits;
mod files;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::commits::{CommitInfo, Edit, PushOutcome, Signature, Walk};
pub use self::files::{ChangedPath, EntryKind, FileId, Listing, RefusedEntry, RefusedReason, TreeEntry};
use crate::domain::id::Revision;

/// A repository's branch as the source of desired state. See the [module](self) for the contract.
#[async_trait]
pub trait Source: Send + Sync {
    /// The source for people: address and branch (and folder), credentials removed.
    fn describe(&self) -> String;

    /// Brings the mirror up to date with the branch.
    ///
    /// # Errors
    ///
    /// [`SourceError::BranchGone`] when the remote answers and has no such branch: nothing may be concluded about
    /// deletions, the last head stays. The transport errors leave the last head as well.
    async fn fetch(&self) -> Result<Head, SourceError>;

    /// The head that was fetched last, `None` before the first fetch. Works with the remote down.
    async fn head(&self) -> Result<Option<Revision>, SourceError>;

    /// Whether `older` lies in the history of `newer` (or is the same). `false` for two fetched heads means that the
    /// history was rewritten. An `older` that the mirror has never seen is no ancestor; an unknown `newer` is an error.
    async fn is_ancestor(&self, older: &Revision, newer: &Revision) -> Result<bool, SourceError>;

    /// A revision from what a person wrote: a full or shortened object name (at least four digits) of a commit.
    async fn resolve(&self, text: &str) -> Result<Revision, SourceError>;

    /// Every file below the root folder, sorted by path, and every entry that was refused. Sizes are only told: look
    /// at [`TreeEntry::size`] before reading what may be huge.
    ///
    /// A refused entry makes the listing incomplete ([`Listing::is_complete`]): nothing may then be concluded to be
    /// deleted. A root folder that does not exist is an empty listing.
    async fn list(&self, revision: &Revision) -> Result<Listing, SourceError>;

    /// The same of what lies below a folder, or of one file; empty where there is neither. Paths are from the root folder.
    async fn list_below(&self, revision: &Revision, path: &str) -> Result<Listing, SourceError>;

    /// The files that differ between two revisions, sorted by path, found by comparing object names: equal folders are
    /// not entered. No rename detection. Entries that `list` refuses appear too, with their path escaped.
    async fn changes(&self, from: &Revision, to: &Revision) -> Result<Vec<ChangedPath>, SourceError>;

    /// The content of one file by its object name, up to the source's limit for one file.
    async fn read(&self, oid: &str) -> Result<Vec<u8>, SourceError>;

    /// The contents of many files in the order asked for: one trip for thousands of small files. Fails as a whole.
    async fn read_many(&self, oids: &[String]) -> Result<Vec<Vec<u8>>, SourceError>;

    /// The object name of the folder at a path: equal names mean equal content. `None` where there is no folder.
    async fn tree_oid(&self, revision: &Revision, path: &str) -> Result<Option<String>, SourceError>;

    /// The object name of the file at a path. `None` where there is no file, or something else, such as a link.
    async fn file_oid(&self, revision: &Revision, path: &str) -> Result<Option<String>, SourceError>;

    /// Writes the folder with this object name to `into`, all at once: it appears complete and on disk, or not at
    /// all. An `into` that exists is taken as complete and left alone, so that the call may be repeated.
    ///
    /// Files get mode 0644 or 0755. Symbolic links are made only where they stay inside the folder.
    ///
    /// # Errors
    ///
    /// [`SourceError::Refused`] for a submodule, a link that leaves the folder or an unsafe name;
    /// [`SourceError::TooLarge`] past the limits.
    async fn export_tree(&self, oid: &str, into: &Path) -> Result<(), SourceError>;

    /// Who wrote a commit, when, and what it says.
    async fn commit_info(&self, revision: &Revision) -> Result<CommitInfo, SourceError>;

    /// Up to `limit` commits of a history, newest first, beginning with `from`.
    async fn log(&self, from: &Revision, limit: usize, walk: Walk) -> Result<Vec<CommitInfo>, SourceError>;

    /// Builds a commit on top of `base` in the mirror; nothing is sent. Later edits see the earlier ones.
    ///
    /// # Errors
    ///
    /// [`SourceError::NothingToCommit`] when the edits leave the tree of `base` as it is.
    async fn commit(
        &self,
        base: &Revision,
        edits: &[Edit],
        author: &Signature,
        message: &str,
    ) -> Result<Revision, SourceError>;

    /// Moves a branch of the remote from exactly `expect` (`None`: it must not exist yet) to `commit`.
    ///
    /// Pushing what already stands there is [`PushOutcome::Pushed`] too.
    ///
    /// # Errors
    ///
    /// [`SourceError::NotDescendant`] when `commit` does not descend from `expect`: it would be a force.
    /// After a transport error the outcome is unknown: fetch, then look with [`Source::find_trailer`].
    async fn push(
        &self,
        commit: &Revision,
        branch: &str,
        expect: Option<&Revision>,
    ) -> Result<PushOutcome, SourceError>;

    /// Where a branch of the remote stands now, asked of the remote itself.
    async fn remote_branch(&self, branch: &str) -> Result<Option<Revision>, SourceError>;

    /// The newest commit among the first `limit` of the history of `head` (all parents) whose message ends in trailers
    /// with this key and value. Keys compare without case, values exactly.
    async fn find_trailer(
        &self,
        head: &Revision,
        key: &str,
        value: &str,
        limit: usize,
    ) -> Result<Option<Revision>, SourceError>;

    /// Keeps a revision and its history in the mirror under a name, replacing what the name pinned before. Survives
    /// rewritten histories and a rebuilt mirror.
    async fn pin(&self, name: &str, revision: &Revision) -> Result<(), SourceError>;

    /// Forgets a pin. One that does not exist is no error.
    async fn unpin(&self, name: &str) -> Result<(), SourceError>;

    /// All pins, sorted by name.
    async fn pins(&self) -> Result<Vec<(String, Revision)>, SourceError>;

    /// Where the repository can be watched (it is local), a receiver whose value changes soon after a branch moved: a
    /// mark that the source is due, nothing more. `None` where only polling helps. Marks may be lost (a repository
    /// replaced as a whole), so polling goes on beside it.
    fn watch(&self) -> Option<tokio::sync::watch::Receiver<u64>>;
}

/// What a fetch found. The source has no clock: the caller notes when it asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The commit it stands at.
    pub revision: Revision,
}

/// What can go wrong. Each message says what failed, the cause, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The settings cannot work.
    #[error("the source is not configured right: {0}")]
    Config(String),
    /// The `git` program is missing, too old, or cannot be started.
    #[error("cannot run git: {0}; install git 2.38 or later and see that it is in PATH")]
    NoGit(String),
    /// The remote cannot be reached, or broke off.
    #[error("cannot reach {remote}: {detail}; what was fetched before stays in force, and it is tried again")]
    Unreachable {
        /// The address, without credentials.
        remote: String,
        /// What git said.
        detail: String,
    },
    /// The remote did not finish in time.
    #[error("{remote} did not answer within {} s and git was stopped; raise the source's timeout if the repository is large", .after.as_secs_f32())]
    Timeout {
        /// The address, without credentials.
        remote: String,
        /// The time limit.
        after: Duration,
    },
    /// The remote wants other credentials, or does not allow this to them.
    #[error(
        "{remote} refuses access: {detail}; check the token or key, that it has not expired, and that it may read (and, for rollbacks, write) the repository"
    )]
    Auth {
        /// The address, without credentials.
        remote: String,
        /// What git said.
        detail: String,
    },
    /// The remote's host key is not the known one.
    #[error("the host key of {remote} is not trusted: {detail}; compare it with what the host's operator publishes, then add it to {}", .known_hosts.display())]
    HostKey {
        /// The address, without credentials.
        remote: String,
        /// Where trusted keys are kept.
        known_hosts: PathBuf,
        /// What ssh said.
        detail: String,
    },
    /// The remote answers, and the branch is not there.
    #[error(
        "{remote} has no branch `{branch}`; nothing is removed because of that: push the branch again, or configure another one"
    )]
    BranchGone {
        /// The address, without credentials.
        remote: String,
        /// The branch.
        branch: String,
    },
    /// There is no repository at the address.
    #[error(
        "there is no Git repository at {remote}: {detail}; check the address, and that these credentials can see it"
    )]
    NotARepository {
        /// The address, without credentials.
        remote: String,
        /// What git said.
        detail: String,
    },
    /// A limit was passed.
    #[error(
        "{what} is larger than the limit of {limit}; remove what does not belong into the repository, or raise `{setting}`"
    )]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit with its unit.
        limit: String,
        /// The setting that holds the limit.
        setting: &'static str,
    },
    /// The mirror is damaged and could not be rebuilt.
    #[error("the mirror {} is damaged: {detail}; it is rebuilt from the remote as soon as that answers; if this stays, stop the daemon and delete the folder", .mirror.display())]
    Corrupt {
        /// The mirror folder.
        mirror: PathBuf,
        /// What is damaged.
        detail: String,
    },
    /// The mirror does not have it.
    #[error("there is no {what} {name} in the mirror; fetch, or check the name")]
    Unknown {
        /// `commit`, `file`, `folder`.
        what: &'static str,
        /// As it was asked for.
        name: String,
    },
    /// Something in the tree is not looked at.
    #[error("refused {0}")]
    Refused(RefusedEntry),
    /// A path, branch, pin or identity that is not one.
    #[error("`{text}` is no {what}: {why}")]
    BadName {
        /// What it should have been.
        what: &'static str,
        /// What was given, escaped.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The edits change nothing.
    #[error("the edits leave {0} as it is; there is nothing to commit")]
    NothingToCommit(Revision),
    /// The push would have been a force.
    #[error("{commit} does not descend from {expect}; it is not pushed: a branch is never forced")]
    NotDescendant {
        /// What was to be pushed.
        commit: Revision,
        /// Where the branch was expected.
        expect: Revision,
    },
    /// The machine would not do it.
    #[error("cannot {doing} {}: {cause}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// Git failed in a way that has no better name.
    #[error("git failed on {remote}: {detail}")]
    Git {
        /// The address or mirror, without credentials.
        remote: String,
        /// What it said.
        detail: String,
    },
}

impl SourceError {
    /// Whether asking again later may help without anyone changing anything: the remote is away or slow.
    pub fn is_transient(&self) -> bool {
        matches!(self, SourceError::Unreachable { .. } | SourceError::Timeout { .. })
    }
}

/// How long to wait until the next poll: the interval, spread by `jitter` (0.1: plus or minus ten per cent), so that
/// many sources do not ask one host at the same moment. `random` is uniform in 0..1 and comes from the caller.
pub fn poll_delay(interval: Duration, jitter: f64, random: f64) -> Duration {
    let clamp = |value: f64| if value.is_finite() { value.clamp(0.0, 1.0) } else { 0.0 };
    interval.mul_f64(1.0 + clamp(jitter) * (2.0 * clamp(random) - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_poll_delay_stays_within_its_spread() {
        let minute = Duration::from_secs(60);
        for (jitter, random, want) in
            [(0.1, 0.0, 54), (0.1, 0.5, 60), (0.1, 1.0, 66), (0.0, 0.9, 60), (1.0, 0.0, 0), (f64::NAN, 2.0, 60)]
        {
            assert_eq!(poll_delay(minute, jitter, random).as_millis(), want * 1000, "{jitter} {random}");
        }
    }
}
