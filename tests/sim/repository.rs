//! A Git repository in memory: commits by content, a remote whose branch anybody may move.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use trimtab::domain::id::Revision;
use trimtab::domain::revert::{trailer, trailers};

pub type Files = BTreeMap<String, String>;

/// One commit.
#[derive(Clone, Debug)]
pub struct Commit {
    pub parent: Option<Revision>,
    pub files: Files,
    pub message: String,
}

/// The remote and the mirror: what the mirror has is what was fetched, and what was made in it.
#[derive(Clone, Debug, Default)]
pub struct Repository {
    pub commits: BTreeMap<Revision, Commit>,
    pub contents: BTreeMap<String, String>,
    /// Where the remote's branches stand.
    pub branches: BTreeMap<String, Revision>,
    /// Where the mirror saw the branch last.
    pub fetched: Option<Revision>,
    pub pins: BTreeMap<String, Revision>,
}

fn hash(parts: &[&str]) -> String {
    let mut sum = Sha256::new();
    for part in parts {
        sum.update(part.len().to_le_bytes());
        sum.update(part.as_bytes());
    }
    hex::encode(sum.finalize())[..40].to_owned()
}

pub fn oid(content: &str) -> String {
    hash(&["blob", content])
}

/// The name of a folder's content.
pub fn tree(files: &Files, folder: &str) -> Option<String> {
    let inside = files.iter().filter(|(path, _)| folder.is_empty() || path.starts_with(&format!("{folder}/")));
    let parts: Vec<&str> = inside.flat_map(|(path, text)| [path.as_str(), text.as_str()]).collect();
    (!parts.is_empty()).then(|| hash(&parts))
}

impl Repository {
    /// Makes a commit; the same content is the same commit.
    pub fn commit(&mut self, parent: Option<&Revision>, files: Files, message: &str, at: Timestamp) -> Revision {
        let named = tree(&files, "").unwrap_or_default();
        let parent_name = parent.map_or("", |parent| parent.as_str());
        let revision = Revision(hash(&["commit", parent_name, &named, message, &at.to_string()]));
        for text in files.values() {
            self.contents.insert(oid(text), text.clone());
        }
        let commit = Commit { parent: parent.cloned(), files, message: message.to_owned() };
        self.commits.entry(revision.clone()).or_insert(commit);
        revision
    }

    /// Somebody commits on top of the remote's branch.
    pub fn push(&mut self, change: impl FnOnce(&mut Files), message: &str, at: Timestamp) -> Revision {
        let head = self.branches.get("main").cloned();
        let mut files = head.as_ref().map(|head| self.commits[head].files.clone()).unwrap_or_default();
        change(&mut files);
        let revision = self.commit(head.as_ref(), files, message, at);
        self.branches.insert("main".into(), revision.clone());
        revision
    }

    /// What the remote's branch holds.
    pub fn head_files(&self) -> Files {
        self.branches.get("main").map(|head| self.commits[head].files.clone()).unwrap_or_default()
    }

    /// A commit and its ancestors, newest first.
    pub fn history<'a>(&'a self, from: &Revision) -> impl Iterator<Item = (Revision, &'a Commit)> + 'a {
        let mut next = Some(from.clone());
        std::iter::from_fn(move || {
            let revision = next.take()?;
            let commit = self.commits.get(&revision)?;
            next = commit.parent.clone();
            Some((revision, commit))
        })
    }

    pub fn find_trailer(&self, from: &Revision, key: &str, value: &str) -> Option<Revision> {
        let mut all = self.history(from);
        all.find(|(_, commit)| trailer(&trailers(&commit.message), key) == Some(value)).map(|(revision, _)| revision)
    }

    /// The commits of the branch that carry this trailer, with its value.
    pub fn with_trailer(&self, key: &str) -> Vec<(Revision, String)> {
        let Some(head) = self.branches.get("main") else { return Vec::new() };
        let found = self.history(head).filter_map(|(revision, commit)| {
            trailer(&trailers(&commit.message), key).map(|value| (revision, value.to_owned()))
        });
        found.collect()
    }

    /// The paths that differ.
    pub fn changed(&self, from: &Revision, to: &Revision) -> BTreeSet<String> {
        let (from, to) = (&self.commits[from].files, &self.commits[to].files);
        from.keys().chain(to.keys()).filter(|path| from.get(*path) != to.get(*path)).cloned().collect()
    }
}
