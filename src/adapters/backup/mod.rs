//! A backup in one file: a tar archive of a manifest, the manifest's sum, the journal, the audit log and the kept ciphertexts of secrets;
//! on request encrypted to recipients.
//!
//! The manifest holds the sums of all, and a sum of the manifest stands beside it: whatever bit is not as it was written is
//! found before anything is put in place. What is encrypted is recognised by age's own header.

mod archive;
pub mod ciphertexts;
mod seal;

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use archive::{CIPHERTEXTS, FORMAT, JOURNAL, PARTS};

/// Why there is no backup, or it is not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file can't be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{path} is no sound backup: {reason}; nothing was changed")]
    Unsound {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A later version made it.
    #[error(
        "{path} was made by trimtab {made_by} in form {found}, and this one knows forms up to {FORMAT}: install that version or a later one; nothing was changed"
    )]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its form.
        found: u32,
        /// The version that made it.
        made_by: String,
    },
    /// Recipients or identities are not right.
    #[error("{0}")]
    Key(String),
}

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The version that made it.
    pub trimtab: String,
    /// Whose state it is.
    pub installation: String,
    /// When it was made.
    pub created: Timestamp,
    /// How many records the journal has.
    pub records: u64,
    /// The journal's bytes.
    pub size: u64,
    /// The journal's SHA-256, hexadecimal.
    pub sha256: String,
    /// The artifacts that were kept; they are fetched again where they are missing.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// What else is in it, in the order of [`PARTS`].
    #[serde(default)]
    pub parts: Vec<Part>,
}

/// A file in a backup beside the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// One of [`PARTS`].
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256, hexadecimal.
    pub sha256: String,
}

impl Part {
    /// The part of a backup that lies in a folder.
    ///
    /// # Errors
    ///
    /// It can't be read.
    pub fn of(folder: &Path, name: &str) -> Result<Self, BackupError> {
        let (size, sha256) = sum(&folder.join(name))?;
        Ok(Part { name: name.to_owned(), size, sha256 })
    }
}

/// Writes a backup of the files in a folder to a new file (mode 0600), encrypted where there are recipients.
///
/// # Errors
///
/// The file exists already or can't be written; a recipient is none. No half of a backup is left.
pub fn write(to: &Path, manifest: &Manifest, folder: &Path, recipients: &[String]) -> Result<(), BackupError> {
    let keys = seal::recipients(recipients)?;
    let failed = |source| BackupError::Io { path: to.to_owned(), source };
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(failed)?;
    let written = (|| {
        let mut out = BufWriter::new(file);
        if keys.is_empty() {
            archive::write(&mut out, manifest, folder)?;
        } else {
            let mut sealed = seal::encrypt(&keys, &mut out)?;
            archive::write(&mut sealed, manifest, folder)?;
            sealed.finish()?;
        }
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    })();
    written.map_err(|error| {
        let _ = std::fs::remove_file(to);
        failed(error)
    })
}

/// Reads a backup: proves all of it and leaves its files in a folder that has none of them yet.
///
/// # Errors
///
/// It is not sound, of a later form, or can't be decrypted; what was written of it is removed.
pub fn read(from: &Path, identities: &[PathBuf], folder: &Path) -> Result<Manifest, BackupError> {
    let failed = |source| BackupError::Io { path: from.to_owned(), source };
    let mut file = BufReader::new(File::open(from).map_err(failed)?);
    let mut head = [0; seal::MAGIC.len()];
    let mut length = 0;
    while length < head.len() {
        match file.read(&mut head[length..]).map_err(failed)? {
            0 => break,
            read => length += read,
        }
    }
    let whole = io::Cursor::new(head[..length].to_vec()).chain(file);
    let result = if head == *seal::MAGIC {
        let plain = seal::decrypt(whole, identities, from)?;
        archive::read(plain, folder)
    } else {
        archive::read(whole, folder)
    };
    let told = result.map_err(|problem| problem.told(from));
    if told.is_err() {
        for name in [JOURNAL].iter().chain(&PARTS) {
            let _ = std::fs::remove_file(folder.join(name));
        }
    }
    told
}

/// A hexadecimal SHA-256 of everything that is copied.
fn copy_and_sum(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    use sha2::{Digest, Sha256};
    let mut sum = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok((size, hex::encode(sum.finalize())));
        }
        sum.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        size += read as u64;
    }
}

/// The size and SHA-256 of a file.
///
/// # Errors
///
/// It can't be read.
pub fn sum(path: &Path) -> Result<(u64, String), BackupError> {
    let summed = File::open(path).and_then(|mut file| copy_and_sum(&mut file, &mut io::sink()));
    summed.map_err(|source| BackupError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
