//! `trimtab router`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::Exit;
use super::logging::Logging;
use crate::domain::span::Span;
use crate::router::{AccessLog, Limits, Options};
use crate::secrets::harden;

/// Runs the data plane: takes requests and passes them on to the instances of the groups, by weight.
///
/// Configured by the daemon over --socket; what was confirmed last is kept in --state-dir and served again after a restart.
/// Started while another router runs on the same state directory, it takes over without a refused connection.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the router keeps its state.
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// The Unix socket it is configured over.
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// The socket's file mode: 0600 for the owner only, 0660 for the group as well.
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = mode)]
    socket_mode: u32,
    /// Listen at addresses that other routers on this machine have too, all of them started with this: the kernel spreads the
    /// connections over them
    #[arg(long)]
    share_ports: bool,
    /// Threads that serve requests; one for each CPU if not given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Client connections that may be open at once; more wait until they are accepted.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// How long a request's head may take to come in, and how long a connection may be idle.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    header_timeout: Span,
    /// A file that gets a line of JSON for each request; opened anew on SIGUSR1.
    #[arg(long, value_name = "PATH")]
    access_log: Option<PathBuf>,
    /// The size at which it is turned over, in MiB; three full files are kept.
    #[arg(long, value_name = "MIB", default_value = "64", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    access_log_size: u32,
    /// How long requests in flight may go on when the router stops.
    #[arg(long, value_name = "TIME", default_value = "30s")]
    drain: Span,
    #[command(flatten)]
    logging: Logging,
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).map_err(|_| format!("{text:?} is no file mode: write it like 0600"))?;
    if mode > 0o777 { Err(format!("{text} is more than 0777")) } else { Ok(mode) }
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    harden::no_core_dumps();
    if let Err(error) = args.logging.start() {
        eprintln!("trimtab router: {error}");
        return Exit::Invalid.into();
    }
    let mut limits = Limits {
        share_ports: args.share_ports,
        max_connections: args.max_connections as usize,
        header_timeout: args.header_timeout.duration(),
        drain: args.drain.duration(),
        ..Limits::default()
    };
    if let Some(threads) = args.threads {
        limits.workers = usize::from(threads);
    }
    let size = u64::from(args.access_log_size) * 1024 * 1024;
    let access_log = args.access_log.map(|path| AccessLog { path, size });
    let options =
        Options { access_log, state_dir: args.state_dir, socket: args.socket, socket_mode: args.socket_mode, limits };
    match crate::router::run(&options) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            tracing::error!("{error}");
            Exit::Failed.into()
        }
    }
}
