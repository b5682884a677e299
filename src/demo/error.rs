//! Why the demo could not go on.

use std::path::PathBuf;

/// What failed, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The folder can't be used.
    #[error("{path} can't be used for the demo: {reason}; name another one with --dir")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No port can be had for an app.
    #[error("{address} can't be taken for an app: {source}; name another port with --port, or leave it out")]
    Port {
        /// The address.
        address: std::net::SocketAddr,
        /// The system's word.
        source: std::io::Error,
    },
    /// Git failed, or is not there.
    #[error("`git {command}` failed: {reason}")]
    Git {
        /// The arguments.
        command: String,
        /// Git's own words, or the system's.
        reason: String,
    },
    /// A file in the clone is not as the demo left it.
    #[error("{path} can't be changed: {reason}")]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A process could not be started.
    #[error("`trimtab {name}` can't be started: {source}")]
    Start {
        /// Which.
        name: &'static str,
        /// The system's word.
        source: std::io::Error,
    },
    /// Something did not come about.
    #[error("{what} did not happen within {seconds} s; last seen: {seen}")]
    Waited {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// What was seen instead.
        seen: String,
    },
    /// A unit waits for somebody.
    #[error("{unit} is stuck: {reason}; the logs are in {logs}")]
    Stuck {
        /// Which.
        unit: String,
        /// Why.
        reason: String,
        /// The folder with the processes' logs.
        logs: String,
    },
    /// Somebody interrupted it.
    #[error("interrupted")]
    Interrupted,
}
