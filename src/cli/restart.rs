//! `trimtab restart`: new instances of the same version.

use std::process::ExitCode;

use super::context::{Steering, finish};
use super::rollback::command_all;
use super::rollout::watch::Goal;
use super::select::UnitArgs;
use crate::api::types::UnitCommand;

/// Replaces all instances by new ones of the same version, without losing a request where the strategy allows it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Then follow it until all instances are new
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    unit: UnitArgs,
    #[command(flatten)]
    common: Steering,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    let restarted = async {
        let api = args.common.reach.api()?;
        let units = args.unit.resolve_environment(&api).await?;
        command_all(&api, &units, &UnitCommand::Restart {}, args.watch.then_some(Goal::Verified), &view).await
    };
    finish(&view, super::block_on(restarted))
}
