//! The encrypted files of one revision: those that documents name, the key for digests, and who should read them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::id::Revision;
use crate::domain::manifest::DocumentSet;
use crate::domain::secret::{DIGEST_KEY_FILE, RECIPIENTS_FILE, SecretSource, SecretValue};
use crate::ports::secrets::{Look, Secrets};
use crate::ports::source::{Source, SourceError};
use crate::secrets::MAX_FILE_BYTES;
use crate::secrets::file::Sealed;
use crate::secrets::recipient::shorten;

/// See the module. The files are kept with their object names, so that unchanged ones are not read again.
#[derive(Default)]
pub struct SealedFiles {
    files: BTreeMap<String, (String, File)>,
}

#[derive(Clone)]
enum File {
    Read(Arc<Vec<u8>>),
    TooLarge,
}

/// Reads what the documents of a revision need. Without secrets that is nothing.
///
/// # Errors
///
/// Those of the source.
pub async fn read(
    source: &dyn Source,
    revision: &Revision,
    documents: &DocumentSet,
    known: &SealedFiles,
) -> Result<SealedFiles, SourceError> {
    let mut files = BTreeMap::new();
    for path in wanted(documents) {
        let Some(oid) = source.file_oid(revision, &path).await? else { continue };
        let file = match known.files.get(&path) {
            Some((known, file)) if *known == oid => file.clone(),
            _ => match source.read(&oid).await {
                Ok(bytes) => File::Read(Arc::new(bytes)),
                Err(SourceError::TooLarge { .. }) => File::TooLarge,
                Err(error) => return Err(error),
            },
        };
        files.insert(path, (oid, file));
    }
    Ok(SealedFiles { files })
}

/// The files that documents need: none where they have no secrets.
fn wanted(documents: &DocumentSet) -> BTreeSet<String> {
    let mut paths = documents.secret_paths();
    if paths.is_empty() && !documents.has_secrets() {
        return paths;
    }
    let beside: BTreeSet<String> = paths.iter().flat_map(|path| recipient_files(path)).collect();
    paths.extend(beside);
    paths.extend([DIGEST_KEY_FILE.to_owned(), RECIPIENTS_FILE.to_owned()]);
    paths
}

/// The recipients files that may be in force for a file, the nearest first.
fn recipient_files(path: &str) -> impl Iterator<Item = String> {
    let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).rev().collect();
    let folders: Vec<String> = slashes.into_iter().map(|at| format!("{}/{RECIPIENTS_FILE}", &path[..at])).collect();
    folders.into_iter().chain([RECIPIENTS_FILE.to_owned()])
}

impl SealedFiles {
    /// The same from a folder as it lies on disk.
    pub fn from_folder(documents: &DocumentSet, read: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let files = wanted(documents).into_iter().filter_map(|path| {
            let bytes = read(&path)?;
            let file = if bytes.len() > MAX_FILE_BYTES { File::TooLarge } else { File::Read(Arc::new(bytes)) };
            Some((path, (String::new(), file)))
        });
        SealedFiles { files: files.collect() }
    }

    /// What is known of a secret.
    pub fn look(&self, secrets: &dyn Secrets, source: &SecretSource) -> SecretValue {
        let (sealed, recipients) = match source {
            SecretSource::Inline { document, text } => {
                let bytes = Arc::new(text.clone().into_bytes());
                (Sealed { path: document.clone(), key: None, bytes }, self.recipients(""))
            }
            SecretSource::Within { path, key, bytes } => {
                let bytes = Arc::new(bytes.to_vec());
                (Sealed { path: path.clone(), key: Some(key.clone()), bytes }, self.recipients(path))
            }
            SecretSource::File { path, key } => match self.files.get(path) {
                Some((_, File::Read(bytes))) => {
                    let sealed = Sealed { path: path.clone(), key: key.clone(), bytes: bytes.clone() };
                    (sealed, self.recipients(path))
                }
                Some((_, File::TooLarge)) => {
                    return SecretValue::Unusable {
                        message: format!("{path} is too large for a file of secrets"),
                        remedy: "put less into it".into(),
                    };
                }
                None => {
                    return SecretValue::Unusable {
                        message: format!("there is no file `{path}` in the repository"),
                        remedy:
                            "a path begins at the folder of the file it is written in, or with `/` at the root of the \
                                 repository; a link is not followed; `trimtab secrets encrypt` makes such files"
                                .into(),
                    };
                }
            },
        };
        let key = self.bytes(DIGEST_KEY_FILE).map(|bytes| Sealed { path: DIGEST_KEY_FILE.into(), key: None, bytes });
        secrets.look(&Look { key: key.as_ref(), sealed: &sealed, recipients: &recipients })
    }

    fn bytes(&self, path: &str) -> Option<Arc<Vec<u8>>> {
        match self.files.get(path) {
            Some((_, File::Read(bytes))) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Who should be able to read a file, as the nearest recipients file says.
    fn recipients(&self, path: &str) -> Vec<String> {
        let nearest = recipient_files(path).find_map(|file| self.bytes(&file));
        let text = nearest.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.take(20).map(shorten).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_recipients_file_comes_first() {
        let files: Vec<String> = recipient_files("a/b/c.age").collect();
        assert_eq!(files, ["a/b/.age-recipients", "a/.age-recipients", ".age-recipients"]);
    }
}
