//! The command line: one file a verb. A verb has its arguments (`Args`) and `run`.

pub mod ack;
pub mod audit;
pub mod backup;
pub mod check;
pub mod completions;
pub mod context;
pub mod daemon;
pub mod demo;
pub mod demo_app;
pub mod error;
pub mod events;
pub mod exit;
pub mod folder;
pub mod get;
pub mod help;
pub mod init;
pub mod logging;
pub mod logs;
pub mod man;
pub mod output;
pub mod plan;
pub mod quarantine;
pub mod reconcile;
pub mod reference;
pub mod render;
pub mod restart;
pub mod rollback;
pub mod rollout;
pub mod router;
pub mod schema;
pub mod secrets;
pub mod select;
pub mod shim;
pub mod status;
pub mod supervisor;
pub mod suspend;
pub mod units;
pub mod validate;
pub mod watching;
pub mod why;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use self::error::CliError;
use self::exit::Exit;

/// GitOps for this machine and others: a push becomes a safe rollout, and a bad one a Git revert.
#[derive(Debug, Parser)]
#[command(
    name = "trimtab",
    version,
    max_term_width = 120,
    disable_help_subcommand = true,
    after_help = "`trimtab help exit-codes` lists the exit codes."
)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Demo(demo::Args),
    Plan(plan::Args),
    Diff(plan::DiffArgs),
    Init(init::Args),
    Validate(validate::Args),
    Render(render::Args),
    Status(status::Args),
    Get(get::Args),
    Events(events::Args),
    Why(why::Args),
    Rollout(rollout::Args),
    Rollback(rollback::Args),
    Restart(restart::Args),
    Reconcile(reconcile::Args),
    Suspend(suspend::Args),
    Unsuspend(suspend::UnsuspendArgs),
    Quarantine(quarantine::Args),
    Ack(ack::Args),
    Audit(audit::Args),
    Logs(logs::Args),
    Check(check::Args),
    Secrets(secrets::Args),
    Backup(backup::Args),
    Restore(backup::RestoreArgs),
    Daemon(daemon::Args),
    Router(router::Args),
    Supervisor(supervisor::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
    Help(help::Args),
    #[command(hide = true)]
    Shim(shim::Args),
    #[command(hide = true)]
    DemoApp(demo_app::Args),
}

/// Parses the arguments and runs the verb.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.verb {
        Verb::Demo(args) => demo::run(args),
        Verb::Plan(args) => plan::run(args),
        Verb::Diff(args) => plan::run_diff(args),
        Verb::Init(args) => init::run(args),
        Verb::Validate(args) => validate::run(args),
        Verb::Render(args) => render::run(args),
        Verb::Status(args) => status::run(args),
        Verb::Get(args) => get::run(args),
        Verb::Events(args) => events::run(args),
        Verb::Why(args) => why::run(args),
        Verb::Rollout(args) => rollout::run(args),
        Verb::Rollback(args) => rollback::run(args),
        Verb::Restart(args) => restart::run(args),
        Verb::Reconcile(args) => reconcile::run(args),
        Verb::Suspend(args) => suspend::run(args),
        Verb::Unsuspend(args) => suspend::run_unsuspend(args),
        Verb::Quarantine(args) => quarantine::run(args),
        Verb::Ack(args) => ack::run(args),
        Verb::Audit(args) => audit::run(args),
        Verb::Logs(args) => logs::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Secrets(args) => secrets::run(args),
        Verb::Backup(args) => backup::run(args),
        Verb::Restore(args) => backup::run_restore(args),
        Verb::Daemon(args) => daemon::run(args),
        Verb::Router(args) => router::run(args),
        Verb::Supervisor(args) => supervisor::run(args),
        Verb::Schema(args) => schema::run(args),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(args),
        Verb::Help(args) => help::run(args),
        Verb::Shim(args) => shim::run(args),
        Verb::DemoApp(args) => demo_app::run(args),
    }
}

/// What the arguments parser has to say: help and version on standard output, a wrong command line as an error, as JSON
/// where JSON was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let informs = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if !informs && asks_for_json(std::env::args()) {
        let text = error.render().to_string();
        let message = text.trim_start_matches("error: ").trim_end();
        output::write_error(output::Format::Json, &CliError::new(Exit::Invalid, "usage", message).json());
    } else if let Err(error) = error.print()
        && informs
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        output::write_err(&format!("error: standard output can't be written: {error}\n"));
        return Exit::Failed.into();
    }
    if informs { Exit::Ok.into() } else { Exit::Invalid.into() }
}

/// Whether a command line that could not be parsed asks for JSON.
fn asks_for_json(args: impl Iterator<Item = String>) -> bool {
    let mut before = String::new();
    for arg in args {
        let value = arg.strip_prefix("--output=").or_else(|| arg.strip_prefix("-o"));
        if value.map(|value| value.trim_start_matches('=')) == Some("json")
            || (matches!(before.as_str(), "-o" | "--output") && arg == "json")
        {
            return true;
        }
        before = arg;
    }
    false
}

/// Runs a future on a fresh multi-threaded runtime, after the parts that must not have threads are done.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only threads and an epoll descriptor; without them nothing can be done at all")
        .block_on(future)
}
