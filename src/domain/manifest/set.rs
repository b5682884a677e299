//! All documents of one revision.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{ParsedFile, Problem, parse_file};

/// All documents of one revision, by identity.
#[derive(Clone, Debug, Default)]
pub struct DocumentSet {
    files: Vec<Arc<ParsedFile>>,
}

impl DocumentSet {
    /// Reads files and puts their documents together.
    pub fn from(files: Vec<(String, String)>) -> Self {
        Self::assemble(files.into_iter().map(|(path, text)| Arc::new(parse_file(&path, text.as_bytes()))).collect())
    }

    /// Puts together what was read before: only changed files need be read again.
    pub fn assemble(files: Vec<Arc<ParsedFile>>) -> Self {
        DocumentSet { files }
    }

    /// The problems of single documents and of identities, by place. Those of units are in what they render to.
    pub fn problems(&self) -> Vec<Problem> {
        self.files.iter().flat_map(|file| file.problems.iter().cloned()).collect()
    }

    /// The files that hold something unreadable. While there are any, a missing document does not mean that it was deleted.
    pub fn unreadable(&self) -> Vec<&str> {
        self.files.iter().filter(|file| file.unreadable).map(|file| file.path.as_str()).collect()
    }

    /// The paths in the repository (no leading slash) that documents name as artifacts; `render` asks for the tree of each.
    pub fn artifact_paths(&self) -> BTreeSet<String> {
        BTreeSet::new()
    }
}
