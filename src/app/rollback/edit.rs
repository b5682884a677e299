//! The second way back: what is shared stays as it is, and the unit's own Release sets what was there before.

use super::compose::{Attempt, Message, Piece, PieceKind, write};
use crate::app::catalog::Snapshot;
use crate::domain::id::Revision;
use crate::domain::render::pinned::pinned;
use crate::domain::revert::Reverted;
use crate::ports::source::SourceError;

/// A commit and what it puts back, or why there is none.
type Edited = Result<(Revision, Vec<String>), String>;

impl Attempt<'_> {
    /// The commit that puts back what is the unit's own and lets its Release set the rest, if it changes exactly what is intended.
    pub async fn edited(&self, good: &Snapshot, own: &[Piece], message: Message<'_>) -> Result<Edited, SourceError> {
        let unit = &self.case.unit;
        let Some(path) = self.head.units.get(unit).map(|entry| entry.release_file.clone()) else {
            return Ok(Err("it has no Release any more".into()));
        };
        // The Release stays where it is: what is edited is the file that holds it now.
        let own: Vec<Piece> = own.iter().filter(|piece| !is_file(piece, &path)).cloned().collect();
        let Some((mut edits, mut files)) = self.put_back(&own).await? else {
            return Ok(Err(format!("a file that holds {unit}'s own documents can't be edited")));
        };
        let text = match files.remove(&path) {
            Some(text) => text,
            None => self.head_text(&path).await?,
        };
        let (then, now) = (self.catalog.documents(good).await?, self.catalog.documents(self.head).await?);
        let next = match pinned((&unit.app, &unit.environment), &then, &now, &path, &text) {
            Ok(next) => next,
            Err(error) => return Ok(Err(error.to_string())),
        };
        files.insert(path.clone(), next.text);
        edits.extend(files.into_iter().map(|(path, text)| write(path, text)));
        let release = format!("Release {} in {} in {path}", unit.app, unit.environment);
        let mut restored: Vec<String> =
            own.into_iter().map(|piece| piece.name).filter(|name| *name != release).collect();
        restored.push(release);
        let text = message(&Reverted { restored: &restored, set: &next.set });
        let commit = self.proven(Some(edits), &text).await?;
        Ok(commit.map(|commit| (commit, restored)).ok_or_else(|| {
            "what differs is more than a Release can set (a Script, a folder of files, the Environment)".to_owned()
        }))
    }
}

fn is_file(piece: &Piece, file: &str) -> bool {
    matches!(&piece.kind, PieceKind::File { path } if path == file)
}
