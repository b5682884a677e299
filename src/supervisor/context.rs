//! What all parts of a running supervisor share.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::board::Board;
use super::cgroup::hierarchy::Hierarchies;
use super::metrics::Metrics;
use super::ports::Ports;
use super::secrets::keep::Keeper;
use super::secrets::places::Places;
use crate::net::client::segment;

/// What all parts share.
#[derive(Debug)]
pub struct Context {
    /// The state folder.
    pub state: PathBuf,
    /// The id of this boot.
    pub boot: String,
    /// The control groups of this machine.
    pub hierarchies: Hierarchies,
    /// What everybody may know.
    pub board: Board,
    /// Counters.
    pub metrics: Metrics,
    /// Who has which port.
    pub ports: Mutex<Ports>,
    /// Keeps the secrets of groups and runs.
    pub keeper: Keeper,
    /// Where secrets are laid out as files.
    pub places: Places,
    /// The user of apps and scripts that name none; the supervisor's own where there is none here either.
    pub app_user: Option<String>,
}

impl Context {
    /// The folder of all groups.
    pub fn groups(&self) -> PathBuf {
        self.state.join("groups")
    }

    /// The folder of all runs.
    pub fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }

    /// The folders of all instances and runs that there are, each of which may have files of secrets.
    pub fn with_secrets(&self) -> Vec<PathBuf> {
        let below = |dir: PathBuf| {
            let entries = std::fs::read_dir(dir).map(Iterator::flatten).into_iter().flatten();
            entries.map(|entry| entry.path())
        };
        let slots = below(self.groups()).flat_map(|group| below(group.join("slots")));
        slots.chain(below(self.runs())).collect()
    }

    /// The ports, for a moment.
    pub fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who runs what names this user, or none.
    pub fn user(&self, named: &Option<String>) -> Option<String> {
        named.as_ref().or(self.app_user.as_ref()).cloned()
    }

    /// A name for the control groups of one launch, unique on this machine.
    pub fn cgroup_name(&self, attempt: &Path, readable: &str) -> String {
        let digest = Sha256::digest(attempt.as_os_str().as_encoded_bytes());
        format!("trimtab-{}-{readable}", &hex::encode(digest)[..12])
    }
}

/// A key as a file name. It never begins with a dot, and is never empty unless the key is.
pub fn file_name(key: &str) -> String {
    let name = segment(key);
    match name.strip_prefix('.') {
        Some(rest) => format!("%2E{rest}"),
        None => name,
    }
}

/// The key that a file name stands for; `None` for names that are no key's (of what is being made or removed).
pub fn is_key(name: &str) -> bool {
    !name.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_escapes_its_folder() {
        for (key, name) in [
            ("a/b/c/g", "a%2Fb%2Fc%2Fg"),
            ("..", "%2E."),
            (".new", "%2Enew"),
            ("../../etc", "%2E.%2F..%2Fetc"),
            ("ä b", "%C3%A4%20b"),
        ] {
            assert_eq!(file_name(key), name);
            assert!(is_key(&file_name(key)) && !name.contains('/'));
        }
        assert!(!is_key(".new-1"));
    }
}
