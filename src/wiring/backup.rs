//! Backup and restore of a daemon's state, without a daemon.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;

use crate::adapters::audit::{self, AuditLog};
use crate::adapters::backup::{self, CIPHERTEXTS, FORMAT, JOURNAL, Manifest, PARTS, Part, ciphertexts};
use crate::adapters::journal::sqlite::{self, Place, SqliteJournal};
use crate::app::config::Config;
use crate::app::restored;
use crate::domain::audit::Entry;
use crate::ports::audit::Audit;
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
    /// How many records of the audit log.
    pub audited: u64,
    /// How many ciphertexts of secrets.
    pub ciphertexts: usize,
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
    let copy = scratch.path().join(JOURNAL);
    // What the audit log says was followed is in the journal that is copied after it.
    let audited = audit::copy::copy(&config.state_dir, scratch.path())?.unwrap_or(0);
    let (vault, sealed) = (vault(config), scratch.path().join("secrets"));
    let failed = || format!("{} can't be copied", vault.display());
    ciphertexts::collect(&vault, &sealed).with_context(failed)?;
    let records = sqlite::copy(&journal(config), &copy)?;
    ciphertexts::collect(&vault, &sealed).with_context(failed)?;
    let ciphertexts = ciphertexts::pack(&sealed, &scratch.path().join(CIPHERTEXTS)).with_context(failed)?;
    let (size, sha256) = backup::sum(&copy)?;
    let there = PARTS.into_iter().filter(|name| scratch.path().join(name).exists());
    let parts = there.map(|name| Part::of(scratch.path(), name)).collect::<Result<_, _>>()?;
    let manifest = Manifest {
        format: FORMAT,
        trimtab: env!("CARGO_PKG_VERSION").into(),
        installation: config.installation.to_string(),
        created: crate::clock::now(),
        records,
        size,
        sha256,
        artifacts: artifacts(config).into_iter().collect(),
        parts,
    };
    backup::write(to, &manifest, scratch.path(), recipients)?;
    let encrypted = !recipients.is_empty();
    Ok(Made { file: to.to_owned(), records, audited, ciphertexts, size, encrypted })
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
    let copy = scratch.path().join(JOURNAL);
    let manifest = backup::read(from, identities, scratch.path())?;
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
    if scratch.path().join(CIPHERTEXTS).exists() {
        let put = ciphertexts::unpack(&scratch.path().join(CIPHERTEXTS), &vault(config));
        put.with_context(|| format!("the ciphertexts of secrets can't be put into {}", vault(config).display()))?;
        hand_over(config, &vault(config))?;
    }
    let moved = audit::copy::put(scratch.path(), &config.state_dir, &aside)?;
    let put = recorded(config, from, &manifest, || place.put(&copy, &aside)).await;
    for name in ["audit.db", "audit.head"].map(|name| config.state_dir.join(name)) {
        hand_over(config, &name)?;
    }
    let before = (put? || moved).then_some(aside);
    let here = artifacts(config);
    let missing = manifest.artifacts.into_iter().filter(|name| !here.contains(name)).collect();
    Ok(Restored { created: manifest.created, records, units, before, missing })
}

/// Restores, with a record in the audit log before and after: who can't be recorded does not restore.
async fn recorded(
    config: &Config,
    from: &Path,
    manifest: &Manifest,
    restore: impl FnOnce() -> Result<bool, JournalError>,
) -> anyhow::Result<bool> {
    let log = AuditLog::open(&config.state_dir)?;
    let asked = Entry {
        actor: crate::api::server::user_name(nix::unistd::Uid::effective().as_raw()),
        action: "restore".into(),
        subject: from.display().to_string(),
        detail: serde_json::json!({ "created": manifest.created, "records": manifest.records }).to_string(),
        outcome: "asked".into(),
        of: None,
    };
    let seq = log.append(crate::clock::now(), asked.clone()).await?;
    let done = restore();
    let outcome = done.as_ref().map_or_else(ToString::to_string, |_| "done".into());
    log.append(crate::clock::now(), Entry { outcome, of: Some(seq), detail: String::new(), ..asked }).await?;
    Ok(done?)
}

/// Gives a file, or a folder with all that is in it, to whoever owns the state: who restores may be root.
fn hand_over(config: &Config, path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let give = || -> std::io::Result<()> {
        let owner = std::fs::metadata(&config.state_dir)?;
        let inside = if path.is_dir() { std::fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()? } else { Vec::new() };
        let inside = inside.iter().map(std::fs::DirEntry::path);
        inside.chain([path.to_owned()]).try_for_each(|path| chown(path, Some(owner.uid()), Some(owner.gid())))
    };
    give().with_context(|| format!("{} can't be given to the daemon's user", path.display()))
}

fn vault(config: &Config) -> PathBuf {
    config.state_dir.join("secrets")
}

fn journal(config: &Config) -> PathBuf {
    config.state_dir.join(JOURNAL)
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
