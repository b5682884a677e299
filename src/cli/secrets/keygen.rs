//! `trimtab secrets keygen`: a new identity, or the recipient of one.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::context::finish;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, View, write_err, write_out};
use crate::secrets::find;
use crate::secrets::identity::Identity;
use crate::secrets::post_quantum;

/// Makes a new identity. Its recipient, which may be told to everybody, is printed; the identity itself is a secret.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Write the identity to this file, with mode 0600; without, it is printed
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Make one that withstands quantum computers; files can be for such recipients only, or for others only
    #[arg(long)]
    post_quantum: bool,
    /// Print the recipients of an identity file instead
    #[arg(short = 'y', value_name = "FILE", conflicts_with_all = ["file", "post_quantum"])]
    recipient_of: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> ExitCode {
    finish(&View::of_stdout(Format::Table), keygen(&args))
}

fn keygen(args: &Args) -> Result<Exit, CliError> {
    if let Some(file) = &args.recipient_of {
        let identities = find::from_file(file).map_err(|error| CliError::invalid(error.to_string()))?;
        for recipient in identities.iter().filter_map(Identity::recipient) {
            write_out(&format!("{recipient}\n"));
        }
        return Ok(Exit::Ok);
    }
    let identity = new_identity(args.post_quantum);
    let Some(file) = &args.file else {
        write_out(&text(&identity));
        return Ok(Exit::Ok);
    };
    write(file, &identity)?;
    write_err(&format!("the identity is in {}: keep it and a copy of it safe, and never commit it\n", file.display()));
    if let Some(recipient) = identity.recipient() {
        write_out(&format!("{recipient}\n"));
    }
    Ok(Exit::Ok)
}

/// A new identity.
pub fn new_identity(post_quantum: bool) -> Identity {
    match post_quantum {
        true => Identity::PostQuantum(Box::new(post_quantum::Identity::generate())),
        false => Identity::X25519(Box::new(age::x25519::Identity::generate())),
    }
}

/// An identity file's text.
fn text(identity: &Identity) -> String {
    let recipient = identity.recipient().map(|recipient| recipient.to_string()).unwrap_or_default();
    let secret = identity.to_text().map(|text| text.to_string()).unwrap_or_default();
    format!("# public key: {recipient}\n{secret}\n")
}

/// Writes a new identity file that only its owner reads.
pub fn write(file: &std::path::Path, identity: &Identity) -> Result<(), CliError> {
    let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    match created.and_then(|mut opened| opened.write_all(text(identity).as_bytes())) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(CliError::refused(format!(
            "{} is there already, and what it reads would be lost with it",
            file.display()
        ))
        .remedy("name another file; an identity file may hold several, a line each")),
        written => written.map_err(|error| CliError::failed(format!("{} can't be written: {error}", file.display()))),
    }
}
