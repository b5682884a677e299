//! `trimtab reconcile`: reads Git now instead of at the next poll, and tries now what failed.

use std::process::ExitCode;

use super::context::{Steering, finish};
use super::exit::Exit;
use super::rollout::print_done;
use crate::api::operations::UnitFilter;
use crate::domain::id::Name;

/// Reads Git now, and tries at once what failed and waits for its next try; ends when the source was read.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Try again only what failed of this app
    app: Option<Name>,
    /// Only in this environment
    #[arg(short = 'e', long, value_name = "ENV")]
    environment: Option<Name>,
    /// Only on this target
    #[arg(long)]
    target: Option<Name>,
    #[command(flatten)]
    common: Steering,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    let reconciled = async {
        let api = args.common.reach.api()?;
        let filter = UnitFilter { app: args.app, environment: args.environment, target: args.target };
        print_done(&api.reconcile(&filter).await?, &view);
        Ok(Exit::Ok)
    };
    finish(&view, super::block_on(reconciled))
}
