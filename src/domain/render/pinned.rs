//! A Release that brings its app back to what it was at another revision, while the documents it shares with others stay.

use crate::domain::documents::DocumentId;
use crate::domain::id::Name;
use crate::domain::manifest::document::{Body, ReleaseSpec};
use crate::domain::manifest::merge::merge;
use crate::domain::manifest::node::{Node, Scalar, Value};
use crate::domain::manifest::pin::pin;
use crate::domain::manifest::rewrite::{Change, RewriteError, rewrite};
use crate::domain::manifest::{self, DocumentSet, Identity, SourceFile};

/// A file whose Release sets what was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// The whole file: all but that Release byte for byte as it was, and of the Release all that did not have to change.
    pub text: String,
    /// What the Release sets that it did not before, each by its keys joined with dots.
    pub set: Vec<String>,
}

/// Why a Release was not edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The App or the Release is not there, or is wrong.
    #[error("App and Release can't be read at both revisions")]
    NoDocuments,
    /// App and Release say what they said then: what differs is elsewhere.
    #[error("what differs is nothing that a Release can set")]
    NothingToSet,
    /// The file.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
}

/// Edits the Release of an app and environment in the text of its file so that version and App's spec, merged with what it sets, say
/// what they said `then`, with the App as it is `now`. Whether that brings the rendered state back is for whoever renders it: Scripts,
/// folders and the Environment count too.
///
/// # Errors
///
/// Why that can't be written.
pub fn pinned(
    (app, environment): (&Name, &Name),
    then: &DocumentSet,
    now: &DocumentSet,
    path: &str,
    text: &str,
) -> Result<Pinned, PinError> {
    let identity = Identity::Release { app: app.clone(), environment: environment.clone() };
    let before = then.find(&identity).and_then(|document| document.release());
    let file = manifest::parse_file(path, text.as_bytes());
    let release = file.documents.iter().find(|document| document.identity == identity);
    let (Some(before), Some(release)) = (before, release.and_then(|document| document.release())) else {
        return Err(PinError::NoDocuments);
    };
    let (Some(app_then), Some(app_now)) = (spec(then, app), spec(now, app)) else { return Err(PinError::NoDocuments) };
    let wanted = before.set.as_ref().map_or_else(|| app_then.clone(), |set| merge(app_then, set));
    let ReleaseSpec { version, set } = release;
    let mut changes = Vec::new();
    if version.value != before.version.value {
        let scalar = Scalar { text: before.version.value.clone(), plain: true, runtime: false, template: None };
        let node = Node { at: version.at.clone(), value: Value::Scalar(scalar) };
        changes.push(("version".to_owned(), Change::Write(node)));
    }
    let set = pin(app_now, set.as_ref(), &wanted, SourceFile::new(path, "").folder());
    let members = set.as_ref().map(Change::members).unwrap_or_default();
    changes.extend(set.map(|set| ("set".to_owned(), set)));
    if changes.is_empty() {
        return Err(PinError::NothingToSet);
    }
    let id = DocumentId { kind: "Release".into(), name: app.to_string(), environment: Some(environment.to_string()) };
    let change = Change::Within(vec![("spec".to_owned(), Change::Within(changes))]);
    Ok(Pinned { text: rewrite(path, text, &id, &change)?, set: members })
}

fn spec<'d>(documents: &'d DocumentSet, app: &Name) -> Option<&'d Node> {
    match &documents.find(&Identity::App(app.clone()))?.body {
        Body::App(spec) => Some(spec),
        _ => None,
    }
}
