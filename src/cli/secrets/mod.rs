//! `trimtab secrets`: the encrypted files of a configuration repository, made, read, edited, checked.

mod check;
mod decrypt;
mod edit;
mod encrypt;
mod inline;
pub mod keygen;
mod repository;
mod rotate;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

pub use repository::{IDENTITY_FILE, Repository, make_digest_key};

use super::error::CliError;
use crate::secrets::file::Sealed;
use crate::secrets::{MAX_FILE_BYTES, harden};

/// Makes, reads, edits and checks the encrypted files of a configuration repository.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    Keygen(keygen::Args),
    Encrypt(encrypt::Args),
    Decrypt(decrypt::Args),
    Edit(edit::Args),
    Rotate(rotate::Args),
    Check(check::Args),
}

/// What identities a verb reads with.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Keys {
    /// A file with identities (age, or an ssh private key); may be given more than once. Beside it $TRIMTAB_IDENTITY, the
    /// systemd credential trimtab-identity, and identity.txt at the root of the repository are read
    #[arg(short = 'i', long = "identity", value_name = "FILE", help_heading = "Secrets")]
    pub identity: Vec<PathBuf>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    harden::no_core_dumps();
    match args.verb {
        Verb::Keygen(args) => keygen::run(args),
        Verb::Encrypt(args) => encrypt::run(args),
        Verb::Decrypt(args) => decrypt::run(args),
        Verb::Edit(args) => edit::run(args),
        Verb::Rotate(args) => rotate::run(args),
        Verb::Check(args) => check::run(args),
    }
}

/// Reads a file of ciphertext.
fn read(path: &Path) -> Result<Sealed, CliError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::not_found(format!("there is no file {}", path.display())),
        _ => CliError::failed(format!("{} can't be read: {error}", path.display())),
    };
    // What is no regular file, such as a pipe, does not say before how long it is.
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).map_err(failed)?;
    opened.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(CliError::invalid(format!("{} has more than {MAX_FILE_BYTES} bytes", path.display())));
    }
    Ok(Sealed { path: path.to_string_lossy().into_owned(), key: None, bytes: bytes.into() })
}

/// What takes the place of a file is on the disk before it does.
fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Replaces a file as a whole, or leaves it as it is. Its mode stays.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("{} can't be written: {error}", path.display()));
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let temporary = path.with_file_name(name);
    let replaced = write_synced(&temporary, bytes).and_then(|()| {
        if let Ok(before) = std::fs::metadata(path) {
            let _ = std::fs::set_permissions(&temporary, before.permissions());
        }
        std::fs::rename(&temporary, path)
    });
    replaced.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        failed(error)
    })
}
