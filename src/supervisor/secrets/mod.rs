//! Secrets of processes: kept encrypted beside their group or run, so that instances are started again without daemon and
//! Git; handed to each start through a pipe; laid out as files in memory while it runs.

pub mod deliver;
pub mod keep;
pub mod places;

use std::path::PathBuf;

use crate::secrets::value::SecretValues;

/// Why a process can't be given its secrets. No value is ever in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The values did not come with the request, and are not kept.
    #[error("the values of the secrets {0} are not here: the daemon must send them (again)")]
    Missing(String),
    /// What is kept can't be decrypted.
    #[error(
        "the secrets in {path} can't be decrypted: {reason}; give the supervisor the key that it had, or restart the app so that the daemon sends them again"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The key can't be had.
    #[error("the key for secrets in {path} can't be used: {reason}")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A value does not fit the way it is to be handed over.
    #[error("the secret {name} can't be handed over: {reason}")]
    Value {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// A file can't be laid out.
    #[error("the secrets can't be laid out at {path}: {reason}")]
    Layout {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A record can't be kept.
    #[error(transparent)]
    Store(#[from] super::store::StoreError),
}

impl SecretsError {
    /// Refuses a request that lacks the value of a secret that its process needs.
    pub fn demand<'a>(needed: impl Iterator<Item = &'a String>, values: &SecretValues) -> Result<(), Self> {
        let missing: Vec<&str> = needed.filter(|name| !values.contains_key(*name)).map(String::as_str).collect();
        if missing.is_empty() { Ok(()) } else { Err(SecretsError::Missing(missing.join(", "))) }
    }
}
