//! The configuration repository around a path: its root, who reads what, the key for digests.

use std::path::{Path, PathBuf};

use super::{Keys, replace};
use crate::cli::error::CliError;
use crate::domain::secret::{DIGEST_KEY_FILE, RECIPIENTS_FILE};
use crate::secrets::digest::DigestKey;
use crate::secrets::find::{self, Found};
use crate::secrets::recipient::{self, Recipient};
use crate::secrets::seal;

/// The identity that `trimtab init` makes, beside the documents and never committed.
pub const IDENTITY_FILE: &str = "identity.txt";

/// See the module.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
}

impl Repository {
    /// The repository that a path lies in: the nearest folder above with a key for digests, else the highest with a
    /// recipients file, else the path's own folder.
    pub fn around(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(&path) };
        let keyed = folder.ancestors().find(|folder| folder.join(DIGEST_KEY_FILE).exists());
        let listed = folder.ancestors().filter(|folder| folder.join(RECIPIENTS_FILE).exists()).last();
        Repository { root: keyed.or(listed).unwrap_or(folder).to_owned() }
    }

    /// The repository whose root is this folder.
    pub fn at(root: &Path) -> Self {
        Repository { root: std::path::absolute(root).unwrap_or_else(|_| root.to_owned()) }
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The recipients file in force for a file: the nearest in the folders from its own up to the root.
    pub fn recipients_file(&self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let above = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
        above.map(|folder| folder.join(RECIPIENTS_FILE)).find(|file| file.exists())
    }

    /// Who shall read a file.
    pub fn recipients(&self, path: &Path) -> Result<Vec<Recipient>, CliError> {
        let file = self.recipients_file(path).ok_or_else(|| {
            CliError::not_found(format!("no {RECIPIENTS_FILE} says who shall read {}", path.display()))
                .remedy(format!("write one recipient a line to {}", self.root.join(RECIPIENTS_FILE).display()))
                .remedy("`trimtab secrets keygen` makes an identity and tells its recipient; or name one with -r")
        })?;
        let text = std::fs::read_to_string(&file)
            .map_err(|error| CliError::failed(format!("{} can't be read: {error}", file.display())))?;
        recipient::parse_file(&text).map_err(|error| CliError::invalid(format!("{}: {error}", file.display())))
    }

    /// The identities at hand. One that was named and can't be used is an error, others are passed over.
    pub fn identities(&self, keys: &Keys) -> Result<Found, CliError> {
        let mut files = keys.identity.clone();
        let own = self.root.join(IDENTITY_FILE);
        if own.exists() && files.is_empty() {
            files.push(own);
        }
        let found = find::identities(&files);
        match found.problems.first() {
            Some(problem) if !keys.identity.is_empty() => Err(CliError::invalid(problem.clone())),
            _ => Ok(found),
        }
    }

    /// Makes the key for digests where there is none; whether it was made.
    pub fn ensure_digest_key(&self) -> Result<bool, CliError> {
        let file = self.root.join(DIGEST_KEY_FILE);
        if file.exists() {
            return Ok(false);
        }
        let recipients = self.recipients(&self.root.join(RECIPIENTS_FILE))?;
        replace(&file, &make_digest_key(&recipients)?)?;
        Ok(true)
    }
}

/// A new key for digests, encrypted.
pub fn make_digest_key(recipients: &[Recipient]) -> Result<Vec<u8>, CliError> {
    let sealed = seal::seal(&DigestKey::generate().to_text(), recipients, true);
    sealed.map_err(|error| CliError::invalid(error.to_string()))
}
