//! `trimtab shim`.

use std::process::ExitCode;

/// Runs the shim.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: Args) -> ExitCode {
    ExitCode::SUCCESS
}
