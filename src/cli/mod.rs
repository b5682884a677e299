//! The command line: one file a verb. A verb has its arguments (`Args`) and `run`.

pub mod demo_app;
pub mod router;
pub mod shim;
pub mod supervisor;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// GitOps for this machine and others: a push becomes a safe rollout, and a bad one a Git revert.
#[derive(Debug, Parser)]
#[command(name = "trimtab", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Router(router::Args),
    Supervisor(supervisor::Args),
    #[command(hide = true)]
    Shim(shim::Args),
    #[command(hide = true)]
    DemoApp(demo_app::Args),
}

/// Parses the arguments and runs the verb.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.verb {
        Verb::Router(args) => router::run(args),
        Verb::Supervisor(args) => supervisor::run(args),
        Verb::Shim(args) => shim::run(args),
        Verb::DemoApp(args) => demo_app::run(args),
    }
}

/// Runs a future on a fresh multi-threaded runtime, after the parts that must not have threads are done.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime needs only threads and an epoll descriptor; without them nothing can be done at all")
        .block_on(future)
}
