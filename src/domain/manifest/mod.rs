//! What the user writes: Environment, App, Release and Script documents, read into typed values or located problems.
//!
//! Documents may lie in any `.yaml` or `.yml` file of the repository; identity is kind and name (and environment for a
//! Release), never the path. A document whose `apiVersion` is not trimtab's is a native file and is ignored.
//!
//! A file becomes trees of located parts ([`node`]), and decoders ([`decode`]) turn the trees into specs, collecting all
//! problems instead of stopping at the first. An App's spec is kept as a tree, because it is merged with what each Release
//! sets before its placeholders are filled in; see [`crate::domain::render`].

use std::sync::Arc;

pub mod analysis;
pub mod app;
pub mod bound;
pub mod build;
pub mod changes;
pub mod chart;
pub mod decode;
pub mod document;
pub mod environment;
pub mod health;
pub mod hooks;
pub mod kubernetes;
pub mod merge;
pub mod moved;
pub mod node;
pub mod pin;
pub mod problem;
pub mod process;
pub mod rewrite;
pub mod schema;
pub mod script;
pub mod secrets;
pub mod set;
mod skim;
pub mod source;
pub mod strategy;
pub mod template;
pub mod values;
pub mod workload;
pub mod yaml;

pub use document::{Document, Identity};
pub use problem::{Layer, Problem};
pub use set::DocumentSet;
pub use source::{Location, SourceFile};

/// The version that makes a document trimtab's.
pub const API_VERSION: &str = "trimtab/v1";

/// The largest file that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Whether a path is one that documents are looked for in.
pub fn is_manifest_path(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

/// One file, read. Depends on nothing but path and content, so it can be kept by (path, blob).
#[derive(Clone, Debug)]
pub struct ParsedFile {
    /// The path from the root of the repository.
    pub path: String,
    /// The documents whose identity could be told, each with what is wrong with it.
    pub documents: Vec<Document>,
    /// What is wrong with the rest of the file.
    pub problems: Vec<Problem>,
    /// Something in it could not be told: a document may have been in it that is not seen, so nothing may be concluded
    /// to have been deleted.
    pub unreadable: bool,
}

impl ParsedFile {
    /// A file that could not be had at all, for a reason told in words.
    pub fn unreadable(path: &str, reason: &str) -> Self {
        let remedy = "mend the file, or give it another ending than .yaml and .yml if it is not for trimtab";
        ParsedFile::without(path, Layer::Schema, reason, remedy)
    }

    /// A link, or whatever else is not read because of where it leads.
    pub fn refused(path: &str, reason: &str) -> Self {
        let remedy =
            "until then nothing is concluded to have been deleted, and no artifact is taken that it is part of";
        ParsedFile::without(path, Layer::Security, reason, remedy)
    }

    fn without(path: &str, layer: Layer, reason: &str, remedy: &str) -> Self {
        let file = Arc::new(SourceFile::new(path, ""));
        let problem = Problem::new(layer, &Location::start_of(file), reason, remedy);
        ParsedFile { path: path.to_owned(), documents: Vec::new(), problems: vec![problem], unreadable: true }
    }
}

/// Reads one file. Never fails and never panics: what is wrong is in the result, all of it at once. A file that is too
/// large or no text is a problem only if it speaks of trimtab.
pub fn parse_file(path: &str, bytes: &[u8]) -> ParsedFile {
    let empty = ParsedFile { path: path.to_owned(), documents: Vec::new(), problems: Vec::new(), unreadable: false };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= MAX_FILE_BYTES => text,
        _ if !skim::speaks_of_trimtab(bytes) => return empty,
        Ok(_) => {
            let reason = format!("this file has more than {MAX_FILE_BYTES} bytes, and no more are read");
            return ParsedFile::unreadable(path, &reason);
        }
        Err(error) => {
            let reason = format!("this file is not UTF-8 text, from byte {} on", error.valid_up_to());
            return ParsedFile::unreadable(path, &reason);
        }
    };
    if !skim::may_hold_documents(text) {
        return empty;
    }
    let file = Arc::new(SourceFile::new(path, text));
    let mut parsed = empty;
    for raw in yaml::read(&file) {
        match document::read(raw) {
            document::Reading::Foreign => {}
            document::Reading::Known(document) => parsed.documents.push(*document),
            document::Reading::Unknown(problems) => {
                parsed.problems.extend(problems);
                parsed.unreadable = true;
            }
        }
    }
    // Most files hold one document and are kept for long.
    parsed.documents.shrink_to_fit();
    parsed
}
