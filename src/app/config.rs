//! The daemon's configuration: `trimtab.toml`.

pub mod access;
pub mod charts;
pub mod hooks;
pub mod kubernetes;
pub mod log;
pub mod telemetry;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::id::Name;
use crate::domain::span::Span;
use access::TokenSettings;
use charts::{ChartHosts, ToolSettings};
use hooks::HookSettings;
use kubernetes::KubernetesSettings;
use log::LogSettings;
use telemetry::TelemetrySettings;

/// Everything that the daemon is told at its start. Unknown keys are refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The installation's name, marked on everything that runs: two daemons on one machine need different ones.
    #[serde(default = "default_installation")]
    pub installation: Name,
    /// Where the daemon keeps its journal, the mirror and the artifacts.
    #[serde(default = "default_state_dir")]
    pub state_dir: PathBuf,
    /// Where the desired state comes from.
    pub source: SourceSettings,
    /// The daemon's own API.
    #[serde(default)]
    pub api: ApiSettings,
    /// Who may tell that the source has something new.
    #[serde(default)]
    pub hooks: HookSettings,
    /// What the daemon tells on standard error.
    #[serde(default)]
    pub log: LogSettings,
    /// Where traces are sent.
    #[serde(default)]
    pub telemetry: TelemetrySettings,
    /// Where requests that documents ask for may go.
    #[serde(default)]
    pub outgoing: OutgoingSettings,
    /// The supervisor of the host platform.
    #[serde(default)]
    pub supervisor: SupervisorSettings,
    /// The clusters that environments may name.
    #[serde(default)]
    pub kubernetes: KubernetesSettings,
    /// How the hosts of charts are reached, by `HOST` or `HOST:PORT`.
    #[serde(default)]
    pub charts: ChartHosts,
    /// The programs that make objects.
    #[serde(default)]
    pub tools: ToolSettings,
    /// The routers.
    #[serde(default)]
    pub router: RouterSettings,
    /// Automatic rollbacks.
    #[serde(default)]
    pub rollback: RollbackSettings,
    /// Guards against mass removal.
    #[serde(default)]
    pub removal: RemovalSettings,
    /// What is remembered, and for how long.
    #[serde(default)]
    pub retention: RetentionSettings,
    /// What secrets are read with.
    #[serde(default)]
    pub secrets: SecretSettings,
}

/// `[source]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSettings {
    /// A local path, `https://`, `ssh://` or `user@host:path`.
    pub url: String,
    /// The branch.
    #[serde(default = "default_branch")]
    pub branch: String,
    /// The folder of the repository that holds the documents; its root where it is empty.
    #[serde(default)]
    pub path: String,
    /// From one poll to the next; a jitter of a tenth is added. A local repository is also watched.
    #[serde(default = "default_poll")]
    pub poll: Span,
    /// How long one fetch or push may take.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// A file with the token for `https://`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Certificates in PEM form that `https://` trusts instead of the system's: a forge with a private authority.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// An ssh private key.
    #[serde(default)]
    pub ssh_key: Option<PathBuf>,
    /// The host keys that ssh trusts.
    #[serde(default)]
    pub known_hosts: Option<PathBuf>,
    /// The name on rollback commits.
    #[serde(default = "default_author")]
    pub author: String,
    /// The address on rollback commits.
    #[serde(default = "default_email")]
    pub email: String,
}

/// `[api]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiSettings {
    /// The Unix socket.
    #[serde(default = "default_api_socket")]
    pub socket: PathBuf,
    /// Its file mode, octal: who may reach it may do everything.
    #[serde(default = "default_socket_mode")]
    pub mode: String,
    /// Where it is served over TCP too, for who has a token; nowhere where this is not given.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// The tokens that are good there.
    #[serde(default)]
    pub tokens: Vec<TokenSettings>,
}

/// `[outgoing]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutgoingSettings {
    /// Addresses and blocks of addresses that may be reached although they are link-local, a metadata service's or, by a
    /// redirect or a name, this machine's loopback.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// `[supervisor]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupervisorSettings {
    /// The Unix socket.
    #[serde(default = "default_supervisor_socket")]
    pub socket: PathBuf,
}

/// `[router]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouterSettings {
    /// The Unix sockets of all routers; each must confirm every change.
    #[serde(default = "default_router_sockets")]
    pub sockets: Vec<PathBuf>,
}

/// `[rollback]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollbackSettings {
    /// How many automatic rollbacks an environment may have in an hour; the next one holds and tells.
    #[serde(default = "default_per_hour")]
    pub per_hour: u32,
    /// Whether rollbacks are recorded in Git; without, they hold until somebody commits.
    #[serde(default = "default_true")]
    pub push: bool,
}

/// `[secrets]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSettings {
    /// Files with age identities or ssh private keys, none behind a passphrase. Beside them `$TRIMTAB_IDENTITY` and the systemd
    /// credential `trimtab-identity` are read.
    #[serde(default)]
    pub identity_files: Vec<PathBuf>,
}

/// `[removal]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemovalSettings {
    /// A commit that removes more than this share of an environment's units (and more than one) holds until `trimtab ack`.
    #[serde(default = "default_percent")]
    pub percent: u32,
}

/// `[retention]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionSettings {
    /// How many of the newest events are kept. Beside them each unit keeps at most some dozens, its state and its last rollouts.
    #[serde(default = "default_events")]
    pub events: u64,
    /// Events that are older go although they are among the newest.
    #[serde(default = "default_age")]
    pub age: Span,
}

fn default_installation() -> Name {
    "default".parse().expect("`default` keeps to the alphabet of names")
}
fn default_state_dir() -> PathBuf {
    "/var/lib/trimtab/daemon".into()
}
fn default_branch() -> String {
    "main".into()
}
fn default_poll() -> Span {
    Span::from_secs(30)
}
fn default_timeout() -> Span {
    Span::from_secs(60)
}
fn default_author() -> String {
    "trimtab".into()
}
fn default_email() -> String {
    "trimtab@localhost".into()
}
fn default_api_socket() -> PathBuf {
    "/run/trimtab/daemon.sock".into()
}
fn default_socket_mode() -> String {
    "0660".into()
}
fn default_supervisor_socket() -> PathBuf {
    "/run/trimtab/supervisor.sock".into()
}
fn default_router_sockets() -> Vec<PathBuf> {
    vec!["/run/trimtab/router.sock".into()]
}
fn default_per_hour() -> u32 {
    3
}
fn default_true() -> bool {
    true
}
fn default_percent() -> u32 {
    50
}
fn default_events() -> u64 {
    50_000
}
fn default_age() -> Span {
    Span::from_secs(90 * 24 * 3_600)
}

impl Default for ApiSettings {
    fn default() -> Self {
        ApiSettings { socket: default_api_socket(), mode: default_socket_mode(), listen: None, tokens: Vec::new() }
    }
}

impl Default for SupervisorSettings {
    fn default() -> Self {
        SupervisorSettings { socket: default_supervisor_socket() }
    }
}

impl Default for RouterSettings {
    fn default() -> Self {
        RouterSettings { sockets: default_router_sockets() }
    }
}

impl Default for RollbackSettings {
    fn default() -> Self {
        RollbackSettings { per_hour: default_per_hour(), push: true }
    }
}

impl Default for RetentionSettings {
    fn default() -> Self {
        RetentionSettings { events: default_events(), age: default_age() }
    }
}

impl Default for RemovalSettings {
    fn default() -> Self {
        RemovalSettings { percent: default_percent() }
    }
}

/// Why the configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("{path} can't be read: {source}; name the configuration with --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: {reason}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
}

impl Config {
    /// Reads a configuration file. Relative paths in it are relative to its folder.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        let invalid = |reason: String| ConfigError::Invalid { path: path.to_owned(), reason };
        let mut config: Config = toml::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        config.check().map_err(invalid)?;
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        config.resolve(absolute.parent().unwrap_or(Path::new("/")));
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        self.socket_mode()?;
        if self.router.sockets.is_empty() {
            return Err("[router] sockets names no router: name at least one socket".into());
        }
        if self.source.poll.as_millis() < 1_000 {
            return Err("[source] poll is below one second: a remote is not asked more often than that".into());
        }
        if self.retention.events < 1_000 {
            return Err("[retention] events is below 1000: too few to tell what happened just now".into());
        }
        if self.retention.age < Span::from_secs(3_600) {
            return Err("[retention] age is below one hour: too short to tell what happened just now".into());
        }
        self.hooks.check()?;
        self.telemetry.check()?;
        self.kubernetes.check()?;
        charts::check(&self.charts)?;
        for token in &self.api.tokens {
            token.check()?;
            if self.api.tokens.iter().filter(|other| other.name == token.name).count() > 1 {
                return Err(format!("[[api.tokens]] {} is there twice", token.name));
            }
        }
        if self.removal.percent > 100 {
            return Err("[removal] percent is above 100".into());
        }
        Ok(())
    }

    fn resolve(&mut self, folder: &Path) {
        let paths = [&mut self.state_dir, &mut self.api.socket, &mut self.supervisor.socket];
        let source = &mut self.source;
        let optional = [&mut source.token_file, &mut source.ca_file, &mut source.ssh_key, &mut source.known_hosts];
        let all = paths.into_iter().chain(optional.into_iter().flatten()).chain(&mut self.router.sockets);
        let all = all.chain(&mut self.secrets.identity_files);
        for path in all {
            *path = folder.join(&*path);
        }
        self.hooks.resolve(folder);
        self.kubernetes.resolve(folder);
        charts::resolve(&mut self.charts, &mut self.tools, folder);
        for token in &mut self.api.tokens {
            token.resolve(folder);
        }
        let url = &self.source.url;
        if url.starts_with("./") || url.starts_with("../") {
            self.source.url = folder.join(url).to_string_lossy().into_owned();
        }
    }

    /// The file mode of the API's socket.
    pub fn socket_mode(&self) -> Result<u32, String> {
        u32::from_str_radix(self.api.mode.trim_start_matches("0o"), 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .ok_or_else(|| format!("[api] mode = {:?} is not an octal file mode such as \"0660\"", self.api.mode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_file_is_enough_and_paths_are_relative_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trimtab.toml");
        std::fs::write(&path, "state_dir = 'state'\n[source]\nurl = './repo.git'\n").unwrap();
        let config = Config::read(&path).unwrap();
        assert_eq!(config.state_dir, dir.path().join("state"));
        assert_eq!(config.source.url, dir.path().join("./repo.git").to_string_lossy());
        assert_eq!(config.source.branch, "main");
        assert_eq!(config.socket_mode(), Ok(0o660));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trimtab.toml");
        for (text, word) in [
            ("[source]\nurl = 'x'\nbranhc = 'main'\n", "branhc"),
            ("[source]\nurl = 'x'\npoll = 'soon'\n", "length of time"),
            ("[source]\nurl = 'x'\n[api]\nmode = '999'\n", "octal"),
            ("[source]\nurl = 'x'\n[router]\nsockets = []\n", "no router"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Config::read(&path).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
