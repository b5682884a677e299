//! The files of a revision, and how two revisions differ.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The files of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Files and links, sorted by path.
    pub entries: Vec<TreeEntry>,
    /// What lies in the tree and is never looked at, with the reason.
    pub refused: Vec<RefusedEntry>,
}

impl Listing {
    /// Whether everything in the tree was listed; if not, nothing may be concluded to be deleted.
    pub fn is_complete(&self) -> bool {
        self.refused.is_empty()
    }
}

/// One file or link of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// The path relative to the source's root folder.
    pub path: String,
    /// The object name of the content: equal names mean equal bytes.
    pub oid: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of the content (of a link: of its target text).
    pub size: u64,
}

/// What an entry of a tree is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A file.
    File,
    /// A file with the executable bit.
    Executable,
    /// A symbolic link that stays inside the source's root folder.
    Symlink {
        /// The path it leads to, relative to the source's root folder; there may be nothing at it.
        target: String,
    },
}

/// An entry that is not looked at, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefusedEntry {
    /// The path, with control characters and invalid text escaped.
    pub path: String,
    /// Why it is refused.
    pub reason: RefusedReason,
}

impl fmt::Display for RefusedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

/// Why an entry is refused. The text says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, thiserror::Error)]
pub enum RefusedReason {
    /// A name that could be confused with, or lead to, something else.
    #[error("unsafe name ({0}); rename it in the repository")]
    Name(String),
    /// A symbolic link out of the folder.
    #[error(
        "symbolic link to {0}, which leaves the folder, is absolute, or goes up after going down; link inside the folder or copy the file"
    )]
    Link(String),
    /// A submodule: never followed.
    #[error("submodule; these are never followed: copy its files into the repository, or remove it")]
    Submodule,
    /// Nested deeper than the limit.
    #[error("more than {0} folders deep; flatten it")]
    Depth(usize),
    /// An object kind that has no meaning here.
    #[error("unknown file mode {0:o}; check the repository with `git fsck`")]
    Mode(i32),
}

/// A file that differs between two revisions. One that is only on one side was added or removed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedPath {
    /// The path relative to the source's root folder.
    pub path: String,
    /// Object name and mode before; `None` if it was added.
    pub before: Option<FileId>,
    /// Object name and mode after; `None` if it was removed.
    pub after: Option<FileId>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// The object name of the content.
    pub oid: String,
    /// Git's file mode: 0o100644, 0o100755 (executable), 0o120000 (link), 0o160000 (submodule); or [`FileId::REFUSED`].
    pub mode: u32,
}

impl FileId {
    /// The mode of what [`Source::list`](super::Source::list) refuses for its name or its depth, whatever it is.
    pub const REFUSED: u32 = 0;
}
