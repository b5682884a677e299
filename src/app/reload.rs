//! Reading the configuration again while the daemon runs: tokens, webhooks, the poll and the log level change; the rest needs a
//! restart, and is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::config::Config;
use super::doors::{Credentials, Keys};
use super::reconciler::Reconciler;
use crate::net;

/// Sets the level of the log.
pub type SetLevel = Box<dyn Fn(Option<&str>) -> Result<(), String> + Send + Sync>;

/// Where the configuration is, and how its part outside of the use cases is changed.
pub struct Reloads {
    /// The file.
    pub file: PathBuf,
    /// Comes when it is to be read again.
    pub asked: tokio::sync::mpsc::Receiver<()>,
    /// Sets the level of the log.
    pub level: SetLevel,
}

/// Why the configuration that is in force is not the one in the file.
#[derive(Clone, Default)]
pub struct ConfigError(Arc<Mutex<Option<String>>>);

impl ConfigError {
    /// Why.
    pub fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, reason: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// What changes while the daemon runs; everything else is only read at its start.
const RELOADED: [&str; 5] = ["[source] poll", "[api] tokens", "[hooks] from", "[hooks] rate", "[log] level"];

/// Reads the configuration whenever it is asked for. `started` is the one that the daemon was started with.
pub async fn run(mut reloads: Reloads, started: Config, keys: Keys, reconciler: Arc<Reconciler>, error: ConfigError) {
    let mut last = started.clone();
    while reloads.asked.recv().await.is_some() {
        net::notify::reloading();
        match take(&reloads, &started, &keys, &reconciler) {
            Ok(config) => {
                error.set(tell(&changed(&last, &config), &changed(&started, &config)));
                last = config;
            }
            Err(reason) => {
                tracing::error!(%reason, "the configuration was not taken: the one before stays in force");
                error.set(Some(format!("{reason}; the configuration before stays in force")));
            }
        }
        net::notify::ready();
    }
}

/// Takes all of the file, or nothing where something in it, or a secret that it names, can't be taken.
fn take(reloads: &Reloads, started: &Config, keys: &Keys, reconciler: &Reconciler) -> Result<Config, String> {
    let config = Config::read(&reloads.file).map_err(|error| error.to_string())?;
    // The branch that hooks follow is the one that is followed.
    let mut meant = config.clone();
    meant.source.branch.clone_from(&started.source.branch);
    let credentials = Credentials::read(&meant).map_err(|error| format!("{error:#}"))?;
    (reloads.level)(config.log.level.as_deref())?;
    keys.replace(credentials);
    reconciler.set_poll(config.source.poll.duration());
    Ok(config)
}

/// Writes to the log what was taken and what was not; what was not is the answer.
fn tell(since_last: &[String], since_start: &[String]) -> Option<String> {
    let reloaded = |key: &&String| RELOADED.contains(&key.as_str());
    let mut taken: Vec<&str> = since_last.iter().filter(reloaded).map(String::as_str).collect();
    taken.push("the secrets of tokens and webhooks");
    let taken = taken.join(", ");
    let kept: Vec<&str> = since_start.iter().filter(|key| !reloaded(key)).map(String::as_str).collect();
    if kept.is_empty() {
        tracing::info!(taken, "the configuration was read again");
        return None;
    }
    let restart = kept.join(", ");
    tracing::warn!(taken, restart, "the configuration was read again, and a part of it takes a restart of the daemon");
    Some(format!("{restart} changed, which takes a restart of the daemon"))
}

/// The keys with another value, as the documentation names them.
fn changed(before: &Config, after: &Config) -> Vec<String> {
    let (before, after) = (keys_of(before), keys_of(after));
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    all.into_iter().filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

fn keys_of(config: &Config) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    let Ok(Value::Object(sections)) = serde_json::to_value(config) else { return keys };
    for (name, section) in sections {
        match section {
            Value::Object(section) => {
                keys.extend(section.into_iter().map(|(key, value)| (format!("[{name}] {key}"), value)));
            }
            value => {
                keys.insert(name, value);
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_at_once_is_told_from_what_takes_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trimtab.toml");
        let read = |text: &str| {
            std::fs::write(&path, format!("{text}[source]\nurl = 'x'\npoll = '2s'\n")).unwrap();
            Config::read(&path).unwrap()
        };
        let before = read("");
        let after = read("installation = 'other'\n[log]\nlevel = 'debug'\nformat = 'json'\n");
        assert_eq!(changed(&before, &before), Vec::<String>::new());
        let found = changed(&before, &after);
        assert_eq!(found, ["[log] format", "[log] level", "installation"]);
        let told = tell(&found, &found).unwrap();
        assert!(told.starts_with("[log] format, installation changed"), "{told}");
        assert_eq!(tell(&[], &["[log] level".into()]), None);
    }

    #[test]
    fn every_key_that_is_reloaded_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trimtab.toml");
        std::fs::write(&path, "[source]\nurl = 'x'\n").unwrap();
        let known = keys_of(&Config::read(&path).unwrap());
        assert!(RELOADED.iter().all(|key| known.contains_key(*key)), "{known:?}");
    }
}
