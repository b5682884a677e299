//! What supervisor and shim leave for each other in the folder of one launch. It is their whole protocol, so that
//! either may be killed at any time and the other still knows what happened.
//!
//! | file | written by | says |
//! |---|---|---|
//! | `lock` | shim | held (flock) for exactly as long as the shim lives |
//! | `launch.json` | supervisor, before the shim starts | what to run, and how |
//! | `shim.json` | shim, first thing | who the shim is; from now on it listens for SIGUSR1 |
//! | `app.json` | shim, before the program may begin | who the program is |
//! | `stop.json` | supervisor, then SIGUSR1 | stop it: signal, grace, then the kill of its whole tree |
//! | `exit.json` | shim, after the tree is gone; or the supervisor, holding the lock | how it ended; final, nothing starts after it |

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::domain::span::Span;
use crate::protocol::supervisor::ExitHow;
use crate::supervisor::cgroup::Cgroup;
use crate::supervisor::store::Record;

/// The lock's file name.
pub const LOCK: &str = "lock";

/// What the shim starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// The boot that it belongs to.
    pub boot: String,
    /// A random text, in the program's environment as [`TOKEN`], by which its descendants are found.
    pub token: String,
    /// The program and its arguments, substituted.
    pub command: Vec<String>,
    /// The whole environment, but for the defaults that depend on the user.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub dir: PathBuf,
    /// The user to run as; the shim's own where none is named.
    #[serde(default)]
    pub user: Option<String>,
    /// Where it is limited and tracked.
    #[serde(default)]
    pub cgroup: Cgroup,
    /// Where its output goes.
    pub output: Output,
    /// How it is stopped when the shim is asked to leave by SIGTERM (the machine goes down).
    pub stop: StopRequest,
    /// After this its whole tree is killed.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// Whether there is more to it, which comes through the shim's standard input and is in no file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secrets: bool,
}

/// The environment variable that carries [`Launch::token`].
pub const TOKEN: &str = "TRIMTAB_LAUNCH";

impl Record for Launch {
    const FILE: &'static str = "launch.json";
}

/// Where output goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Output {
    /// `stdout.log` and `stderr.log` in a folder, each with one predecessor `.1`.
    Logs {
        /// The folder.
        dir: PathBuf,
        /// The most bytes a stream keeps, in two files of half the size.
        limit: u64,
    },
    /// Both streams together, of which the first and the last half are kept (see [`super::capped`]).
    Capped {
        /// The file.
        file: PathBuf,
        /// The most bytes kept.
        limit: u64,
    },
}

/// A process that can't be mistaken for a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessId {
    /// The process id.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: when it started, in clock ticks since the boot.
    pub start: u64,
}

/// The shim is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShimRecord {
    /// The shim.
    pub process: ProcessId,
}

impl Record for ShimRecord {
    const FILE: &'static str = "shim.json";
}

/// The program is about to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppRecord {
    /// The main process; leader of its own session and process group.
    pub process: ProcessId,
    /// When it was started.
    pub started: Timestamp,
}

impl Record for AppRecord {
    const FILE: &'static str = "app.json";
}

/// Why something is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopCause {
    /// It is no longer asked for.
    Requested,
    /// Its liveness check failed.
    Unhealthy,
    /// It ran for longer than allowed.
    Timeout,
    /// The shim was asked to leave.
    Shutdown,
}

/// Stop it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopRequest {
    /// The number of the signal that its main process gets.
    pub signal: i32,
    /// How long it may take before its whole tree is killed.
    pub grace: Span,
    /// Why.
    pub cause: StopCause,
}

impl Record for StopRequest {
    const FILE: &'static str = "stop.json";
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// How.
    pub how: ExitHow,
    /// When.
    pub at: Timestamp,
    /// How long it ran, by a clock that nobody sets.
    #[serde(default)]
    pub ran: Span,
    /// Why it was stopped, if it was.
    #[serde(default)]
    pub stopped: Option<StopCause>,
    /// False when it is certain that the program never began.
    #[serde(default = "yes")]
    pub begun: bool,
    /// Whether the program is not to blame, and may be started again at once: the machine restarted, or the supervisor
    /// was ended before the program began.
    #[serde(default)]
    pub blameless: bool,
    /// The last lines of its stderr, or of its stdout when that is empty.
    #[serde(default)]
    pub last_lines: Vec<String>,
}

fn yes() -> bool {
    true
}

impl ExitRecord {
    /// A program that never began, and why.
    pub fn not_started(reason: impl Into<String>) -> Self {
        ExitRecord { begun: false, ..Self::ended(ExitHow::NotStarted(reason.into())) }
    }

    /// An end that happened just now.
    pub fn ended(how: ExitHow) -> Self {
        ExitRecord {
            how,
            at: clock::now(),
            ran: Span::ZERO,
            stopped: None,
            begun: true,
            blameless: false,
            last_lines: Vec::new(),
        }
    }
}

impl Record for ExitRecord {
    const FILE: &'static str = "exit.json";
}
