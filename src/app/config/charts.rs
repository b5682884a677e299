//! `[charts]` and `[tools]`: how the hosts of charts are reached, and where the programs are that make objects. None of it stands in the
//! repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `[charts."HOST"]` or `[charts."HOST:PORT"]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChartHost {
    /// Who asks.
    #[serde(default)]
    pub user: Option<String>,
    /// A file with the password or token.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Certificates in PEM form that are trusted there instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Whether it is asked without TLS: anybody on the way may then change what is fetched for the first time.
    #[serde(default)]
    pub plain_http: bool,
}

/// `[tools]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolSettings {
    /// The program `kustomize`; the one in PATH where this is not given.
    #[serde(default)]
    pub kustomize: Option<PathBuf>,
    /// The program `helm`; the one in PATH where this is not given.
    #[serde(default)]
    pub helm: Option<PathBuf>,
}

/// The hosts of charts by their names.
pub type ChartHosts = BTreeMap<String, ChartHost>;

pub(super) fn check(hosts: &ChartHosts) -> Result<(), String> {
    for (name, host) in hosts {
        let at = format!("[charts.{name:?}]");
        if name.is_empty() || name.contains('/') || name.contains("://") {
            return Err(format!("{at} is no host: write HOST or HOST:PORT"));
        }
        if host.user.is_some() != host.password_file.is_some() {
            return Err(format!("{at} needs `user` and `password_file`, or neither"));
        }
        if host.plain_http && host.ca_file.is_some() {
            return Err(format!("{at} has `plain_http`, so `ca_file` would never be used: delete one of them"));
        }
    }
    Ok(())
}

pub(super) fn resolve(hosts: &mut ChartHosts, tools: &mut ToolSettings, folder: &Path) {
    let files = hosts.values_mut().flat_map(|host| [&mut host.password_file, &mut host.ca_file]);
    for path in files.chain([&mut tools.kustomize, &mut tools.helm]).filter_map(Option::as_mut) {
        *path = folder.join(&*path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_reached_in_one_way() {
        for (text, word) in [
            ("['charts.example.com']\nuser = 'a'\npassword_file = 'f'", None),
            ("['registry.example:5000']\nplain_http = true", None),
            ("['https://charts.example.com']", Some("no host")),
            ("['a']\nuser = 'a'", Some("neither")),
            ("['a']\nplain_http = true\nca_file = 'f'", Some("never be used")),
        ] {
            let hosts: ChartHosts = toml::from_str(text).unwrap();
            match (check(&hosts), word) {
                (Ok(()), None) => {}
                (Err(error), Some(word)) => assert!(error.contains(word), "{text}: {error}"),
                (answer, _) => panic!("{text}: {answer:?}"),
            }
        }
    }
}
