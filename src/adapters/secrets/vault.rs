//! The ciphertexts of what is asked for, runs, or would be gone back to, by the digests of their values: so that a rollout
//! resumes and a rollback works with Git down and history rewritten. Nothing here is in clear.
//!
//! ```text
//! DIGEST.json     path, key, and which content
//! CONTENT.sealed  the bytes as they stood in the repository, by their SHA-256
//! ```

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::domain::digest::Digest;
use crate::ports::secrets::SecretError;
use crate::secrets::MAX_FILE_BYTES;
use crate::secrets::file::Sealed;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Vault {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Index {
    version: u32,
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    content: String,
}

fn failed(path: &Path, what: &'static str) -> impl Fn(std::io::Error) -> SecretError {
    let path = path.display().to_string();
    move |error| SecretError::Store { path: path.clone(), what, reason: error.to_string() }
}

impl Vault {
    pub(super) fn new(folder: PathBuf) -> Self {
        Vault { folder }
    }

    fn index(&self, digest: &Digest) -> PathBuf {
        let name: String = digest.as_str().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        self.folder.join(format!("{name}.json"))
    }

    fn content(&self, content: &str) -> PathBuf {
        self.folder.join(format!("{content}.sealed"))
    }

    /// Keeps a ciphertext; durable when this returns.
    pub(super) fn keep(&self, digest: &Digest, sealed: &Sealed) -> Result<(), SecretError> {
        let content = hex::encode(Sha256::digest(sealed.bytes.as_slice()));
        let index = Index { version: 1, path: sealed.path.clone(), key: sealed.key.clone(), content };
        let file = self.content(&index.content);
        if self.read_index(&self.index(digest))?.is_some_and(|known| known == index) && file.exists() {
            return Ok(());
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(failed(&self.folder, "made"))?;
        if !file.exists() {
            self.write(&file, &sealed.bytes)?;
        }
        let text = serde_json::to_vec(&index).map_err(|error| failed(&file, "written")(error.into()))?;
        self.write(&self.index(digest), &text)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), SecretError> {
        let temporary = path.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            fs::File::open(&self.folder)?.sync_all()
        };
        write().map_err(failed(path, "written"))
    }

    fn read_index(&self, path: &Path) -> Result<Option<Index>, SecretError> {
        match fs::read(path) {
            // What can't be understood is as good as gone: it is written again from Git.
            Ok(bytes) => Ok(serde_json::from_slice::<Index>(&bytes).ok().filter(|index| index.version == 1)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(path, "read")(error)),
        }
    }

    /// The ciphertext of a value.
    pub(super) fn get(&self, digest: &Digest) -> Result<Option<Sealed>, SecretError> {
        let Some(index) = self.read_index(&self.index(digest))? else { return Ok(None) };
        self.sealed(index)
    }

    fn sealed(&self, index: Index) -> Result<Option<Sealed>, SecretError> {
        let file = self.content(&index.content);
        match fs::metadata(&file) {
            Ok(metadata) if metadata.len() <= MAX_FILE_BYTES as u64 => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&file, "read")(error)),
        }
        let bytes = fs::read(&file).map_err(failed(&file, "read"))?;
        Ok(Some(Sealed { path: index.path, key: index.key, bytes: Arc::new(bytes) }))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).map(Iterator::flatten).into_iter().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Everything that is kept and can be read.
    pub(super) fn all(&self) -> Vec<Sealed> {
        let indices = self.names().into_iter().filter(|name| name.ends_with(".json"));
        let read = |name: String| self.sealed(self.read_index(&self.folder.join(name)).ok()??).ok()?;
        indices.filter_map(read).collect()
    }

    /// Removes everything that these values don't need.
    pub(super) fn keep_only(&self, digests: &BTreeSet<Digest>) -> Result<(), SecretError> {
        let mut needed = BTreeSet::new();
        for digest in digests {
            let path = self.index(digest);
            if let Some(index) = self.read_index(&path)? {
                needed.insert(self.content(&index.content));
                needed.insert(path);
            }
        }
        for path in self.names().into_iter().map(|name| self.folder.join(name)) {
            if !needed.contains(&path) {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(&path, "removed")(error)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(bytes: &str) -> Sealed {
        Sealed { path: "a.age".into(), key: None, bytes: Arc::new(bytes.as_bytes().to_vec()) }
    }

    #[test]
    fn a_newer_ciphertext_of_the_same_value_takes_the_place_of_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::new(dir.path().join("secrets"));
        let (one, two) = (Digest::from_text("s1:1"), Digest::from_text("s1:2"));
        assert_eq!(vault.get(&one).unwrap(), None);
        vault.keep(&one, &sealed("first")).unwrap();
        vault.keep(&two, &sealed("first")).unwrap();
        vault.keep(&one, &sealed("second")).unwrap();
        assert_eq!(vault.get(&one).unwrap(), Some(sealed("second")));
        assert_eq!(vault.get(&two).unwrap(), Some(sealed("first")));
        vault.keep_only(&[one.clone()].into()).unwrap();
        assert_eq!(vault.all(), [sealed("second")]);
        assert_eq!(vault.names().len(), 2);
    }
}
