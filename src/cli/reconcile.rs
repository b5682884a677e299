//! `trimtab reconcile`: reads Git now instead of at the next poll.

use std::process::ExitCode;

use super::context::{Steering, finish};
use super::exit::Exit;
use super::rollout::print_done;

/// Reads Git now and reconciles everything; ends when the source was read.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Steering,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    let reconciled = async {
        print_done(&args.common.reach.api()?.reconcile().await?, &view);
        Ok(Exit::Ok)
    };
    finish(&view, super::block_on(reconciled))
}
