//! `trimtab completions`: what a shell needs to complete command lines.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::output::write_out;

/// Prints the completions of a shell: `trimtab completions bash > /etc/bash_completion.d/trimtab`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "trimtab", &mut script);
    write_out(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}
