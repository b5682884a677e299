//! Commits: what they say of themselves, and what one that is made is made of.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::id::Revision;

/// What a commit says about itself. All of it was written by whoever could push: escape before showing it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitInfo {
    /// The commit.
    pub revision: Revision,
    /// The author's name.
    pub author: String,
    /// The author's address.
    pub email: String,
    /// When it was committed, by the committer's clock.
    pub time: Timestamp,
    /// The first line.
    pub subject: String,
    /// The whole message, cut at 64 KiB.
    pub message: String,
    /// Its parents; more than one for a merge.
    pub parents: Vec<Revision>,
}

/// Which parents a history follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    /// Only the first parent: the branch as it advanced.
    FirstParent,
    /// All parents.
    Full,
}

/// One change in a commit to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Writes a file, replacing whatever is there.
    Write {
        /// Where.
        path: String,
        /// The new content.
        content: Vec<u8>,
        /// Whether it gets the executable bit; `None` keeps what it had.
        executable: Option<bool>,
    },
    /// Removes a file or a folder. One that is not there is no error.
    Remove {
        /// Where.
        path: String,
    },
    /// Puts a file or a whole folder back to what it was at another revision; if it was not there, it is removed.
    Restore {
        /// Where.
        path: String,
        /// The revision to take it from.
        from: Revision,
    },
}

impl Edit {
    /// The path that it changes.
    pub fn path(&self) -> &str {
        match self {
            Edit::Write { path, .. } | Edit::Remove { path } | Edit::Restore { path, .. } => path,
        }
    }
}

/// In whose name a commit is made, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The name, without line breaks and `<>`.
    pub name: String,
    /// The address, without line breaks and `<>`.
    pub email: String,
    /// When; Git keeps whole seconds.
    pub time: Timestamp,
}

/// What came of a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushOutcome {
    /// The branch stands at the commit.
    Pushed,
    /// The branch stood somewhere else than expected: fetch, decide again.
    Lost,
    /// The remote does not take it: a protected branch, a hook. The text is the remote's own reason.
    Refused(String),
}
