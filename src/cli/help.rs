//! `trimtab help TOPIC`: what is about no single verb.

use std::process::ExitCode;

use clap::{CommandFactory, Subcommand};

use super::exit::Exit;
use super::output::write_out;

/// Explains what is about no single verb.
#[derive(Clone, Debug, Subcommand)]
pub enum Topic {
    /// The exit codes of all verbs
    ExitCodes,
    /// The help of a verb, as its --help prints it
    #[command(external_subcommand)]
    Verb(Vec<String>),
}

/// Explains a topic or a verb.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    topic: Option<Topic>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let mut command = super::Cli::command();
    command.build();
    match args.topic {
        None => write_out(&command.render_long_help().to_string()),
        Some(Topic::ExitCodes) => {
            write_out(&format!("The exit codes of all verbs; scripts can rely on them.\n\n{}", Exit::list()));
        }
        Some(Topic::Verb(path)) => {
            let mut found = &mut command;
            for name in &path {
                let Some(next) = found.find_subcommand_mut(name) else {
                    super::output::write_err(&format!("error: no verb `{name}`; `trimtab help` lists them\n"));
                    return Exit::Invalid.into();
                };
                found = next;
            }
            write_out(&found.render_long_help().to_string());
        }
    }
    ExitCode::SUCCESS
}
