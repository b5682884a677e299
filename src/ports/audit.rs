//! The audit log, and the webhook deliveries that were taken.

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::audit::{AuditRecord, Broken, Entry, Head};

/// Why the audit log did not take or give something.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The store failed.
    #[error("the audit log {path} failed: {reason}")]
    Failed {
        /// The file.
        path: String,
        /// The system's word.
        reason: String,
    },
    /// Someone else follows the journal.
    #[error("the audit log was followed up to event {found} of the journal, not {expected}: another daemon uses it")]
    Followed {
        /// What the caller believed.
        expected: u64,
        /// What is so.
        found: u64,
    },
    /// It is not as it was written.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// The audit log: records are appended, and neither changed nor removed.
///
/// **Guarantees.** A record is durable when `append` returns. Where it was last is also kept outside of the log, so that a cut end
/// shows.
#[async_trait]
pub trait Audit: Send + Sync {
    /// Appends a record; answers its number.
    async fn append(&self, at: Timestamp, entry: Entry) -> Result<u64, AuditError>;

    /// How far the journal was followed, by its global numbers: what the daemon did up to there is recorded.
    async fn followed(&self) -> Result<u64, AuditError>;

    /// Appends the records of what happened in the journal after `from` and up to `to`, each with when it happened, and remembers how far
    /// that is: all or nothing. Refused where the journal was not followed to `from`: someone else follows it.
    async fn follow(&self, from: u64, to: u64, entries: Vec<(Timestamp, Entry)>) -> Result<(), AuditError>;

    /// The records after a number, in order, at most so many.
    async fn read(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, AuditError>;

    /// The number of the last record.
    async fn length(&self) -> Result<u64, AuditError>;

    /// Reads everything and follows the chain to its end.
    ///
    /// # Errors
    ///
    /// [`AuditError::Broken`] where it does not hold.
    async fn verify(&self) -> Result<Head, AuditError>;

    /// Whether a webhook delivery was taken before.
    async fn delivered(&self, hook: &str, delivery: &str) -> Result<bool, AuditError>;

    /// Remembers a delivery, durably. The newest some thousands are kept.
    async fn remember_delivery(&self, hook: &str, delivery: &str) -> Result<(), AuditError>;
}
