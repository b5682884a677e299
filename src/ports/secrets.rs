//! What reads secrets.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::digest::Digest;
use crate::domain::secret::SecretValue;
use crate::secrets::SecretBytes;
use crate::secrets::file::Sealed;

/// Why a secret can't be had. No value is ever in it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SecretError {
    /// Its ciphertext is there and can't be read.
    #[error("the secret in {from} can't be decrypted: {reason}; {remedy}")]
    Unreadable {
        /// Where it stands.
        from: String,
        /// Why.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// Its ciphertext is not at hand.
    #[error(
        "the ciphertext of the secret {digest} is not kept any more: commit what shall run again, so that it is read from Git"
    )]
    Missing {
        /// The digest of its value.
        digest: Digest,
    },
    /// The platform was to be given a secret whose value nobody knew when it was rendered.
    #[error("the value of the secret {name} was not known when this was rendered")]
    Unknown {
        /// Its name.
        name: String,
    },
    /// The folder of ciphertexts can't be read or written.
    #[error("{path} can't be {what}: {reason}; free space or mend the permissions of the state folder")]
    Store {
        /// The file.
        path: String,
        /// What was tried, as a participle.
        what: &'static str,
        /// The system's word.
        reason: String,
    },
}

/// What is needed to look at a secret.
#[derive(Clone, Debug)]
pub struct Look<'a> {
    /// The encrypted key for keyed digests, as the revision has it.
    pub key: Option<&'a Sealed>,
    /// The ciphertext.
    pub sealed: &'a Sealed,
    /// Who should be able to read it, for messages: the lines of the recipients file in force.
    pub recipients: &'a [String],
}

/// Reads secrets with this process's identities, and keeps the ciphertexts of what runs.
///
/// **Flow.** While a revision is rendered every secret is looked at once, which gives the keyed digest of its value. The
/// ciphertexts of what is asked for are kept before anything refers to their digests. A value is opened right before it
/// goes to a platform.
/// **Guarantees.** What was kept is durable, and holds ciphertext only. Every value that was decrypted is known to the
/// process's redactor before it is returned. Keeping a digest again with another ciphertext (it was encrypted anew to other
/// recipients) replaces what was kept.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// The objects of a file that age encrypted as a whole, with where a value stands in its place. No value is in it.
    ///
    /// # Errors
    ///
    /// What is wrong, and what to do about it.
    fn objects(&self, sealed: &Sealed) -> Result<Vec<Value>, (String, String)>;

    /// What is known of a value. Remembers the ciphertext for [`keep`](Self::keep).
    fn look(&self, look: &Look<'_>) -> SecretValue;

    /// Keeps the ciphertexts of values that were looked at. Those that never were, and are kept already, stay.
    async fn keep(&self, digests: &BTreeSet<Digest>) -> Result<(), SecretError>;

    /// The value of a digest.
    async fn open(&self, digest: &Digest) -> Result<SecretBytes, SecretError>;

    /// Forgets all ciphertexts but these.
    async fn keep_only(&self, digests: &BTreeSet<Digest>) -> Result<(), SecretError>;

    /// What can be read, in words; the error is what is wrong with the identities or with what is kept.
    async fn check(&self) -> Result<String, String>;
}
