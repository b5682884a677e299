//! The settings of a Git source.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{Address, Transport};
use super::names;
use crate::ports::source::SourceError;

/// The settings of a Git source. [`GitConfig::new`] fills in the defaults.
#[derive(Clone, Debug)]
pub struct GitConfig {
    /// An absolute path, `file://`, `https://`, `ssh://` or `user@host:path`; `http://` only to this machine itself.
    /// Never with a password in it.
    pub url: String,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The folder of the repository that is looked at; empty for all of it.
    pub path: String,
    /// The folder of the bare mirror. Created where it is missing; nobody else writes there.
    pub mirror: PathBuf,
    /// How to log in.
    pub auth: Auth,
    /// Certificates to trust for https instead of the system's, in PEM form.
    pub ca_file: Option<PathBuf>,
    /// How long one fetch or push may take before it is killed.
    pub timeout: Duration,
    /// Limits on what is taken from the remote.
    pub limits: Limits,
}

impl GitConfig {
    /// Settings with the defaults: everything of the repository, no login, 60 seconds.
    pub fn new(url: impl Into<String>, branch: impl Into<String>, mirror: impl Into<PathBuf>) -> Self {
        GitConfig {
            url: url.into(),
            branch: branch.into(),
            path: String::new(),
            mirror: mirror.into(),
            auth: Auth::None,
            ca_file: None,
            timeout: Duration::from_secs(60),
            limits: Limits::default(),
        }
    }

    /// Checks what the address alone does not tell.
    pub(super) fn check(&self, address: &Address) -> Result<(), SourceError> {
        names::branch(&self.branch)?;
        let config = |text: &str| Err(SourceError::Config(text.to_owned()));
        if !self.mirror.is_absolute() {
            return config("the mirror folder must be an absolute path");
        }
        if self.timeout.is_zero() {
            return config("the timeout must be longer than nothing");
        }
        match (&self.auth, address.transport()) {
            (Auth::None, _) | (Auth::Token { .. }, Transport::Http) | (Auth::Ssh { .. }, Transport::Ssh) => Ok(()),
            (Auth::Token { .. }, _) => config("a token needs an https address; for ssh give a key"),
            (Auth::Ssh { .. }, _) => config("an ssh key needs an ssh address; for https give a token"),
        }?;
        if let Auth::Token { username, .. } = &self.auth
            && (username.is_empty() || username.contains(char::is_control))
        {
            return config("the user name of the token must be one line and not empty");
        }
        Ok(())
    }
}

/// How to log in to the remote.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Not at all; for ssh: as the user's own ssh configuration, agent and known hosts have it.
    #[default]
    None,
    /// A token over https.
    ///
    /// It is handed to git by a credential helper that is bound to the configured scheme, host and port: a redirect to
    /// another host gets nothing. It never stands in an argument or an address. A token from a file is read by the
    /// helper each time, so a rotated file needs no restart; one from the environment is in the environment of the git
    /// process, which only the same user can read.
    Token {
        /// The user name that goes with it: `x-access-token` for GitHub, `oauth2` for GitLab; most take any.
        username: String,
        /// Where it is.
        token: Token,
    },
    /// A key over ssh. Only this key is offered, and only hosts in `known_hosts` are talked to.
    Ssh {
        /// The private key, without a passphrase.
        key: PathBuf,
        /// The trusted host keys, in OpenSSH's form (`ssh-keyscan HOST`, compared with what the operator publishes).
        known_hosts: PathBuf,
    },
}

/// Where a token is.
#[derive(Clone)]
pub enum Token {
    /// In a file, alone. Should be readable by the daemon's user only (0600 or 0400).
    File(PathBuf),
    /// Here, taken from the daemon's environment or another safe place by the caller.
    Value(String),
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::File(path) => f.debug_tuple("File").field(path).finish(),
            Token::Value(_) => f.write_str("Value(..)"),
        }
    }
}

/// Limits on what is taken from the remote and held in memory or on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Files and folders below the root folder.
    pub max_files: usize,
    /// Folders inside one another.
    pub max_depth: usize,
    /// Bytes of one file that is read into memory.
    pub max_file_bytes: u64,
    /// Bytes of all files of one exported folder together.
    pub max_export_bytes: u64,
    /// Bytes that one fetch may bring, as they come (compressed).
    pub max_fetch_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_files: 100_000,
            max_depth: 64,
            max_file_bytes: 10 << 20,
            max_export_bytes: 1 << 30,
            max_fetch_bytes: 2 << 30,
        }
    }
}
