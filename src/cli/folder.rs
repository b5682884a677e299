//! A folder with documents as it lies on disk, for the verbs that need no daemon: its YAML files, and the object names
//! that Git would give to its folders if all were committed now.

mod objects;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::num::NonZero;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use git2::{ObjectType, Oid, Repository};

use super::error::CliError;
use super::secrets::{self, Keys};
use crate::app::sealed::SealedFiles;
use crate::domain::manifest::{DocumentSet, MAX_FILE_BYTES, ParsedFile, is_manifest_path, parse_file};
use crate::domain::render::Lookups;
use crate::domain::secret::SecretSource;
use crate::ports::objects::ObjectTools;
use objects::ObjectsAt;

/// The largest file that is hashed as part of an artifact, in bytes.
const MAX_ARTIFACT_FILE: u64 = 1 << 30;
/// So few files are read by one thread.
const FEW_FILES: usize = 256;
/// More threads only wait for each other.
const MOST_THREADS: usize = 16;
/// The deepest nesting of folders.
const MAX_DEPTH: usize = 64;

/// Something with the name of a document's file.
struct Found {
    /// Its path from the folder.
    shown: String,
    path: PathBuf,
    /// Why it is not read.
    refused: Option<String>,
}

impl Found {
    fn read(&self) -> ParsedFile {
        if let Some(reason) = &self.refused {
            return ParsedFile::refused(&self.shown, reason);
        }
        read_capped(&self.path, MAX_FILE_BYTES).map_or_else(
            |error| ParsedFile::unreadable(&self.shown, &format!("this file can't be read: {error}")),
            |bytes| parse_file(&self.shown, &bytes),
        )
    }
}

/// Reads files, in their order, with all processors.
fn read_all(files: &[Found]) -> Vec<Arc<ParsedFile>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS);
    let share = files.len().div_ceil(threads).max(FEW_FILES);
    thread::scope(|scope| {
        let read = |files: &[Found]| files.iter().map(|file| Arc::new(file.read())).collect::<Vec<_>>();
        let readers: Vec<_> = files.chunks(share).map(|files| scope.spawn(move || read(files))).collect();
        let parts = readers.into_iter().map(|reader| {
            reader.join().expect("parsing never panics: that is its contract, proven over arbitrary bytes")
        });
        parts.flatten().collect()
    })
}

/// A folder that is taken as the root of a configuration repository.
pub struct Folder {
    root: PathBuf,
    /// The repository around it, which knows what is ignored.
    repository: Option<Repository>,
    /// The trees that were hashed, by path.
    trees: RefCell<BTreeMap<String, Option<String>>>,
    /// What makes objects of kustomizations and charts, and remembers what it made.
    tools: Arc<dyn ObjectTools>,
}

impl Folder {
    /// Opens a folder.
    pub fn open(root: &Path) -> Result<Self, CliError> {
        let root = fs::canonicalize(root)
            .map_err(|error| CliError::not_found(format!("{} can't be read: {error}", root.display())))?;
        if !root.is_dir() {
            return Err(CliError::invalid(format!("{} is not a folder", root.display()))
                .remedy("name the folder that holds the documents"));
        }
        let repository = Repository::discover(&root).ok().filter(|repository| !repository.is_bare());
        Ok(Folder { root, repository, trees: RefCell::default(), tools: crate::wiring::offline_object_tools() })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The paths of all files that Git would take, from the folder.
    pub fn files(&self) -> Result<Vec<String>, CliError> {
        let mut files = Vec::new();
        let mut open = vec![(self.root.clone(), String::new(), 0)];
        while let Some((folder, prefix, depth)) = open.pop() {
            for (name, path) in self.entries(&folder, depth)? {
                let Some(name) = name.to_str() else { continue };
                let shown = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
                let kind = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?.file_type();
                if kind.is_dir() {
                    open.push((path, shown, depth + 1));
                } else if kind.is_file() {
                    files.push(shown);
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// The encrypted files that the documents name, with the key for digests. Links are not followed, as in Git.
    fn sealed(&self, documents: &DocumentSet) -> SealedFiles {
        SealedFiles::from_folder(documents, |path| {
            let file = self.root.join(path);
            let plain = fs::canonicalize(&file).is_ok_and(|real| real == file) && file.is_file();
            plain.then(|| read_capped(&file, MAX_FILE_BYTES).ok()).flatten()
        })
    }

    /// Reads all documents, and hands them over with what rendering them asks for: the object names of folders, and the
    /// secrets as far as the identities at hand can read them.
    pub fn rendering<T>(
        &self,
        keys: &Keys,
        render: impl FnOnce(&DocumentSet, Lookups<'_>) -> T,
    ) -> Result<T, CliError> {
        let documents = self.documents()?;
        let sealed = self.sealed(&documents);
        let reader =
            crate::wiring::offline_secrets(secrets::Repository::around(&self.root).identities(keys)?.identities);
        let artifacts = |path: &str| self.tree_oid(path);
        let secrets = |source: &SecretSource| sealed.look(reader.as_ref(), source);
        let objects = ObjectsAt { folder: self, secrets: reader.as_ref() };
        Ok(render(&documents, Lookups { artifacts: &artifacts, secrets: &secrets, objects: &objects }))
    }

    /// Reads all documents.
    pub fn documents(&self) -> Result<DocumentSet, CliError> {
        let mut files = Vec::new();
        self.walk(&self.root, "", 0, &mut files)?;
        Ok(DocumentSet::assemble(read_all(&files)))
    }

    fn walk(&self, folder: &Path, prefix: &str, depth: usize, files: &mut Vec<Found>) -> Result<(), CliError> {
        for (name, path) in self.entries(folder, depth)? {
            let Some(name) = name.to_str() else { continue };
            let shown = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let kind = fs::symlink_metadata(&path).map_err(|error| unreadable(&path, &error))?.file_type();
            if kind.is_dir() {
                self.walk(&path, &shown, depth + 1, files)?;
            } else if kind.is_symlink() {
                // As in Git: one that stays inside is let be, and no document is read behind it.
                let target = fs::read_link(&path).map_err(|error| unreadable(&path, &error))?;
                if let Err(reason) = crate::wiring::check_link(prefix, target.as_os_str().as_bytes()) {
                    files.push(Found { shown, path, refused: Some(reason.to_string()) });
                }
            } else if is_manifest_path(&shown) {
                let refused = (!kind.is_file()).then(|| "this is no file".to_owned());
                files.push(Found { shown, path, refused });
            }
        }
        Ok(())
    }

    /// The entries of a folder that Git would take, by name.
    fn entries(&self, folder: &Path, depth: usize) -> Result<BTreeMap<std::ffi::OsString, PathBuf>, CliError> {
        if depth > MAX_DEPTH {
            let message = format!("{}: folders are nested deeper than {MAX_DEPTH}", folder.display());
            return Err(CliError::invalid(message).remedy("does a mount lead back into the folder?"));
        }
        let mut entries = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
            let entry = entry.map_err(|error| unreadable(folder, &error))?;
            let path = entry.path();
            if entry.file_name() != ".git" && !self.is_ignored(&path) {
                entries.insert(entry.file_name(), path);
            }
        }
        Ok(entries)
    }

    fn is_ignored(&self, path: &Path) -> bool {
        self.repository.as_ref().is_some_and(|repository| repository.is_path_ignored(path).unwrap_or(false))
    }

    /// The object name of the tree at a path from the root, if there is a folder with files.
    pub fn tree_oid(&self, path: &str) -> Option<String> {
        if let Some(known) = self.trees.borrow().get(path) {
            return known.clone();
        }
        let found = self.hash_path(path);
        self.trees.borrow_mut().insert(path.to_owned(), found.clone());
        found
    }

    fn hash_path(&self, path: &str) -> Option<String> {
        let folder = self.root.join(path);
        // A link on the way would lead to what Git does not have.
        if fs::canonicalize(&folder).ok()? != folder || !folder.is_dir() {
            return None;
        }
        self.hash_tree(&folder, 0).ok().flatten().map(|oid| oid.to_string())
    }

    /// Hashes a folder as Git does; `None` for one without files.
    fn hash_tree(&self, folder: &Path, depth: usize) -> Result<Option<Oid>, CliError> {
        let mut entries: Vec<(Vec<u8>, &str, Oid)> = Vec::new();
        for (name, path) in self.entries(folder, depth)? {
            let failed = |error: &dyn std::fmt::Display| unreadable(&path, error);
            let metadata = fs::symlink_metadata(&path).map_err(|error| failed(&error))?;
            let name = name.as_bytes().to_vec();
            if metadata.is_dir() {
                if let Some(oid) = self.hash_tree(&path, depth + 1)? {
                    entries.push((name, "40000", oid));
                }
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).map_err(|error| failed(&error))?;
                let oid = Oid::hash_object(ObjectType::Blob, target.as_os_str().as_bytes());
                entries.push((name, "120000", oid.map_err(|error| failed(&error))?));
            } else if metadata.is_file() {
                if metadata.len() > MAX_ARTIFACT_FILE {
                    return Err(CliError::invalid(format!("{} is larger than 1Gi", path.display())));
                }
                let oid = Oid::hash_file(ObjectType::Blob, &path).map_err(|error| failed(&error))?;
                let mode = if metadata.permissions().mode() & 0o111 == 0 { "100644" } else { "100755" };
                entries.push((name, mode, oid));
            }
        }
        if entries.is_empty() {
            return Ok(None);
        }
        // Git sorts folders as if their names ended with a slash.
        entries.sort_by_key(|(name, mode, _)| {
            let mut key = name.clone();
            if *mode == "40000" {
                key.push(b'/');
            }
            key
        });
        let mut tree = Vec::new();
        for (name, mode, oid) in entries {
            tree.extend_from_slice(mode.as_bytes());
            tree.push(b' ');
            tree.extend_from_slice(&name);
            tree.push(0);
            tree.extend_from_slice(oid.as_bytes());
        }
        Oid::hash_object(ObjectType::Tree, &tree).map(Some).map_err(|error| unreadable(folder, &error))
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> CliError {
    CliError::failed(format!("{} can't be read: {error}", path.display()))
}

/// Reads a file up to one byte more than the limit, for who reads it to say so.
fn read_capped(path: &Path, most: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
