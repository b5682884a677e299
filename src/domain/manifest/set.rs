//! All documents of one revision.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::document::{Body, Document, Identity, ReleaseSpec};
use super::environment::EnvironmentSpec;
use super::problem::{Layer, Problem};
use super::{ParsedFile, parse_file};
use crate::domain::id::Name;

/// All documents of one revision, by identity.
#[derive(Clone, Debug, Default)]
pub struct DocumentSet {
    files: Vec<Arc<ParsedFile>>,
    /// File and document by identity; more than one where it is given more than once.
    index: BTreeMap<Identity, Vec<(usize, usize)>>,
}

impl DocumentSet {
    /// Reads files (path from the root of the repository, text) and puts their documents together.
    pub fn from(files: Vec<(String, String)>) -> Self {
        Self::assemble(files.into_iter().map(|(path, text)| Arc::new(parse_file(&path, text.as_bytes()))).collect())
    }

    /// Puts together what was read before: only changed files need be read again. The order of the files has no effect.
    pub fn assemble(mut files: Vec<Arc<ParsedFile>>) -> Self {
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let mut index: BTreeMap<Identity, Vec<(usize, usize)>> = BTreeMap::new();
        for (file_index, file) in files.iter().enumerate() {
            for (document_index, document) in file.documents.iter().enumerate() {
                index.entry(document.identity.clone()).or_default().push((file_index, document_index));
            }
        }
        DocumentSet { files, index }
    }

    /// The document of an identity; the first one where there are several.
    pub fn find(&self, identity: &Identity) -> Option<&Document> {
        self.index.get(identity).and_then(|places| places.first()).and_then(|place| self.at(*place))
    }

    fn at(&self, (file, document): (usize, usize)) -> Option<&Document> {
        self.files.get(file)?.documents.get(document)
    }

    /// The identities of all documents.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.index.keys()
    }

    /// The names of the environments whose document can be read as far as its name.
    pub fn environments(&self) -> Vec<&Name> {
        self.identities()
            .filter_map(|identity| match identity {
                Identity::Environment(name) => Some(name),
                _ => None,
            })
            .collect()
    }

    /// The names of the scripts.
    pub fn scripts(&self) -> Vec<&Name> {
        self.identities()
            .filter_map(|identity| match identity {
                Identity::Script(name) => Some(name),
                _ => None,
            })
            .collect()
    }

    /// The spec of an environment; `None` where it is missing or wrong.
    pub fn environment(&self, name: &Name) -> Option<&EnvironmentSpec> {
        match &self.find(&Identity::Environment(name.clone()))?.body {
            Body::Environment(spec) => spec.as_ref(),
            _ => None,
        }
    }

    /// All Releases: app, environment, document.
    pub fn releases(&self) -> impl Iterator<Item = (&Name, &Name, &Document)> {
        self.index.iter().filter_map(|(identity, places)| match identity {
            Identity::Release { app, environment } => Some((app, environment, self.at(*places.first()?)?)),
            _ => None,
        })
    }

    /// What is wrong with a document on its own or with its identity.
    pub fn problems_of(&self, identity: &Identity) -> Vec<Problem> {
        let places = self.index.get(identity).map(Vec::as_slice).unwrap_or_default();
        let documents: Vec<&Document> = places.iter().filter_map(|place| self.at(*place)).collect();
        let mut problems: Vec<Problem> =
            documents.iter().flat_map(|document| document.problems.iter().cloned()).collect();
        for (index, document) in documents.iter().enumerate().filter(|_| documents.len() > 1) {
            let other = documents[if index == 0 { 1 } else { 0 }];
            problems.push(Problem::new(
                Layer::Dependency,
                &document.name_at,
                format!("{identity} is defined more than once: here and at {}", other.name_at.short()),
                "keep one of them, or give one another name",
            ));
        }
        problems.extend(documents.iter().flat_map(|document| super::moved::problems(self, document)));
        problems
    }

    /// Everything that is wrong with files, documents and identities, by place. What is wrong with the units that they
    /// render to is told by rendering.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self.files.iter().flat_map(|file| file.problems.iter().cloned()).collect();
        problems.extend(self.index.keys().flat_map(|identity| self.problems_of(identity)));
        problems.sort();
        problems.dedup();
        problems
    }

    /// The files that hold something unreadable. While there are any, a document that is missing may be in one of them, and
    /// nothing may be concluded to have been deleted.
    pub fn unreadable(&self) -> Vec<&str> {
        self.files.iter().filter(|file| file.unreadable).map(|file| file.path.as_str()).collect()
    }
}

impl Document {
    /// The spec of a Release, if this is one and it can be read.
    pub fn release(&self) -> Option<&ReleaseSpec> {
        match &self.body {
            Body::Release(spec) => spec.as_ref(),
            _ => None,
        }
    }
}
