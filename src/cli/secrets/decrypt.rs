//! `trimtab secrets decrypt`: the value of a file, for whoever may read it.

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Keys, Repository, read};
use crate::cli::context::finish;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, View, write_bytes};
use crate::secrets::open::{OpenError, open};

/// Prints the value of an age file, or one value of a file of SOPS.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The encrypted file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The value within it: its keys joined by dots
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    keys: Keys,
}

pub(super) fn run(args: Args) -> ExitCode {
    finish(&View::of_stdout(Format::Table), decrypt(&args))
}

fn decrypt(args: &Args) -> Result<Exit, CliError> {
    let repository = Repository::around(&args.file);
    let found = repository.identities(&args.keys)?;
    let mut sealed = read(&args.file)?;
    sealed.key.clone_from(&args.key);
    let value = open(&sealed, &found.identities).map_err(|error| refused(&sealed.path, &error, &found.problems))?;
    write_bytes(value.expose());
    Ok(Exit::Ok)
}

/// Why a file can't be opened, with what to do about it.
pub(super) fn refused(path: &str, error: &OpenError, problems: &[String]) -> CliError {
    let message = format!("{path}: {error}");
    match error {
        OpenError::NoIdentity => {
            let told = problems.iter().fold(CliError::refused(message), |error, problem| error.remedy(problem.clone()));
            told.remedy("name an identity with -i FILE, or in $TRIMTAB_IDENTITY")
        }
        OpenError::NotARecipient { .. } => CliError::refused(message)
            .remedy("somebody who reads it adds your recipient to .age-recipients and runs `trimtab secrets rotate`"),
        OpenError::NoSuchKey { .. } => CliError::not_found(message),
        OpenError::Unusable(_) => CliError::invalid(message),
    }
}
