//! `trimtab secrets encrypt`: an age file for whom the repository says.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Repository, replace};
use crate::cli::context::finish;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, View, write_err, write_out};
use crate::domain::secret::DIGEST_KEY_FILE;
use crate::secrets::recipient::Recipient;
use crate::secrets::{MAX_FILE_BYTES, SecretBytes, seal};

/// Encrypts a value to the recipients that the nearest .age-recipients file lists, or to those that are named.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The file with the value [default: standard input]
    #[arg(value_name = "FILE")]
    input: Option<PathBuf>,
    /// Write the age file here instead of to standard output
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A recipient (age1..., age1pq1..., ssh-ed25519 ...), instead of those that the repository lists; may be given more than once
    #[arg(short = 'r', long = "recipient", value_name = "RECIPIENT")]
    recipients: Vec<String>,
    /// Write binary instead of text
    #[arg(long, requires = "file")]
    binary: bool,
}

pub(super) fn run(args: Args) -> ExitCode {
    finish(&View::of_stdout(Format::Table), encrypt(&args))
}

fn encrypt(args: &Args) -> Result<Exit, CliError> {
    let place = args.file.clone().unwrap_or_else(|| PathBuf::from("./-"));
    let repository = Repository::around(&place);
    let recipients = match args.recipients.is_empty() {
        true => repository.recipients(&place)?,
        false => {
            let parsed: Result<Vec<_>, String> = args.recipients.iter().map(|text| Recipient::parse(text)).collect();
            parsed.map_err(|reason| CliError::invalid(format!("a recipient can't be used: {reason}")))?
        }
    };
    let sealed = seal::seal(&value(args)?, &recipients, !args.binary);
    let sealed = sealed.map_err(|error| CliError::invalid(error.to_string()))?;
    match &args.file {
        Some(file) => replace(file, &sealed)?,
        None => write_out(&String::from_utf8_lossy(&sealed)),
    }
    if args.recipients.is_empty() && repository.ensure_digest_key()? {
        write_err(&format!("made {DIGEST_KEY_FILE}, by which changed secrets are told: commit it, too\n"));
    }
    Ok(Exit::Ok)
}

fn value(args: &Args) -> Result<SecretBytes, CliError> {
    let limit = MAX_FILE_BYTES as u64 + 1;
    let mut bytes = Vec::with_capacity(64 << 10);
    let read = match &args.input {
        Some(path) => std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
        None => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
    };
    let named = args.input.as_ref().map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
    read.map_err(|error| CliError::failed(format!("{named} can't be read: {error}")))?;
    match bytes.len() {
        0 => Err(CliError::invalid(format!("{named} is empty")).remedy("printf %s VALUE | trimtab secrets encrypt")),
        length if length > MAX_FILE_BYTES => {
            Err(CliError::invalid(format!("{named} has more than {MAX_FILE_BYTES} bytes")))
        }
        _ => Ok(bytes.into()),
    }
}
