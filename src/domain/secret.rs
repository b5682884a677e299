//! Secrets as desired states refer to them: where they come from, how a process gets them, and a keyed digest of their
//! value. The value itself never enters the domain.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The version of keyed digests, their prefix: HMAC-SHA256 of the value under the repository's key.
pub const KEYED: &str = "s1";

/// The file that holds the key for keyed digests, encrypted, from the root of the documents.
pub const DIGEST_KEY_FILE: &str = ".trimtab/digest-key.age";

/// The file that lists who may read the secrets of its folder and of those below, unless a nearer one does.
pub const RECIPIENTS_FILE: &str = ".age-recipients";

/// One secret of a process or script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Where its ciphertext stands, for people: `secrets/shop.yaml#database.url`.
    pub from: String,
    /// The keyed digest of its value; `None` where it is not known, because nobody could read it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// How it is handed over.
    pub deliver: Delivery,
}

/// How a process gets a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Delivery {
    /// As an environment variable.
    Env {
        /// The variable's name.
        name: String,
    },
    /// As a file that only its user can read, in memory where the machine can, at a path of the working directory.
    File {
        /// The path, relative to the working directory.
        path: String,
        /// The file's mode.
        mode: u32,
    },
    /// In the objects of a cluster that name it.
    Object {},
    /// As a file of the folder that `$CREDENTIALS_DIRECTORY` names.
    Credential {
        /// The file's name.
        name: String,
    },
}

/// Where a secret's ciphertext stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SecretSource {
    /// A file of the repository.
    File {
        /// Its path from the root.
        path: String,
        /// The value within it; the whole file where there is none.
        key: Option<String>,
    },
    /// A value of a file of objects that is encrypted, the file at hand.
    Within {
        /// Its path from the root.
        path: String,
        /// The value within it.
        key: String,
        /// The whole file.
        bytes: Arc<[u8]>,
    },
    /// An age file in the text of the document itself.
    Inline {
        /// The document, for people.
        document: String,
        /// The armored text.
        text: String,
    },
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File { path, key: None } => f.write_str(path),
            SecretSource::File { path, key: Some(key) } | SecretSource::Within { path, key, .. } => {
                write!(f, "{path}#{key}")
            }
            SecretSource::Inline { document, .. } => write!(f, "{document} (written there)"),
        }
    }
}

/// What is known of a secret's value when a unit is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretValue {
    /// Its keyed digest.
    Known(Digest),
    /// It can't be read here, and that is no fault of the documents: no identity, no key.
    Unknown,
    /// It can't be used.
    Unusable {
        /// What is wrong.
        message: String,
        /// What to do about it.
        remedy: String,
    },
}

/// The digest of a secret for people: its first digits, or that it is not known.
pub fn show_digest(digest: Option<&Digest>) -> String {
    match digest {
        Some(digest) => format!("digest {}", digest.short().get(..8).unwrap_or_default()),
        None => "digest unknown: no identity here reads it".to_owned(),
    }
}
