//! Encryption of a backup to recipients: of age, post-quantum ones included, and of ssh.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use age::stream::StreamWriter;
use age::{Decryptor, Encryptor};

use super::BackupError;
use crate::secrets::Identities;
use crate::secrets::find;
use crate::secrets::identity::{Identity, IdentityError};
use crate::secrets::recipient::{self, Recipient};

/// What age files begin with.
pub(super) const MAGIC: &[u8; 21] = b"age-encryption.org/v1";

/// Recipients from their texts: `age1...`, `age1pq1...`, or a line of an ssh public key.
pub(super) fn recipients(texts: &[String]) -> Result<Vec<Recipient>, BackupError> {
    let wrong = |reason: String| BackupError::Key(format!("a recipient can't be used: {reason}"));
    let parsed: Result<Vec<_>, String> = texts.iter().map(|text| Recipient::parse(text)).collect();
    let recipients = parsed.map_err(wrong)?;
    if !recipients.is_empty() {
        recipient::check(&recipients).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(recipients)
}

pub(super) fn encrypt<W: Write>(keys: &[Recipient], out: W) -> io::Result<StreamWriter<W>> {
    Encryptor::with_recipients(keys.iter().map(Recipient::as_age)).map_err(io::Error::other)?.wrap_output(out)
}

pub(super) fn decrypt(from: impl Read, identities: &[PathBuf], path: &Path) -> Result<impl Read, BackupError> {
    if identities.is_empty() {
        let reason = format!(
            "{} is encrypted: name a file with an identity that it is encrypted to with --identity",
            path.display()
        );
        return Err(BackupError::Key(reason));
    }
    let mut keys = Identities::default();
    for file in identities {
        keys.extend(find::from_file(file).map_err(|error: IdentityError| BackupError::Key(error.to_string()))?);
    }
    let not = |error: age::DecryptError| {
        BackupError::Key(format!("{} can't be decrypted with these identities: {error}", path.display()))
    };
    Decryptor::new(from).map_err(not)?.decrypt(keys.iter().map(Identity::as_age)).map_err(not)
}
