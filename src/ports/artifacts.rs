//! Artifacts: the files that workloads and scripts run from, kept by content.

use std::path::PathBuf;

use async_trait::async_trait;

use crate::domain::workload::ArtifactRef;

/// Why an artifact is not there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArtifactError {
    /// What was fetched is not what was asked for.
    #[error("{url} has the SHA-256 {found}, not {expected}: nothing was kept; correct the sum or the URL")]
    Mismatch {
        /// From where.
        url: String,
        /// What the manifest says.
        expected: String,
        /// What came.
        found: String,
    },
    /// It can't be used; trying again changes nothing.
    #[error("artifact {artifact}: {reason}")]
    Unusable {
        /// Which.
        artifact: String,
        /// Why.
        reason: String,
    },
    /// It could not be fetched; trying again may help.
    #[error("artifact {artifact} could not be fetched: {reason}")]
    Unreachable {
        /// Which.
        artifact: String,
        /// Why.
        reason: String,
    },
}

/// The store of artifacts.
#[async_trait]
pub trait Artifacts: Send + Sync {
    /// The complete folder of an artifact; fetched where it is not there yet. Concurrent calls for the same fetch once.
    async fn ensure(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError>;

    /// Removes what is not in use.
    async fn keep_only(&self, in_use: &[ArtifactRef]) -> Result<(), ArtifactError>;
}
