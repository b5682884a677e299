//! `trimtab router`.

use std::process::ExitCode;

/// Runs the router.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: Args) -> ExitCode {
    ExitCode::SUCCESS
}
