//! Encryption of a backup to age and ssh recipients.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use age::stream::StreamWriter;
use age::{Decryptor, Encryptor, Identity, Recipient};

use super::BackupError;

/// What age files begin with.
pub(super) const MAGIC: &[u8; 21] = b"age-encryption.org/v1";

/// Recipients from their texts: `age1...`, or a line of an ssh public key.
pub(super) fn recipients(texts: &[String]) -> Result<Vec<Box<dyn Recipient + Send>>, BackupError> {
    texts.iter().map(|text| recipient(text.trim())).collect()
}

fn recipient(text: &str) -> Result<Box<dyn Recipient + Send>, BackupError> {
    if let Ok(recipient) = text.parse::<age::x25519::Recipient>() {
        return Ok(Box::new(recipient));
    }
    if let Ok(recipient) = text.parse::<age::ssh::Recipient>() {
        return Ok(Box::new(recipient));
    }
    let shown: String = text.chars().take(80).collect();
    Err(BackupError::Key(format!(
        "`{shown}` is no recipient: give `age1...` or an ssh public key (ssh-ed25519, ssh-rsa)"
    )))
}

pub(super) fn encrypt<W: Write>(keys: &[Box<dyn Recipient + Send>], out: W) -> io::Result<StreamWriter<W>> {
    let keys = keys.iter().map(|key| key.as_ref() as &dyn Recipient);
    Encryptor::with_recipients(keys).map_err(io::Error::other)?.wrap_output(out)
}

pub(super) fn decrypt(from: impl Read, identities: &[PathBuf], path: &Path) -> Result<impl Read, BackupError> {
    if identities.is_empty() {
        let reason = format!(
            "{} is encrypted: name a file with an identity that it is encrypted to with --identity",
            path.display()
        );
        return Err(BackupError::Key(reason));
    }
    let mut keys: Vec<Box<dyn Identity>> = Vec::new();
    for file in identities {
        keys.extend(read_identities(file)?);
    }
    let not = |error: age::DecryptError| {
        BackupError::Key(format!("{} can't be decrypted with these identities: {error}", path.display()))
    };
    Decryptor::new(from).map_err(not)?.decrypt(keys.iter().map(AsRef::as_ref)).map_err(not)
}

/// The identities of a file: age's own, or one ssh private key.
fn read_identities(file: &Path) -> Result<Vec<Box<dyn Identity>>, BackupError> {
    let failed = |source| BackupError::Io { path: file.to_owned(), source };
    let none = |reason: String| BackupError::Key(format!("{} holds no identity: {reason}", file.display()));
    let mut text = Vec::new();
    File::open(file).and_then(|opened| opened.take(1 << 20).read_to_end(&mut text)).map_err(failed)?;
    if text.starts_with(b"-----BEGIN") {
        let key = age::ssh::Identity::from_buffer(BufReader::new(text.as_slice()), None).map_err(failed)?;
        return match key {
            age::ssh::Identity::Unencrypted(_) => Ok(vec![Box::new(key)]),
            age::ssh::Identity::Encrypted(_) => Err(none("its passphrase would have to be asked for".into())),
            age::ssh::Identity::Unsupported(_) => Err(none("ssh keys of this kind can't decrypt".into())),
        };
    }
    let parsed =
        age::IdentityFile::from_buffer(BufReader::new(text.as_slice())).map_err(|error| none(error.to_string()))?;
    parsed
        .into_identities()
        .map(|all| all.into_iter().map(|identity| identity as Box<dyn Identity>).collect())
        .map_err(|error| none(error.to_string()))
}
