//! `trimtab reconcile`: reads Git now instead of at the next poll.

use std::process::ExitCode;

use super::context::{Printing, Reach, finish};
use super::exit::Exit;
use super::rollout::print_done;

/// Reads Git now and reconciles everything; ends when the source was read.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    reach: Reach,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.printing.view();
    let reconciled = async {
        print_done(&args.reach.api()?.reconcile().await?, &view);
        Ok(Exit::Ok)
    };
    finish(&view, super::block_on(reconciled))
}
