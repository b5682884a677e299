//! `trimtab supervisor`: starts and keeps the processes of this machine.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::Exit;
use super::logging::Logging;
use crate::secrets::harden;
use crate::supervisor::{self, Options, ports::PortRange};

/// Runs the supervisor: it starts the processes of this machine and keeps them running, also while it is stopped itself.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where it remembers what runs; other users must be able to pass through it when apps run as other users
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// The Unix socket to serve
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// The socket's file mode, octal: 0600 for its owner only, 0660 for its group as well
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = mode)]
    socket_mode: u32,
    /// The ports to give to instances
    #[arg(long, value_name = "FIRST-LAST", default_value_t)]
    port_range: PortRange,
    /// The user of apps and scripts that name none; the supervisor's own if not given
    #[arg(long, value_name = "USER")]
    app_user: Option<String>,
    /// A file with the key (64 hexadecimal digits) under which secrets are kept at rest, instead of one of its own; the
    /// systemd credential `trimtab-supervisor-key` does the same
    #[arg(long, value_name = "FILE")]
    secrets_key: Option<PathBuf>,
    /// Another boot id than the kernel's, to rehearse a restart of the machine
    #[arg(long, env = "TRIMTAB_BOOT_ID", hide = true)]
    boot_id: Option<String>,
    #[command(flatten)]
    logging: Logging,
}

fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("write an octal file mode, such as 0600 or 0660".into()),
    }
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    harden::no_core_dumps();
    if let Err(error) = args.logging.start() {
        eprintln!("trimtab supervisor: {error}");
        return Exit::Invalid.into();
    }
    let options = Options {
        state_dir: args.state_dir,
        socket: args.socket,
        socket_mode: args.socket_mode,
        ports: args.port_range,
        app_user: args.app_user,
        secrets_key: args.secrets_key,
        boot_id: args.boot_id,
    };
    match super::block_on(supervisor::run(options)) {
        Ok(()) => Exit::Ok.into(),
        Err(error) => {
            tracing::error!("{error}");
            Exit::Failed.into()
        }
    }
}
