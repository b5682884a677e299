//! Differences between two desired states, field by field, with what each one means.

use serde::{Deserialize, Serialize};

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Where: `workload.process.env.LOG_LEVEL`.
    pub path: String,
    /// Before; `None`: it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// After; `None`: it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// What comes of it: `starts new instances`, `changes the number of instances`, `changes the next rollout only`.
    pub effect: String,
}
