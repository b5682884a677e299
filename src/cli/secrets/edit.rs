//! `trimtab secrets edit`: values in an editor, in memory, encrypted again where they changed.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::{Keys, Repository, decrypt, read, replace};
use crate::cli::context::finish;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::{Format, View, write_err};
use crate::secrets::open::open;
use crate::secrets::recipient::Recipient;
use crate::secrets::{MAX_FILE_BYTES, SecretBytes, seal};

/// Opens the values of age files in $VISUAL or $EDITOR, in a folder in memory that nobody else enters, and encrypts those
/// anew that were changed, to the recipients in force. A file that is not there yet is made.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The age files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    keys: Keys,
}

pub(super) fn run(args: Args) -> ExitCode {
    finish(&View::of_stdout(Format::Table), edit(&args))
}

fn edit(args: &Args) -> Result<Exit, CliError> {
    let room = Room::make()?;
    for file in &args.files {
        one(file, &args.keys, &room)?;
    }
    Ok(Exit::Ok)
}

fn one(file: &Path, keys: &Keys, room: &Room) -> Result<(), CliError> {
    let repository = Repository::around(file);
    // Before anybody types anything that could then not be encrypted.
    let recipients = repository.recipients(file)?;
    let (before, armored) = match file.exists() {
        false => (None, true),
        true => {
            let sealed = read(file)?;
            if !seal::is_age(&sealed.bytes) {
                return Err(CliError::invalid(format!("{} is no age file", file.display()))
                    .remedy("files of SOPS are edited with `sops edit`; `trimtab secrets encrypt` makes age files"));
            }
            let found = repository.identities(keys)?;
            let value = open(&sealed, &found.identities);
            let value = value.map_err(|error| decrypt::refused(&sealed.path, &error, &found.problems))?;
            (Some(value), seal::is_armored(&sealed.bytes))
        }
    };
    let after = room.edit(file, before.as_ref())?;
    if before.as_ref() == Some(&after) || (before.is_none() && after.expose().is_empty()) {
        write_err(&format!("{} is as it was\n", file.display()));
        return Ok(());
    }
    save(file, &after, &recipients, armored)?;
    if repository.ensure_digest_key()? {
        write_err("made the key by which changed secrets are told: commit it, too\n");
    }
    write_err(&format!("{} is encrypted anew to {} recipients\n", file.display(), recipients.len()));
    Ok(())
}

fn save(file: &Path, value: &SecretBytes, recipients: &[Recipient], armored: bool) -> Result<(), CliError> {
    let sealed = seal::seal(value, recipients, armored).map_err(|error| CliError::failed(error.to_string()))?;
    replace(file, &sealed)
}

/// A folder in memory for as long as the editor runs.
struct Room(PathBuf);

impl Room {
    fn make() -> Result<Self, CliError> {
        let bases =
            [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some("/dev/shm".into()), Some("/run".into())];
        let in_memory = |base: &PathBuf| statfs(base).is_ok_and(|found| found.filesystem_type() == TMPFS_MAGIC);
        for base in bases.into_iter().flatten().filter(in_memory) {
            let folder = base.join(format!("trimtab-edit-{}", uuid::Uuid::now_v7().simple()));
            if fs::DirBuilder::new().mode(0o700).create(&folder).is_ok() {
                return Ok(Room(folder));
            }
        }
        Err(CliError::refused(
            "there is no writable tmpfs (/dev/shm, /run), and values are not written to a disk in clear",
        )
        .remedy("`trimtab secrets decrypt` and `trimtab secrets encrypt` need none"))
    }

    fn edit(&self, file: &Path, before: Option<&SecretBytes>) -> Result<SecretBytes, CliError> {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let path = self.0.join(name.strip_suffix(".age").unwrap_or(&name));
        let failed = |error: std::io::Error| CliError::failed(format!("{} can't be edited: {error}", path.display()));
        let mut opened =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
        opened.write_all(before.map(SecretBytes::expose).unwrap_or_default()).map_err(failed)?;
        drop(opened);
        let editor =
            ["VISUAL", "EDITOR"].into_iter().find_map(|name| std::env::var(name).ok().filter(|e| !e.is_empty()));
        let editor = editor.unwrap_or_else(|| "vi".to_owned());
        // Through the shell, since `EDITOR="code --wait"` is usual; the path is an argument, never part of the text.
        let script = format!("{editor} \"$1\"");
        let status = Command::new("/bin/sh").args(["-c", &script, "sh"]).arg(&path).status().map_err(failed)?;
        if !status.success() {
            return Err(CliError::failed(format!("the editor ({editor}) ended with {status}: nothing was changed"))
                .remedy("set $EDITOR to an editor that is there"));
        }
        let bytes = fs::read(&path).map_err(failed)?;
        let _ = fs::remove_file(&path);
        if bytes.len() > MAX_FILE_BYTES {
            return Err(CliError::invalid(format!("more than {MAX_FILE_BYTES} bytes: nothing was changed")));
        }
        Ok(bytes.into())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                write_err(&format!("{} can't be removed: {error}; remove it by hand\n", self.0.display()));
            }
            _ => {}
        }
    }
}
