//! What a unit was rendered from, to tell whether it must be rendered again.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{Lookups, Parts, parts, unit};
use crate::domain::id::Name;
use crate::domain::manifest::decode::Context;
use crate::domain::manifest::document::NamedPaths;
use crate::domain::manifest::{Document, DocumentSet, Identity};
use crate::domain::objects::{Found, ObjectSource, Objects, Origins};
use crate::domain::secret::{SecretSource, SecretValue};

/// What a unit was rendered from: the content of its documents, and everything that was looked up on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    documents: [[u8; 32]; 3],
    scripts: Vec<(Name, [u8; 32])>,
    artifacts: Vec<(String, String)>,
    secrets: Vec<(SecretSource, SecretValue)>,
    objects: Origins,
}

impl Inputs {
    /// The inputs of a unit, nothing looked up yet.
    pub fn of(parts: &Parts<'_>) -> Self {
        Inputs {
            documents: contents(parts),
            scripts: Vec::new(),
            artifacts: Vec::new(),
            secrets: Vec::new(),
            objects: Origins::new(),
        }
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

    /// Objects were read from these files and folders.
    pub fn used_objects(&mut self, origins: &Origins) {
        self.objects.extend(origins.iter().map(|(path, oid)| (path.clone(), oid.clone())));
    }

    /// The files and folders that objects were read from.
    pub fn object_paths(&self) -> impl Iterator<Item = &String> {
        self.objects.keys()
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
            && self.objects.iter().all(|(path, oid)| lookups.objects.entry(path) == *oid)
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
        self.named_paths(|document| &document.artifacts, |asked| asked.folders.into_inner())
    }

    /// The files that documents name as secrets, by their paths from the root of the repository: all that rendering asks
    /// for, and perhaps some that a Release replaces.
    pub fn secret_paths(&self) -> BTreeSet<String> {
        self.named_paths(|document| &document.secrets, |asked| asked.files.into_inner())
    }

    /// The files and folders that documents name as objects of clusters, by their paths from the root of the repository: all that
    /// rendering asks for first, and perhaps some that a Release replaces.
    pub fn object_paths(&self) -> BTreeSet<String> {
        self.named_paths(|document| &document.objects, |asked| asked.objects.into_inner())
    }

    /// Whether any document has a secret, in a file or written in the document itself, or may have one in a file of objects.
    pub fn has_secrets(&self) -> bool {
        self.identities()
            .filter_map(|identity| self.find(identity))
            .any(|document| document.secrets.any || document.objects.any)
    }

    /// The paths that documents name in one way. `pick` takes what rendering asked for of that kind.
    fn named_paths(
        &self,
        named: impl Fn(&Document) -> &NamedPaths,
        pick: impl Fn(Asked) -> BTreeSet<String>,
    ) -> BTreeSet<String> {
        let mut paths = BTreeSet::new();
        let mut open_script = false;
        for document in self.identities().filter_map(|identity| self.find(identity)) {
            paths.extend(named(document).paths.iter().cloned());
            open_script |= named(document).open && matches!(document.identity, Identity::Script(_));
        }
        // A path with a placeholder is known only once its unit is rendered, so such units are rendered to see what they ask for.
        let asked = Asked::default();
        for (app, environment, release) in self.releases() {
            let Ok(parts) = parts(self, app, environment, release) else { continue };
            if !(open_script || named(release).open || named(parts.app).open) {
                continue;
            }
            let record_folder = |path: &str| {
                asked.folders.borrow_mut().insert(path.to_owned());
                Some(String::new())
            };
            let record_file = |source: &SecretSource| {
                if let SecretSource::File { path, .. } = source {
                    asked.files.borrow_mut().insert(path.clone());
                }
                SecretValue::Unknown
            };
            let lookups = Lookups { artifacts: &record_folder, secrets: &record_file, objects: &asked };
            for target in &parts.environment.targets {
                // What is wrong with the unit is told when it is rendered in earnest.
                drop(unit::render(self, &parts, target, lookups, &Context::new()));
            }
        }
        paths.extend(pick(asked));
        paths
    }
}

/// The paths that rendering asked for.
#[derive(Default)]
struct Asked {
    folders: RefCell<BTreeSet<String>>,
    files: RefCell<BTreeSet<String>>,
    objects: RefCell<BTreeSet<String>>,
}

impl Objects for Asked {
    fn entry(&self, _path: &str) -> Option<String> {
        None
    }

    fn find(&self, source: &ObjectSource) -> Found {
        self.objects.borrow_mut().extend(source.paths().cloned());
        Found::NotYet
    }
}
