//! age files: made and read.

use std::io::{Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use zeroize::Zeroizing;

use super::MAX_FILE_BYTES;
use super::identity::Identities;
use super::recipient::{self, Recipient, RecipientError};
use super::value::SecretBytes;

/// Why an age file can't be made.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Nobody to make it for.
    #[error(transparent)]
    Recipients(#[from] RecipientError),
    /// age refused.
    #[error("it can't be encrypted: {0}")]
    Age(String),
}

/// Why an age file can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// It is for others.
    #[error("none of the identities here is among its recipients")]
    NotARecipient,
    /// It is behind a passphrase.
    #[error("it is encrypted with a passphrase, not to recipients")]
    Passphrase,
    /// It was cut off or changed.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It has more than is read.
    #[error("it holds more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
}

/// Whether bytes are an age file, armored or not.
pub fn is_age(bytes: &[u8]) -> bool {
    is_armored(bytes) || bytes.starts_with(b"age-encryption.org/")
}

/// Whether bytes are an armored age file.
pub fn is_armored(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
}

/// Encrypts to all recipients, as text (armored) or binary.
///
/// # Errors
///
/// There is no recipient, or not all of them can read one file.
pub fn seal(value: &SecretBytes, recipients: &[Recipient], armored: bool) -> Result<Vec<u8>, SealError> {
    recipient::check(recipients)?;
    let failed = |error: &dyn std::fmt::Display| SealError::Age(error.to_string());
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(Recipient::as_age));
    let encryptor = encryptor.map_err(|error| failed(&error))?;
    let format = if armored { Format::AsciiArmor } else { Format::Binary };
    let armor = ArmoredWriter::wrap_output(Vec::new(), format).map_err(|error| failed(&error))?;
    let mut writer = encryptor.wrap_output(armor).map_err(|error| failed(&error))?;
    writer.write_all(value.expose()).map_err(|error| failed(&error))?;
    writer.finish().and_then(ArmoredWriter::finish).map_err(|error| failed(&error))
}

/// Decrypts with whichever identity is a recipient.
///
/// # Errors
///
/// None is, or the file is not whole. Nothing of the content is in the error.
pub fn unseal(bytes: &[u8], identities: &Identities) -> Result<SecretBytes, UnsealError> {
    if bytes.len() > 2 * MAX_FILE_BYTES {
        return Err(UnsealError::TooLarge);
    }
    let bytes = if is_armored(bytes) { bytes.trim_ascii_start() } else { bytes };
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(bytes)).map_err(|error| unsealed(&error))?;
    if decryptor.is_scrypt() {
        return Err(UnsealError::Passphrase);
    }
    let mut reader = decryptor
        .decrypt(identities.iter().map(super::identity::Identity::as_age))
        .map_err(|error| unsealed(&error))?;
    // As large as it can become, so that growing leaves no copy behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let read = reader.by_ref().take(limit + 1).read_to_end(&mut plain);
    read.map_err(|_| UnsealError::Damaged("its content is cut off or was changed".into()))?;
    if plain.len() > MAX_FILE_BYTES {
        return Err(UnsealError::TooLarge);
    }
    Ok(std::mem::take(&mut *plain).into())
}

fn unsealed(error: &age::DecryptError) -> UnsealError {
    match error {
        age::DecryptError::NoMatchingKeys => UnsealError::NotARecipient,
        age::DecryptError::Io(_) => UnsealError::Damaged("its header is cut off".into()),
        age::DecryptError::InvalidMac => UnsealError::Damaged("its header was changed".into()),
        age::DecryptError::UnknownFormat => UnsealError::Damaged("it is no age file of version 1".into()),
        _ => UnsealError::Damaged("its header can't be understood".into()),
    }
}

/// The kinds of key that an age file is for, from its header: anonymous ones are only counted. For people.
pub fn stanzas(bytes: &[u8]) -> Vec<String> {
    let mut header = Vec::new();
    // The header ends with a line that begins with `---`; whatever can't be read tells nothing.
    let _ = ArmoredReader::new(if is_armored(bytes) { bytes.trim_ascii_start() } else { bytes })
        .take(256 << 10)
        .read_to_end(&mut header);
    let mut kinds = Vec::new();
    for line in header.split(|byte| *byte == b'\n') {
        if line.starts_with(b"---") {
            break;
        }
        if let Some(stanza) = line.strip_prefix(b"-> ") {
            let text = String::from_utf8_lossy(stanza);
            let kind = text.split(' ').next().unwrap_or_default();
            // What newer versions of age put in to keep readers honest is nobody's key.
            if !kind.ends_with("-grease") {
                kinds.push(kind.to_owned());
            }
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::identity::Identity;
    use crate::secrets::post_quantum;

    fn both(identity: Identity) -> (Recipient, Identities) {
        (identity.recipient().unwrap(), Identities::one(identity))
    }

    #[test]
    fn what_is_sealed_is_read_by_each_recipient_and_by_nobody_else() {
        let new = || both(Identity::X25519(Box::new(age::x25519::Identity::generate())));
        let ((a, read_a), (b, read_b), (_, stranger)) = (new(), new(), new());
        let value = SecretBytes::from("hunter2");
        for armored in [true, false] {
            let sealed = seal(&value, &[a.clone(), b.clone()], armored).unwrap();
            assert_eq!(is_armored(&sealed), armored);
            assert!(is_age(&sealed));
            assert_eq!(stanzas(&sealed), ["X25519", "X25519"]);
            for reader in [&read_a, &read_b] {
                assert_eq!(unseal(&sealed, reader).unwrap(), value);
            }
            assert_eq!(unseal(&sealed, &stranger), Err(UnsealError::NotARecipient));
            for length in 0..sealed.len() {
                assert!(unseal(&sealed[..length], &read_a).is_err() || sealed[..length].len() + 2 > sealed.len());
            }
        }
    }

    #[test]
    fn post_quantum_recipients_read_too() {
        let (recipient, reader) = both(Identity::PostQuantum(Box::new(post_quantum::Identity::generate())));
        let value = SecretBytes::from("hunter2");
        let sealed = seal(&value, std::slice::from_ref(&recipient), true).unwrap();
        assert_eq!(unseal(&sealed, &reader).unwrap(), value);
        let (_, other) = both(Identity::PostQuantum(Box::new(post_quantum::Identity::generate())));
        assert_eq!(unseal(&sealed, &other), Err(UnsealError::NotARecipient));
        let (classic, _) = both(Identity::X25519(Box::new(age::x25519::Identity::generate())));
        assert!(matches!(seal(&value, &[recipient, classic], true), Err(SealError::Recipients(RecipientError::Mixed))));
    }

    #[test]
    fn a_passphrase_is_refused_with_a_word() {
        let encryptor = age::Encryptor::with_user_passphrase("x".to_owned().into());
        let mut sealed = Vec::new();
        let mut writer = encryptor.wrap_output(&mut sealed).unwrap();
        writer.write_all(b"hunter2").unwrap();
        writer.finish().unwrap();
        assert_eq!(unseal(&sealed, &Identities::default()), Err(UnsealError::Passphrase));
    }
}
