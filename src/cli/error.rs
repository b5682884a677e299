//! What a verb reports when it can't do what it was asked: the root cause first, then what to do.

use serde_json::json;

use super::exit::Exit;
use super::output::View;
use super::output::style::Tone;
use crate::api::client::ApiError;
use crate::net::client::ClientError;

/// Why a verb ended without having done what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What kind, for programs: the codes of [`crate::api::types::Problem`], and `usage`, `unreachable`, `denied`.
    pub code: String,
    /// What failed, where and why.
    pub message: String,
    /// What to do, a line each.
    pub remedies: Vec<String>,
    /// Units that could be meant, where the one that was meant is not clear.
    pub choices: Vec<String>,
}

impl CliError {
    /// An error of a kind.
    pub fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        CliError { exit, code: code.into(), message: message.into(), remedies: Vec::new(), choices: Vec::new() }
    }

    /// The command line or a document is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        CliError::new(Exit::Invalid, "invalid", message)
    }

    /// What was named is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        CliError::new(Exit::NotFound, "notFound", message)
    }

    /// It is not possible as things stand.
    pub fn refused(message: impl Into<String>) -> Self {
        CliError::new(Exit::Refused, "illegal", message)
    }

    /// It was tried and failed.
    pub fn failed(message: impl Into<String>) -> Self {
        CliError::new(Exit::Failed, "failed", message)
    }

    /// The same error with something to do about it.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedies.push(remedy.into());
        self
    }

    /// For people, on standard error.
    pub fn text(&self, view: &View) -> String {
        let mut text = format!("{} {}\n", view.paint(Tone::Bad, "error:"), view.clean(&self.message));
        for choice in &self.choices {
            text.push_str(&format!("  {}\n", view.clean(choice)));
        }
        for remedy in &self.remedies {
            text.push_str(&format!("{} {}\n", view.paint(Tone::Accent, "  try:"), view.clean(remedy)));
        }
        text
    }

    /// For programs: `{"error": {"code", "exitCode", "message", "remedies", "choices"}}`.
    pub fn json(&self) -> serde_json::Value {
        json!({ "error": {
            "code": self.code,
            "exitCode": self.exit.code(),
            "message": self.message,
            "remedies": self.remedies,
            "choices": self.choices,
        }})
    }
}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Problem(problem) => {
                let exit = match problem.code.as_str() {
                    "notFound" => Exit::NotFound,
                    "invalid" => Exit::Invalid,
                    "illegal" | "stale" => Exit::Refused,
                    _ => Exit::Failed,
                };
                CliError::new(exit, &problem.code, problem.message)
            }
            ApiError::Connection(ClientError::Unreachable { socket, source })
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                let message = format!("you may not speak to the daemon on {}: {source}", socket.display());
                CliError::new(Exit::Refused, "denied", message).remedy(
                    "the socket's mode and group let in who may steer rollouts: `ls -l` shows them; group `trimtab` where \
                     `systemd/install` was used",
                )
            }
            ApiError::Connection(ClientError::Unreachable { socket, source }) => {
                let message = format!("the daemon does not answer on {}: {source}", socket.display());
                CliError::new(Exit::Unreachable, "unreachable", message)
                    .remedy(
                        "is `trimtab daemon` running? `systemctl status trimtab-daemon` or `trimtab check` tell more",
                    )
                    .remedy("where it listens is said by --socket, $TRIMTAB_SOCKET, or `[api] socket` of --config")
            }
            ApiError::Connection(error @ ClientError::Refused { .. }) => CliError::failed(error.to_string())
                .remedy("are the daemon and this command of the same version? `trimtab --version`"),
            ApiError::Connection(error) => CliError::new(Exit::Unreachable, "unreachable", error.to_string())
                .remedy("the daemon may have been stopped meanwhile; the same command can be given again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_socket_that_lets_one_not_in_is_told_apart_from_a_daemon_that_is_not_there() {
        let error = |kind: io::ErrorKind| {
            let source = io::Error::from(kind);
            CliError::from(ApiError::Connection(ClientError::Unreachable { socket: "/run/x.sock".into(), source }))
        };
        let there = error(io::ErrorKind::PermissionDenied);
        assert_eq!((there.exit, there.code.as_str()), (Exit::Refused, "denied"));
        assert!(there.message.contains("/run/x.sock") && !there.remedies.is_empty(), "{there:?}");
        assert_eq!(error(io::ErrorKind::NotFound).exit, Exit::Unreachable);
        assert_eq!(error(io::ErrorKind::ConnectionRefused).exit, Exit::Unreachable);
    }
}
