//! Reading the configuration again while the daemon runs: tokens, webhooks, the poll and the log level change; the rest needs a
//! restart, and is told.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::config::Config;
use super::doors::Keys;
use super::reconciler::Reconciler;
use crate::net::notify;

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

/// Reads the configuration whenever it is asked for.
pub async fn run(mut reloads: Reloads, mut known: Config, keys: Keys, reconciler: Arc<Reconciler>, error: ConfigError) {
    while reloads.asked.recv().await.is_some() {
        notify::reloading();
        match take(&reloads, &known, &keys, &reconciler) {
            Ok(config) => {
                let kept = needs_restart(&known, &config);
                known = config;
                if kept.is_empty() {
                    tracing::info!("the configuration was read again");
                    error.set(None);
                } else {
                    let reason = format!("{} changed: that takes a restart of the daemon", kept.join(", "));
                    tracing::warn!("the configuration was read again; {reason}");
                    error.set(Some(reason));
                }
            }
            Err(reason) => {
                tracing::error!(%reason, "the configuration was not taken: the one before stays in force");
                error.set(Some(format!("{reason}; the configuration before stays in force")));
            }
        }
        notify::ready();
    }
}

fn take(reloads: &Reloads, known: &Config, keys: &Keys, reconciler: &Reconciler) -> Result<Config, String> {
    let config = Config::read(&reloads.file).map_err(|error| error.to_string())?;
    // The branch that hooks follow is the one that is followed.
    let mut meant = config.clone();
    meant.source.branch.clone_from(&known.source.branch);
    (reloads.level)(config.log.level.as_deref())?;
    keys.replace(&meant).map_err(|error| format!("{error:#}"))?;
    reconciler.set_poll(config.source.poll.duration());
    Ok(config)
}

/// The sections that changed and that are only read at the start.
fn needs_restart(known: &Config, config: &Config) -> Vec<&'static str> {
    let plain = |config: &Config| {
        let mut config = config.clone();
        config.source.poll = crate::domain::span::Span::ZERO;
        config.api.tokens.clear();
        config.hooks.from.clear();
        config.hooks.rate = std::num::NonZeroU32::MIN;
        config.log.level = None;
        serde_json::to_value(config).unwrap_or_default()
    };
    let (before, after) = (plain(known), plain(config));
    let sections = [
        "installation",
        "state_dir",
        "source",
        "api",
        "hooks",
        "outgoing",
        "log",
        "supervisor",
        "router",
        "rollback",
        "removal",
        "retention",
        "secrets",
    ];
    sections.into_iter().filter(|section| before.get(section) != after.get(section)).collect()
}
