//! `trimtab daemon`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::Exit;
use super::logging::Logging;
use crate::app::config::Config;
use crate::app::config::log::LogFormat;
use crate::app::daemon::Ended;
use crate::process::LogLevel;
use crate::secrets::harden;
use crate::traces::export::{self, Traces};

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
    harden::no_core_dumps();
    let config = match Config::read(&args.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("trimtab daemon: {error}");
            return Exit::Invalid.into();
        }
    };
    let format = args.logging.format(config.log.format);
    let begun = begin(&config, format == LogFormat::Json);
    let (level, traces) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            eprintln!("trimtab daemon: {}: {error}", args.config.display());
            return Exit::Invalid.into();
        }
    };
    let ended = super::block_on(crate::wiring::run_daemon(config, args.take_over, args.config, level));
    if let Some(traces) = traces {
        traces.end();
    }
    match ended {
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

/// Begins to log, and to send traces where a collector is configured.
fn begin(config: &Config, json: bool) -> Result<(LogLevel, Option<Traces>), String> {
    let endpoint = config.telemetry.otlp_endpoint.as_deref();
    let (traces, spans, lacking) = match endpoint {
        None => (None, None, None),
        Some(endpoint) => {
            let client = crate::wiring::collector_client(endpoint, export::PATIENCE);
            let (client, lacking) = client.map_err(|error| format!("[telemetry] otlp_endpoint: {error}"))?;
            let (traces, spans) = export::begin(endpoint, client, config.installation.as_str())?;
            (Some(traces), Some(spans), lacking)
        }
    };
    let level = crate::process::log_to_stderr(json, config.log.level.as_deref(), spans)?;
    if let Some(lacking) = lacking {
        tracing::warn!("traces will not be taken by {}: {lacking}", endpoint.unwrap_or_default());
    }
    Ok((level, traces))
}

/// The causes, the root first.
fn chain(error: &anyhow::Error) -> String {
    let mut causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.dedup();
    causes.reverse();
    causes.join("\n  so: ")
}
