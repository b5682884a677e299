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
