//! The revert commit: found by trying, proven by rendering.
//!
//! What may be restored is not guessed from paths. Every piece that differs between the good revision and the head (a
//! document of a file, or a file that holds none) is put back alone in a trial commit, which is rendered: a piece that
//! changes any unit but the intended ones is shared and stays. The rest is put back together, and the result must change
//! exactly the intended units, each to the digest it had. Where that does not do, the unit's own Release is edited instead
//! (`edit.rs` beside this file). Otherwise nothing is proposed, and the reason names what is shared.

use std::collections::{BTreeMap, BTreeSet};

use crate::app::catalog::{Catalog, Snapshot};
use crate::app::world::World;
use crate::domain::digest::Digest;
use crate::domain::documents::{self, DocumentId};
use crate::domain::id::{Revision, UnitId};
use crate::domain::manifest;
use crate::domain::revert::Reverted;
use crate::ports::source::{Edit, FileId, Signature, SourceError};

/// How many pieces are tried at the most: beyond that the commits between are no single change any more.
const MOST_PIECES: usize = 256;

/// What shall be reverted.
#[derive(Clone, Debug)]
pub struct Case {
    /// The unit that failed.
    pub unit: UnitId,
    /// What it must not be any more.
    pub bad: Digest,
    /// What it shall be again.
    pub good: Digest,
    /// A commit at which it was that.
    pub good_revision: Revision,
    /// What is made true for every unit now. A unit that a commit brings back to just that is not changed by it: it goes
    /// back as well, or has not begun.
    pub effective: BTreeMap<UnitId, Digest>,
    /// The units that have yet to pass what is made true for them: whether they keep it is not known.
    pub undecided: BTreeSet<UnitId>,
}

/// What came of composing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Composed {
    /// A commit on top of the head, proven; nothing is pushed yet.
    Commit {
        /// The commit.
        commit: Revision,
        /// What it puts back, for people.
        restored: Vec<String>,
    },
    /// The head no longer asks for the bad state: nothing is to be reverted.
    Superseded {
        /// Whether it asks for the good one already.
        settled: bool,
    },
    /// No commit changes just this unit: somebody must decide.
    Shared {
        /// Why, for people.
        reason: String,
    },
}

/// A part of the repository that can be put back by itself.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    /// For people.
    pub name: String,
    pub kind: PieceKind,
}

#[derive(Clone, Debug)]
pub(super) enum PieceKind {
    File { path: String },
    Document { path: String, id: DocumentId, before: Option<String> },
}

/// What the commit says about what it does.
pub(super) type Message<'a> = &'a (dyn Fn(&Reverted<'_>) -> String + Sync);

/// Finds the commit that takes one unit's app and environment back, and nothing else.
///
/// # Errors
///
/// Those of the source. Nothing is pushed, so a failure has no effect.
pub async fn compose(
    world: &World,
    catalog: &Catalog,
    head: &Snapshot,
    case: &Case,
    author: &Signature,
    message: Message<'_>,
) -> Result<Composed, SourceError> {
    match head.units.get(&case.unit).map(|entry| entry.desired.digest()) {
        Some(digest) if digest == case.bad => {}
        now => return Ok(Composed::Superseded { settled: now.as_ref() == Some(&case.good) }),
    }
    let good = catalog.load(&case.good_revision, Some(head)).await?;
    let intended = intended(&good, head, case);
    if intended.get(&case.unit) != Some(&case.good) {
        let reason = format!("commit {} no longer renders to the good state {}", case.good_revision, case.good.short());
        return Ok(Composed::Shared { reason });
    }
    let attempt = Attempt { world, catalog, head, case, intended: &intended, author };
    let pieces = pieces(world, &good, head).await?;
    if pieces.len() > MOST_PIECES {
        let reason =
            format!("{} files and documents differ since the good state: too many to tell apart", pieces.len());
        return Ok(Composed::Shared { reason });
    }
    let release = head.units.get(&case.unit).map(|entry| entry.release_file.clone());
    let Sorted { own, shared, others } = attempt.sort(pieces, release.as_deref()).await?;
    for selection in [own.iter().filter(|piece| piece.is_release_of(&case.unit)).cloned().collect(), own.clone()] {
        let restored: Vec<String> = selection.iter().map(|piece: &Piece| piece.name.clone()).collect();
        let text = message(&Reverted { restored: &restored, set: &[] });
        if let Some(commit) = attempt.proven(attempt.edits(&selection).await?, &text).await? {
            return Ok(Composed::Commit { commit, restored });
        }
    }
    if shared.is_empty() {
        let reason = format!("putting back what changed does not bring {} back to {}", case.unit, case.good.short());
        return Ok(Composed::Shared { reason });
    }
    let shared = shared.join(", ");
    // Whether it goes back for all of them in one commit is not known before each of them has passed or failed.
    if let Some(other) = others.iter().find(|other| case.undecided.contains(other)) {
        let reason = format!(
            "{shared} changed too, and {other} still rolls that out: its outcome is waited for, since both may go back"
        );
        return Ok(Composed::Shared { reason });
    }
    match attempt.edited(&good, &own, message).await? {
        Ok((commit, restored)) => Ok(Composed::Commit { commit, restored }),
        Err(why) => Ok(Composed::Shared {
            reason: format!(
                "{shared} changed too, and is shared with other units: putting it back would change them, and {why}; revert or \
                 mend it by hand"
            ),
        }),
    }
}

/// The digests that the revert must bring about: of all targets of the app in the environment.
fn intended(good: &Snapshot, head: &Snapshot, case: &Case) -> BTreeMap<UnitId, Digest> {
    let same = |unit: &UnitId| unit.app == case.unit.app && unit.environment == case.unit.environment;
    let of_good = good.units.iter().filter(|(unit, _)| same(unit));
    of_good
        .map(|(unit, entry)| (unit.clone(), entry.desired.digest()))
        .filter(|(unit, digest)| head.units.get(unit).map(|entry| entry.desired.digest()).as_ref() != Some(digest))
        .collect()
}

/// What differs between two revisions, in pieces.
async fn pieces(world: &World, good: &Snapshot, head: &Snapshot) -> Result<Vec<Piece>, SourceError> {
    let mut pieces = Vec::new();
    for change in world.source.changes(&good.revision, &head.revision).await? {
        let path = change.path;
        let file = PieceKind::File { path: path.clone() };
        let refused = change.after.as_ref().is_some_and(|file| file.mode == FileId::REFUSED);
        if refused || !manifest::is_manifest_path(&path) {
            pieces.push(Piece { name: path, kind: file });
            continue;
        }
        let before = text(world, change.before.as_ref().map(|file| file.oid.as_str())).await?;
        let after = text(world, change.after.as_ref().map(|file| file.oid.as_str())).await?;
        let (Some(before), Some(after)) = (before, after) else {
            pieces.push(Piece { name: path, kind: file });
            continue;
        };
        let (was, is) = (documents::texts(&before), documents::texts(&after));
        if was == is {
            // What differs is no document of trimtab's: objects of a cluster, say.
            pieces.push(Piece { name: path, kind: file });
            continue;
        }
        let ids: BTreeSet<_> = was.keys().chain(is.keys()).cloned().collect();
        for id in ids {
            if was.get(&id) != is.get(&id) {
                let name = format!("{id} in {path}");
                let before = was.get(&id).cloned();
                pieces.push(Piece { name, kind: PieceKind::Document { path: path.clone(), id, before } });
            }
        }
    }
    Ok(pieces)
}

async fn text(world: &World, oid: Option<&str>) -> Result<Option<String>, SourceError> {
    match oid {
        None => Ok(None),
        Some(oid) => Ok(String::from_utf8(world.source.read(oid).await?).ok()),
    }
}

impl Piece {
    fn is_release_of(&self, unit: &UnitId) -> bool {
        match &self.kind {
            PieceKind::Document { id, .. } => {
                id.kind == "Release"
                    && id.name == unit.app.as_str()
                    && id.environment.as_deref() == Some(unit.environment.as_str())
            }
            PieceKind::File { .. } => false,
        }
    }
}

/// What differs between the good state and the head, by whom it concerns.
struct Sorted {
    /// The intended units alone.
    own: Vec<Piece>,
    /// They and others; the names.
    shared: Vec<String>,
    /// Those others.
    others: BTreeSet<UnitId>,
}

/// Trial commits on top of one head.
pub(super) struct Attempt<'a> {
    pub world: &'a World,
    pub catalog: &'a Catalog,
    pub head: &'a Snapshot,
    pub case: &'a Case,
    pub intended: &'a BTreeMap<UnitId, Digest>,
    pub author: &'a Signature,
}

impl Attempt<'_> {
    /// Which pieces concern the intended units alone, and the names of those that the intended units share with others.
    /// Pieces that concern none of the intended units are left as they are.
    async fn sort(&self, pieces: Vec<Piece>, release_file: Option<&str>) -> Result<Sorted, SourceError> {
        let mut sorted = Sorted { own: Vec::new(), shared: Vec::new(), others: BTreeSet::new() };
        for piece in pieces {
            let is_release =
                release_file.is_some_and(|file| matches!(&piece.kind, PieceKind::File { path } if path == file));
            let edits = self.edits(std::slice::from_ref(&piece)).await?;
            let Some(trial) = self.trial(edits, "trial").await? else { continue };
            let changed = self.really_changed(&trial);
            let others = changed.iter().any(|unit| !self.intended.contains_key(unit));
            let ours = changed.iter().any(|unit| self.intended.contains_key(unit));
            match (ours, others) {
                // A piece whose loss alone breaks rendering may be right together with others.
                (_, false) if ours || is_release => sorted.own.push(piece),
                (true, true) => {
                    sorted.shared.push(piece.name);
                    sorted.others.extend(changed.into_iter().filter(|unit| !self.intended.contains_key(unit)));
                }
                _ => {}
            }
        }
        Ok(sorted)
    }

    /// The commit of some edits, if it changes exactly what is intended.
    pub async fn proven(&self, edits: Option<Vec<Edit>>, message: &str) -> Result<Option<Revision>, SourceError> {
        let Some(trial) = self.trial(edits, message).await? else { return Ok(None) };
        let changed = self.really_changed(&trial);
        let exact = changed.len() == self.intended.len()
            && self
                .intended
                .iter()
                .all(|(unit, digest)| trial.units.get(unit).is_some_and(|entry| entry.desired.digest() == *digest));
        let no_worse = trial.broken.keys().all(|unit| self.head.broken.contains_key(unit));
        Ok((exact && no_worse).then(|| trial.revision.clone()))
    }

    /// The units that a trial changes, but for those that it brings back to what is made true for them anyway.
    fn really_changed(&self, trial: &Snapshot) -> BTreeSet<UnitId> {
        let mut changed = changed_units(self.head, trial);
        changed.retain(|unit| {
            let after = trial.units.get(unit).map(|entry| entry.desired.digest());
            self.intended.contains_key(unit) || after.is_none() || after.as_ref() != self.case.effective.get(unit)
        });
        changed
    }

    /// The head with some edits, rendered; `None` where that changes nothing.
    async fn trial(&self, edits: Option<Vec<Edit>>, message: &str) -> Result<Option<Snapshot>, SourceError> {
        let Some(edits) = edits else { return Ok(None) };
        match self.world.source.commit(&self.head.revision, &edits, self.author, message).await {
            Ok(commit) => self.catalog.load(&commit, Some(self.head)).await.map(Some),
            Err(SourceError::NothingToCommit { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The edits that put pieces back.
    async fn edits(&self, pieces: &[Piece]) -> Result<Option<Vec<Edit>>, SourceError> {
        let Some((mut edits, files)) = self.put_back(pieces).await? else { return Ok(None) };
        edits.extend(files.into_iter().map(|(path, text)| write(path, text)));
        Ok((!edits.is_empty()).then_some(edits))
    }

    /// What puts pieces back: whole files, and the texts of files in which documents are put back, several of one file in one
    /// text.
    pub async fn put_back(
        &self,
        pieces: &[Piece],
    ) -> Result<Option<(Vec<Edit>, BTreeMap<String, String>)>, SourceError> {
        let mut edits = Vec::new();
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for piece in pieces {
            match &piece.kind {
                PieceKind::File { path } => {
                    edits.push(Edit::Restore { path: path.clone(), from: self.case.good_revision.clone() });
                }
                PieceKind::Document { path, id, before } => {
                    let current = match files.remove(path) {
                        Some(current) => current,
                        None => self.head_text(path).await?,
                    };
                    let Ok(next) = documents::replace(&current, id, before.as_deref()) else { return Ok(None) };
                    files.insert(path.clone(), next);
                }
            }
        }
        Ok(Some((edits, files)))
    }

    /// The text of a file at the head; pieces name only files that were read as text there.
    pub async fn head_text(&self, path: &str) -> Result<String, SourceError> {
        let oid = self.head.file_oid(path).unwrap_or_default();
        Ok(String::from_utf8_lossy(&self.world.source.read(oid).await?).into_owned())
    }
}

pub(super) fn write(path: String, text: String) -> Edit {
    Edit::Write { path, content: text.into_bytes(), executable: None }
}

/// The units whose rendered state differs, on either side.
fn changed_units(before: &Snapshot, after: &Snapshot) -> BTreeSet<UnitId> {
    let ids = before.units.keys().chain(after.units.keys());
    let digest = |snapshot: &Snapshot, id: &UnitId| snapshot.units.get(id).map(|entry| entry.desired.digest());
    ids.filter(|id| digest(before, id) != digest(after, id)).cloned().collect()
}
