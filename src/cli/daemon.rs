//! `trimtab daemon`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::Exit;
use super::logging::Logging;
use crate::app::config::Config;
use crate::app::config::log::LogFormat;
use crate::app::daemon::Ended;

/// Runs the daemon: reads the source and makes it true, until it is stopped. Workloads go on without it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The configuration.
    #[arg(long, env = "TRIMTAB_CONFIG", default_value = "trimtab.toml", value_name = "FILE")]
    config: PathBuf,
    /// Take the state over from a daemon that may still run: its writes are refused from then on.
    #[arg(long)]
    take_over: bool,
    #[command(flatten)]
    logging: Logging,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let config = match Config::read(&args.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("trimtab daemon: {error}");
            return Exit::Invalid.into();
        }
    };
    let format = args.logging.format(config.log.format);
    let level = match crate::process::log_to_stderr(format == LogFormat::Json, config.log.level.as_deref()) {
        Ok(level) => level,
        Err(error) => {
            eprintln!("trimtab daemon: {}: {error}", args.config.display());
            return Exit::Invalid.into();
        }
    };
    match super::block_on(crate::wiring::run_daemon(config, args.take_over, args.config, level)) {
        Ok(Ended::Stopped) => Exit::Ok.into(),
        Ok(Ended::TakenOver) => {
            eprintln!("trimtab daemon: another daemon has taken over; this one has stopped");
            Exit::Refused.into()
        }
        Err(error) => {
            eprintln!("trimtab daemon: {}", chain(&error));
            Exit::Failed.into()
        }
    }
}

/// The causes, the root first.
fn chain(error: &anyhow::Error) -> String {
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.dedup();
    causes.reverse();
    causes.join("\n  so: ")
}
