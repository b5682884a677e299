//! `[log]`: what the daemon tells on standard error, and how.

use serde::{Deserialize, Serialize};

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// What is told: `error`, `warn`, `info`, `debug`, `trace`, or directives of tracing such as `info,trimtab::app=debug`. The
    /// environment variable `TRIMTAB_LOG` goes before it.
    #[serde(default)]
    pub level: Option<String>,
    /// How lines are written; `--log-format` goes before it.
    #[serde(default)]
    pub format: LogFormat,
}
