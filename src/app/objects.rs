//! Objects of clusters as one revision holds them: what was read, and what is asked for and was not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::id::Revision;
use crate::domain::manifest::Layer;
use crate::domain::objects::native::{MAX_FILE_BYTES, Reading, is_object_path};
use crate::domain::objects::{Found, MAX_BYTES, MAX_FILES, ObjectSource, Objects, Origins};
use crate::ports::source::{EntryKind, Source, SourceError, TreeEntry};

/// What was read, by source.
pub type Read = BTreeMap<ObjectSource, Found>;

/// Objects that are at hand; what else is asked for is noted.
pub struct AtHand<'a> {
    /// The object names of files and folders, by path.
    pub entries: &'a Origins,
    /// What was read.
    pub read: &'a Read,
    wanted: RefCell<BTreeSet<ObjectSource>>,
}

impl<'a> AtHand<'a> {
    /// What was read of a revision.
    pub fn new(entries: &'a Origins, read: &'a Read) -> Self {
        AtHand { entries, read, wanted: RefCell::default() }
    }

    /// What was asked for and not at hand.
    pub fn into_wanted(self) -> BTreeSet<ObjectSource> {
        self.wanted.into_inner()
    }
}

impl Objects for AtHand<'_> {
    fn entry(&self, path: &str) -> Option<String> {
        self.entries.get(path).cloned().flatten()
    }

    fn find(&self, source: &ObjectSource) -> Found {
        match self.read.get(source) {
            Some(found) => found.clone(),
            None if matches!(self.entries.get(source.path()), Some(None)) => Found::Nothing,
            None => {
                self.wanted.borrow_mut().insert(source.clone());
                Found::NotYet
            }
        }
    }
}

/// The object name of the folder or file at a path.
///
/// # Errors
///
/// Those of the source.
pub async fn entry(source: &dyn Source, revision: &Revision, path: &str) -> Result<Option<String>, SourceError> {
    match source.tree_oid(revision, path).await? {
        Some(oid) => Ok(Some(oid)),
        None => source.file_oid(revision, path).await,
    }
}

/// Reads objects at a revision.
///
/// # Errors
///
/// Those of the source; what is wrong with the files is in what is found.
pub async fn read(
    source: &dyn Source,
    revision: &Revision,
    entries: &Origins,
    wanted: BTreeSet<ObjectSource>,
) -> Result<Read, SourceError> {
    let mut all = Read::new();
    for asked in wanted {
        let path = asked.path();
        let oid = match entries.get(path) {
            Some(oid) => oid.clone(),
            None => entry(source, revision, path).await?,
        };
        let found = match oid {
            None => Found::Nothing,
            Some(oid) => {
                let origins = Origins::from([(path.to_owned(), Some(oid))]);
                plain(files(source, revision, path).await?, origins).await
            }
        };
        all.insert(asked, found);
    }
    Ok(all)
}

/// Files as they were read, and what is wrong with others.
#[derive(Debug, Default)]
pub struct Files {
    /// Path and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Path, what is wrong, a remedy.
    pub refused: Vec<(String, String, &'static str)>,
}

/// The files of a folder that objects are looked for in.
async fn files(source: &dyn Source, revision: &Revision, path: &str) -> Result<Files, SourceError> {
    let listing = source.list_below(revision, path).await?;
    let mut found = Files::default();
    for entry in listing.refused {
        found.refused.push((entry.path, entry.reason.to_string(), "mend or remove it"));
    }
    let mut wanted: Vec<TreeEntry> = Vec::new();
    let mut bytes = 0_u64;
    for entry in listing.entries.into_iter().filter(|entry| is_looked_at(&entry.path, path)) {
        if let EntryKind::Symlink { .. } = entry.kind {
            found.refused.push((entry.path, LINK.to_owned(), "put the file itself here"));
            continue;
        }
        bytes = bytes.saturating_add(entry.size);
        match usize::try_from(entry.size) {
            Ok(size) if size <= MAX_FILE_BYTES => wanted.push(entry),
            _ => {
                let reason = format!("this file has {} bytes, and at most {MAX_FILE_BYTES} are read", entry.size);
                found.refused.push((entry.path, reason, "write it smaller, or in several files"));
            }
        }
    }
    if wanted.len() > MAX_FILES || bytes > MAX_BYTES {
        let reason = format!(
            "{} files of {bytes} bytes are to be read here, and at most {MAX_FILES} of {MAX_BYTES} bytes are",
            wanted.len()
        );
        found.refused.push((path.to_owned(), reason, "name a folder that holds fewer, or split it into several Apps"));
        return Ok(found);
    }
    let oids: Vec<String> = wanted.iter().map(|entry| entry.oid.clone()).collect();
    let contents = source.read_many(&oids).await?;
    found.files = wanted.into_iter().map(|entry| entry.path).zip(contents).collect();
    Ok(found)
}

/// What is said of a symbolic link among objects.
pub const LINK: &str = "this is a symbolic link, and objects are read from files only";

/// Whether a file below a path is one that objects are looked for in: by its ending, and not hidden below that path.
pub fn is_looked_at(file: &str, path: &str) -> bool {
    let below = file.strip_prefix(path).unwrap_or(file);
    is_object_path(file) && !below.split('/').any(|part| part.starts_with('.'))
}

async fn plain(files: Files, origins: Origins) -> Found {
    tokio::task::spawn_blocking(move || read_plain(files, origins))
        .await
        .expect("reading objects never panics: that is its contract, proven over arbitrary bytes")
}

/// Reads the objects of plain files.
pub fn read_plain(files: Files, origins: Origins) -> Found {
    let mut reading = Reading::default();
    for (path, message, remedy) in files.refused {
        reading.refuse(&path, Layer::Security, &message, remedy);
    }
    for (path, bytes) in files.files {
        reading.file(&path, &bytes);
    }
    match reading.finish() {
        Ok(objects) => Found::Objects(Arc::new(objects), origins),
        Err(problems) => Found::Unusable(problems),
    }
}
