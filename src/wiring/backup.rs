//! Backup and restore of a daemon's state, without a daemon.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;

use crate::adapters::backup::{self, FORMAT, Manifest};
use crate::adapters::journal::sqlite::{self, Place, SqliteJournal};
use crate::app::config::Config;
use crate::app::restored;
use crate::ports::journal::{Journal, JournalError};

pub use crate::adapters::backup::BackupError;

/// What a backup holds.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// The file.
    pub file: PathBuf,
    /// How many records.
    pub records: u64,
    /// The journal's bytes.
    pub size: u64,
    /// Whether it is encrypted.
    pub encrypted: bool,
}

/// What was restored.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// When the backup was made.
    pub created: Timestamp,
    /// How many records.
    pub records: u64,
    /// How many units are known.
    pub units: usize,
    /// Where the state that was there before lies now.
    pub before: Option<PathBuf>,
    /// Artifacts that the backup knew and that are not here: they are fetched again when they are needed.
    pub missing: Vec<String>,
}

/// Copies the state as it is at one moment into a file, also while a daemon runs.
///
/// # Errors
///
/// [`JournalError`] or [`BackupError`] inside: there is no journal, it is damaged, the file exists or can't be written.
pub fn backup(config: &Config, to: &Path, recipients: &[String]) -> anyhow::Result<Made> {
    let scratch = scratch(config, "backup")?;
    let copy = scratch.path().join("journal.db");
    let records = sqlite::copy(&journal(config), &copy)?;
    let (size, sha256) = backup::sum(&copy)?;
    let manifest = Manifest {
        format: FORMAT,
        trimtab: env!("CARGO_PKG_VERSION").into(),
        installation: config.installation.to_string(),
        created: crate::clock::now(),
        records,
        size,
        sha256,
        artifacts: artifacts(config).into_iter().collect(),
    };
    backup::write(to, &manifest, &copy, recipients)?;
    Ok(Made { file: to.to_owned(), records, size, encrypted: !recipients.is_empty() })
}

/// Puts the state of a backup in the place of what is there, which is kept beside it.
///
/// # Errors
///
/// [`JournalError`] or [`BackupError`] inside: a daemon runs, the backup is not sound, of a later version or of another
/// installation. Nothing has changed then.
pub async fn restore(config: &Config, from: &Path, identities: &[PathBuf]) -> anyhow::Result<Restored> {
    std::fs::create_dir_all(&config.state_dir)
        .with_context(|| format!("the state folder {} can't be made", config.state_dir.display()))?;
    let place = Place::hold(&journal(config))?;
    let scratch = scratch(config, "restore")?;
    let copy = scratch.path().join("journal.db");
    let manifest = backup::read(from, identities, &copy)?;
    if manifest.installation != config.installation.as_str() {
        return Err(unsound(
            from,
            format!("it is of installation {}, not of {}", manifest.installation, config.installation),
        ));
    }
    let opened = SqliteJournal::open(&copy, false)?;
    let records = opened.verify().await?;
    if records != manifest.records {
        return Err(unsound(from, format!("it has {records} records, not the {} that it names", manifest.records)));
    }
    let now = crate::clock::now();
    let opened: Arc<dyn Journal> = Arc::new(opened);
    let units = restored::mark(opened, manifest.created, now).await?;
    let aside = config.state_dir.join(format!("before-restore-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    let before = place.put(&copy, &aside)?.then_some(aside);
    let here = artifacts(config);
    let missing = manifest.artifacts.into_iter().filter(|name| !here.contains(name)).collect();
    Ok(Restored { created: manifest.created, records, units, before, missing })
}

fn journal(config: &Config) -> PathBuf {
    config.state_dir.join("journal.db")
}

fn unsound(path: &Path, reason: String) -> anyhow::Error {
    BackupError::Unsound { path: path.to_owned(), reason }.into()
}

/// The artifacts that are kept, by their names.
fn artifacts(config: &Config) -> BTreeSet<String> {
    let entries = std::fs::read_dir(config.state_dir.join("artifacts")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with("tree-") || name.starts_with("url-")).collect()
}

/// A folder beside the journal for what is not in place yet; it goes when its maker ends.
struct Scratch(PathBuf);

impl Scratch {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn scratch(config: &Config, what: &str) -> anyhow::Result<Scratch> {
    use std::os::unix::fs::DirBuilderExt;
    let path = config.state_dir.join(format!(".{what}-{}", std::process::id()));
    let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
    made.with_context(|| format!("{} can't be made: is this the daemon's user?", path.display()))?;
    Ok(Scratch(path))
}

/// Whether a daemon uses the state.
pub fn is_held(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(JournalError::Held { .. }))
}
