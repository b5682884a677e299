//! Which values of a file are encrypted, by the names on the way to them.

use regex::bytes::{Regex, RegexBuilder};

use super::SopsError;
use super::cipher::is_encrypted;
use super::metadata::Metadata;

/// See the module.
pub(super) struct Rules {
    unencrypted_suffix: Option<String>,
    encrypted_suffix: Option<String>,
    unencrypted: Option<Regex>,
    encrypted: Option<Regex>,
    by_comment: bool,
}

impl Rules {
    pub(super) fn of(metadata: &Metadata) -> Result<Self, SopsError> {
        Ok(Rules {
            unencrypted_suffix: metadata.unencrypted_suffix.clone(),
            encrypted_suffix: metadata.encrypted_suffix.clone(),
            unencrypted: regex(metadata.unencrypted_regex.as_deref())?,
            encrypted: regex(metadata.encrypted_regex.as_deref())?,
            by_comment: metadata.by_comment,
        })
    }

    /// Whether the value there must be encrypted.
    pub(super) fn encrypts(&self, path: &[String], text: &str) -> bool {
        // Comments are not read here. What looks encrypted is taken so; should somebody have put a text in clear in the
        // place of an encrypted one, the MAC tells.
        if self.by_comment {
            return is_encrypted(text);
        }
        let mut encrypted = true;
        if let Some(suffix) = &self.unencrypted_suffix {
            encrypted &= !path.iter().any(|name| name.ends_with(suffix));
        }
        if let Some(suffix) = &self.encrypted_suffix {
            encrypted = path.iter().any(|name| name.ends_with(suffix));
        }
        if let Some(regex) = &self.unencrypted {
            encrypted &= !path.iter().any(|name| regex.is_match(name.as_bytes()));
        }
        if let Some(regex) = &self.encrypted {
            encrypted = path.iter().any(|name| regex.is_match(name.as_bytes()));
        }
        encrypted
    }
}

fn regex(text: Option<&str>) -> Result<Option<Regex>, SopsError> {
    let Some(text) = text else { return Ok(None) };
    // As Go understands it: classes such as \d are ASCII's.
    let built = RegexBuilder::new(text).unicode(false).size_limit(1 << 20).build();
    built
        .map(Some)
        .map_err(|_| SopsError::Format("its `encrypted_regex` or `unencrypted_regex` can't be understood".into()))
}
