//! What a unit was rendered from, to tell whether it must be rendered again.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{Artifacts, Parts, parts, unit};
use crate::domain::id::Name;
use crate::domain::manifest::decode::Context;
use crate::domain::manifest::{DocumentSet, Identity};

/// What a unit was rendered from: the content of its documents, and everything that was looked up on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    documents: [[u8; 32]; 3],
    scripts: Vec<(Name, [u8; 32])>,
    artifacts: Vec<(String, String)>,
}

impl Inputs {
    /// The inputs of a unit, nothing looked up yet.
    pub fn of(parts: &Parts<'_>) -> Self {
        Inputs { documents: contents(parts), scripts: Vec::new(), artifacts: Vec::new() }
    }

    /// A Script was used.
    pub fn used_script(&mut self, name: &Name, content: [u8; 32]) {
        self.scripts.push((name.clone(), content));
    }

    /// The tree of a path was used.
    pub fn used_artifact(&mut self, path: &str, oid: &str) {
        self.artifacts.push((path.to_owned(), oid.to_owned()));
    }

    /// Whether the same would be found now.
    pub fn are_current(&self, documents: &DocumentSet, parts: &Parts<'_>, artifacts: Artifacts<'_>) -> bool {
        self.documents == contents(parts)
            && self.scripts.iter().all(|(name, content)| {
                let identity = Identity::Script(name.clone());
                documents.find(&identity).is_some_and(|script| script.content == *content)
                    && documents.problems_of(&identity).is_empty()
            })
            && self.artifacts.iter().all(|(path, oid)| artifacts(path).as_ref() == Some(oid))
    }
}

fn contents(parts: &Parts<'_>) -> [[u8; 32]; 3] {
    [parts.app.content, parts.release.content, parts.environment_document.content]
}

impl DocumentSet {
    /// The folders that documents name as artifacts, by their paths from the root of the repository: all that rendering asks
    /// for, and perhaps some that a Release replaces.
    pub fn artifact_paths(&self) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        let mut open_script = false;
        for document in self.identities().filter_map(|identity| self.find(identity)) {
            paths.extend(document.artifacts.paths.iter().cloned());
            open_script |= document.artifacts.open && matches!(document.identity, Identity::Script(_));
        }
        // A path with a placeholder is known only once its unit is rendered, so such units are rendered to see what they ask for.
        let asked = RefCell::new(paths);
        for (app, environment, release) in self.releases() {
            let Ok(parts) = parts(self, app, environment, release) else { continue };
            if !(open_script || release.artifacts.open || parts.app.artifacts.open) {
                continue;
            }
            let record = |path: &str| {
                asked.borrow_mut().insert(path.to_owned());
                Some(String::new())
            };
            for target in &parts.environment.targets {
                // What is wrong with the unit is told when it is rendered in earnest.
                drop(unit::render(self, &parts, target, &record, &Context::new()));
            }
        }
        asked.into_inner()
    }
}
