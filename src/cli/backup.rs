//! `trimtab backup` and `trimtab restore`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::context::{CONFIG_FILES, Printing, finish, read_config};
use super::error::CliError;
use super::exit::Exit;
use super::output::View;
use crate::app::config::Config;
use crate::wiring::backup::{self, BackupError, Made, Restored};

/// Copies the daemon's state into one file, while the daemon runs or not: what was decided, verified, quarantined, the audit log, and all
/// that a rollback needs. Secrets are in it as Git has them, encrypted: no identity, no token, no decrypted value.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The file to write; one that exists is left alone
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Encrypt it to this recipient (age1..., age1pq1..., ssh-ed25519 ...); may be given several times
    #[arg(long, value_name = "RECIPIENT")]
    recipient: Vec<String>,
    /// The daemon's configuration [default: trimtab.toml, then /etc/trimtab/trimtab.toml]
    #[arg(long, env = "TRIMTAB_CONFIG", value_name = "FILE", help_heading = "Daemon")]
    config: Option<PathBuf>,
    #[command(flatten)]
    printing: Printing,
}

/// Puts the state of a backup in place, with the daemon stopped; workloads go on. What was there is kept beside it. The daemon
/// that starts from it changes nothing before it has read Git and looked at what runs.
#[derive(Clone, Debug, clap::Args)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A file with an age identity or an ssh private key, for an encrypted backup
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// The daemon's configuration [default: trimtab.toml, then /etc/trimtab/trimtab.toml]
    #[arg(long, env = "TRIMTAB_CONFIG", value_name = "FILE", help_heading = "Daemon")]
    config: Option<PathBuf>,
    #[command(flatten)]
    printing: Printing,
}

/// Runs `trimtab backup`.
pub fn run(args: Args) -> ExitCode {
    let view = args.printing.view();
    let made = config(args.config.as_deref()).and_then(|config| {
        backup::backup(&config, &args.file, &args.recipient).map_err(|error| told(&error, &args.file))
    });
    finish(
        &view,
        made.map(|made| {
            view.print(&made, |view| made_text(&made, view));
            Exit::Ok
        }),
    )
}

/// Runs `trimtab restore`.
pub fn run_restore(args: RestoreArgs) -> ExitCode {
    let view = args.printing.view();
    let restored = config(args.config.as_deref()).and_then(|config| {
        let restored = super::block_on(backup::restore(&config, &args.file, &args.identity));
        restored.map_err(|error| told(&error, &args.file))
    });
    finish(
        &view,
        restored.map(|restored| {
            view.print(&restored, |view| restored_text(&restored, view));
            Exit::Ok
        }),
    )
}

fn config(named: Option<&Path>) -> Result<Config, CliError> {
    let usual = || CONFIG_FILES.iter().map(PathBuf::from).find(|file| file.exists());
    let file = named.map(Path::to_owned).or_else(usual).ok_or_else(|| {
        CliError::not_found("there is no configuration here: name the daemon's with --config")
            .remedy(format!("it is looked for as {}", CONFIG_FILES.join(" and ")))
    })?;
    read_config(&file)
}

fn made_text(made: &Made, view: &View) -> String {
    let sealed = if made.encrypted { ", encrypted" } else { "" };
    let file = made.file.display().to_string();
    format!(
        "{} records, {} of the audit log and {} ciphertexts in {} ({} bytes of state{sealed})\n",
        made.records,
        made.audited,
        made.ciphertexts,
        view.clean(&file),
        made.size
    )
}

fn restored_text(restored: &Restored, view: &View) -> String {
    let Restored { created, records, units, before, missing } = restored;
    let mut text = format!("{records} records of {units} units are back, as they were at {created}\n");
    if let Some(before) = before {
        text.push_str(&format!("what was there before lies in {}\n", view.clean(&before.display().to_string())));
    }
    if !missing.is_empty() {
        text.push_str(&format!(
            "{} artifacts are not here and will be fetched again when they are needed\n",
            missing.len()
        ));
    }
    text.push_str("start the daemon; it looks at Git and at what runs before it changes anything: `trimtab status`\n");
    text
}

/// What failed, with the exit code of its kind.
fn told(error: &anyhow::Error, file: &Path) -> CliError {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        // Some say already what is behind them.
        if !message.ends_with(&cause) {
            message.push_str(if message.is_empty() { "" } else { ": " });
            message.push_str(&cause);
        }
    }
    if backup::is_held(error) {
        return CliError::refused(format!(
            "{} is not restored: a daemon uses the state; nothing was changed",
            file.display()
        ))
        .remedy("stop it first, for example `systemctl stop trimtab-daemon`; workloads go on without it");
    }
    match error.downcast_ref() {
        Some(BackupError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            CliError::not_found(message)
        }
        Some(BackupError::Unsound { .. } | BackupError::Newer { .. } | BackupError::Key(_)) => {
            CliError::invalid(message)
        }
        Some(BackupError::Io { .. }) | None => CliError::failed(message),
    }
}
