//! `trimtab shim`: started by the supervisor for each program, never by people.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::Exit;
use crate::supervisor::shim;

/// Serves one launch of the supervisor.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The launch's folder
    dir: PathBuf,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    match shim::run(&args.dir) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            eprintln!("shim: {error}");
            Exit::Failed.into()
        }
    }
}
