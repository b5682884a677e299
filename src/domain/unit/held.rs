//! Why what runs is not what Git's head asks for.

use serde::{Deserialize, Serialize};

use crate::domain::id::{Name, UnitId};

/// One thing that holds a unit, and what ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// What.
    pub reason: HeldReason,
    /// What holds it, in words.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// The kinds of holding, root causes before their consequences.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum HeldReason {
    /// An operator suspended the app or the environment.
    Suspended,
    /// What runs can't be seen.
    Unknown,
    /// The document or what it names can't be read or rendered.
    ConfigError,
    /// It was renamed, and can't be taken over yet.
    Moving {
        /// Its new name.
        to: UnitId,
    },
    /// The source could not be read for too long.
    SourceStale,
    /// The branch's history was rewritten.
    HistoryRewritten,
    /// Too much would be removed at once.
    MassRemoval,
    /// This very state was rolled back from.
    Quarantined,
    /// Somebody called its rollout off.
    Aborted,
    /// A rollback is not yet recorded in Git.
    RollbackPending,
    /// The platform cannot do what is asked for.
    Unsupported,
    /// An app that it depends on is not verified.
    DependsOn {
        /// Which.
        app: Name,
    },
    /// A lower wave is not verified.
    Wave {
        /// Which.
        wave: u32,
    },
    /// Somebody must approve it.
    Approval,
    /// Its document is gone, but it is kept.
    NotPruned,
}
