//! What a unit was rendered from, to tell whether it must be rendered again.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{Lookups, Parts, parts, unit};
use crate::domain::id::Name;
use crate::domain::manifest::decode::Context;
use crate::domain::manifest::document::NamedPaths;
use crate::domain::manifest::{Document, DocumentSet, Identity};
use crate::domain::secret::{SecretSource, SecretValue};

/// What a unit was rendered from: the content of its documents, and everything that was looked up on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    documents: [[u8; 32]; 3],
    scripts: Vec<(Name, [u8; 32])>,
    artifacts: Vec<(String, String)>,
    secrets: Vec<(SecretSource, SecretValue)>,
}

impl Inputs {
    /// The inputs of a unit, nothing looked up yet.
    pub fn of(parts: &Parts<'_>) -> Self {
        Inputs { documents: contents(parts), scripts: Vec::new(), artifacts: Vec::new(), secrets: Vec::new() }
    }

    /// A Script was used.
    pub fn used_script(&mut self, name: &Name, content: [u8; 32]) {
        self.scripts.push((name.clone(), content));
    }

    /// The tree of a path was used.
    pub fn used_artifact(&mut self, path: &str, oid: &str) {
        self.artifacts.push((path.to_owned(), oid.to_owned()));
    }

    /// A secret was used.
    pub fn used_secret(&mut self, source: SecretSource, value: SecretValue) {
        self.secrets.push((source, value));
    }

    /// Whether the same would be found now.
    pub fn are_current(&self, documents: &DocumentSet, parts: &Parts<'_>, lookups: Lookups<'_>) -> bool {
        self.documents == contents(parts)
            && self.scripts.iter().all(|(name, content)| {
                let identity = Identity::Script(name.clone());
                documents.find(&identity).is_some_and(|script| script.content == *content)
                    && documents.problems_of(&identity).is_empty()
            })
            && self.artifacts.iter().all(|(path, oid)| (lookups.artifacts)(path).as_ref() == Some(oid))
            && self.secrets.iter().all(|(source, value)| (lookups.secrets)(source) == *value)
    }
}

fn contents(parts: &Parts<'_>) -> [[u8; 32]; 3] {
    [parts.app.content, parts.release.content, parts.environment_document.content]
}

impl DocumentSet {
    /// The folders that documents name as artifacts, by their paths from the root of the repository: all that rendering asks
    /// for, and perhaps some that a Release replaces.
    pub fn artifact_paths(&self) -> BTreeSet<String> {
        self.named_paths(|document| &document.artifacts, |lookups| lookups.0)
    }

    /// The files that documents name as secrets, by their paths from the root of the repository: all that rendering asks
    /// for, and perhaps some that a Release replaces.
    pub fn secret_paths(&self) -> BTreeSet<String> {
        self.named_paths(|document| &document.secrets, |lookups| lookups.1)
    }

    /// Whether any document has a secret, in a file or written in the document itself.
    pub fn has_secrets(&self) -> bool {
        self.identities().filter_map(|identity| self.find(identity)).any(|document| document.secrets.any)
    }

    /// The paths that documents name in one way. `asked` picks what rendering asked for: folders, or files of secrets.
    fn named_paths(
        &self,
        named: impl Fn(&Document) -> &NamedPaths,
        asked: impl Fn((BTreeSet<String>, BTreeSet<String>)) -> BTreeSet<String>,
    ) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        let mut open_script = false;
        for document in self.identities().filter_map(|identity| self.find(identity)) {
            paths.extend(named(document).paths.iter().cloned());
            open_script |= named(document).open && matches!(document.identity, Identity::Script(_));
        }
        // A path with a placeholder is known only once its unit is rendered, so such units are rendered to see what they ask for.
        let (folders, files) = (RefCell::new(BTreeSet::new()), RefCell::new(BTreeSet::new()));
        for (app, environment, release) in self.releases() {
            let Ok(parts) = parts(self, app, environment, release) else { continue };
            if !(open_script || named(release).open || named(parts.app).open) {
                continue;
            }
            let record_folder = |path: &str| {
                folders.borrow_mut().insert(path.to_owned());
                Some(String::new())
            };
            let record_file = |source: &SecretSource| {
                if let SecretSource::File { path, .. } = source {
                    files.borrow_mut().insert(path.clone());
                }
                SecretValue::Unknown
            };
            let lookups = Lookups { artifacts: &record_folder, secrets: &record_file };
            for target in &parts.environment.targets {
                // What is wrong with the unit is told when it is rendered in earnest.
                drop(unit::render(self, &parts, target, lookups, &Context::new()));
            }
        }
        paths.extend(asked((folders.into_inner(), files.into_inner())));
        paths
    }
}
