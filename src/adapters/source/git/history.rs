//! Commits: who descends from whom, what they say.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use git2::{Commit, ErrorCode, Repository};
use jiff::Timestamp;

use super::store::{Store, full_oid, shortened};
use crate::domain::id::Revision;
use crate::domain::revert;
use crate::ports::source::{CommitInfo, SourceError, Walk};

/// How much of a message is kept.
const MAX_MESSAGE: usize = 64 << 10;

/// See [`crate::ports::source::Source::is_ancestor`].
pub(super) fn is_ancestor(store: &Store, older: &Revision, newer: &Revision) -> Result<bool, SourceError> {
    store.with(|repository| {
        let newer = store.commit(repository, newer)?.id();
        // The mirror has the whole history of `newer`, so what it does not have is no part of it.
        let older = match store.commit(repository, older) {
            Ok(older) => older.id(),
            Err(SourceError::Unknown { .. }) if full_oid(older.as_str()).is_some() => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(older == newer || repository.graph_descendant_of(newer, older).map_err(|error| store.missing(&error))?)
    })
}

/// See [`crate::ports::source::Source::resolve`].
pub(super) fn resolve(store: &Store, text: &str) -> Result<Revision, SourceError> {
    let bad = |why: &str| SourceError::BadName { what: "revision", text: shortened(text), why: why.into() };
    if !(4..=40).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad("give four to forty hexadecimal digits of a commit"));
    }
    store.with(|repository| match repository.find_commit_by_prefix(&text.to_ascii_lowercase()) {
        Ok(commit) => Ok(Revision(commit.id().to_string())),
        Err(error) if error.code() == ErrorCode::Ambiguous => Err(bad("several objects begin like this; give more")),
        Err(error) if error.code() == ErrorCode::NotFound => {
            Err(SourceError::Unknown { what: "commit", name: shortened(text) })
        }
        Err(error) => Err(store.failed(&error)),
    })
}

/// See [`crate::ports::source::Source::commit_info`].
pub(super) fn commit_info(store: &Store, revision: &Revision) -> Result<CommitInfo, SourceError> {
    store.with(|repository| Ok(info(&store.commit(repository, revision)?)))
}

/// See [`crate::ports::source::Source::log`].
pub(super) fn log(store: &Store, from: &Revision, limit: usize, walk: Walk) -> Result<Vec<CommitInfo>, SourceError> {
    let mut found = Vec::new();
    visit(store, from, limit, walk, |commit| {
        found.push(info(commit));
        None::<()>
    })?;
    Ok(found)
}

/// See [`crate::ports::source::Source::find_trailer`].
pub(super) fn find_trailer(
    store: &Store,
    head: &Revision,
    key: &str,
    value: &str,
    limit: usize,
) -> Result<Option<Revision>, SourceError> {
    visit(store, head, limit, Walk::Full, |commit| {
        let message = message(commit);
        // Taking a message apart is the costly part.
        let found = message.contains(value)
            && revert::trailers(&message).iter().any(|(k, v)| k.eq_ignore_ascii_case(key) && *v == value);
        found.then(|| Revision(commit.id().to_string()))
    })
}

/// Goes through a history until something is found: newest first, of equally old ones the earlier parent first. Only
/// what is looked at is read, however long the history is.
fn visit<T>(
    store: &Store,
    from: &Revision,
    limit: usize,
    walk: Walk,
    mut look: impl FnMut(&Commit<'_>) -> Option<T>,
) -> Result<Option<T>, SourceError> {
    store.with(|repository: &Repository| {
        let start = store.commit(repository, from)?;
        let mut seen = HashSet::from([start.id()]);
        let mut due = BinaryHeap::from([(start.time().seconds(), Reverse(0), start.id())]);
        for _ in 0..limit {
            let Some((_, _, oid)) = due.pop() else { break };
            let commit = repository.find_commit(oid).map_err(|error| store.missing(&error))?;
            if let Some(found) = look(&commit) {
                return Ok(Some(found));
            }
            let parents = if walk == Walk::FirstParent { 1 } else { usize::MAX };
            for oid in commit.parent_ids().take(parents) {
                if seen.insert(oid) {
                    let parent = repository.find_commit(oid).map_err(|error| store.missing(&error))?;
                    due.push((parent.time().seconds(), Reverse(seen.len()), oid));
                }
            }
        }
        Ok(None)
    })
}

fn info(commit: &Commit<'_>) -> CommitInfo {
    let message = message(commit);
    let author = commit.author();
    CommitInfo {
        revision: Revision(commit.id().to_string()),
        author: String::from_utf8_lossy(author.name_bytes()).into_owned(),
        email: String::from_utf8_lossy(author.email_bytes()).into_owned(),
        // A commit may carry any number there.
        time: Timestamp::from_second(commit.time().seconds()).unwrap_or(Timestamp::UNIX_EPOCH),
        subject: message.lines().next().unwrap_or_default().to_owned(),
        message,
        parents: commit.parent_ids().map(|oid| Revision(oid.to_string())).collect(),
    }
}

fn message(commit: &Commit<'_>) -> String {
    let bytes = commit.message_bytes();
    String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_MESSAGE)]).into_owned()
}
