//! `trimtab man`: the manual pages, one for each verb.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;

use super::context::finish;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, View, write_out};

/// Writes the manual pages into a folder, one for each verb: `trimtab man /usr/local/share/man/man1`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The folder; it is made if it is not there
    dir: PathBuf,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = View::of_stdout(Format::Table);
    let written = write(&args.dir).map(|count| {
        write_out(&format!("{count} pages in {}\n", args.dir.display()));
        Exit::Ok
    });
    finish(&view, written)
}

fn write(dir: &Path) -> Result<usize, CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("{} can't be written: {error}", dir.display()));
    fs::create_dir_all(dir).map_err(failed)?;
    let mut command = super::Cli::command();
    command.build();
    let mut pages = Vec::new();
    collect(&command, "trimtab", &mut pages);
    for (name, page) in &pages {
        fs::write(dir.join(format!("{name}.1")), page).map_err(failed)?;
    }
    Ok(pages.len())
}

/// The pages of a verb and of those below it that are not hidden.
fn collect(command: &clap::Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let mut page = Vec::new();
    // Writing to memory can't fail.
    let _ = clap_mangen::Man::new(command.clone()).title(name.to_uppercase()).render(&mut page);
    pages.push((name.to_owned(), page));
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
        collect(verb, &format!("{name}-{}", verb.get_name()), pages);
    }
}
