//! `trimtab ack`: takes over a history that was rewritten.

use std::process::ExitCode;

use super::context::{Steering, finish};
use super::exit::Exit;
use super::rollout::print_done;
use crate::api::types::AckRequest;
use crate::domain::id::Name;

/// Takes over a history that was rewritten: what it would change was held until now.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only for this app
    app: Option<Name>,
    /// Only for this environment
    #[arg(short = 'e', long, value_name = "ENV")]
    environment: Option<Name>,
    #[command(flatten)]
    common: Steering,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    let acknowledged = async {
        let request = AckRequest { environment: args.environment.clone(), app: args.app.clone() };
        print_done(&args.common.reach.api()?.ack(&request).await?, &view);
        Ok(Exit::Ok)
    };
    finish(&view, super::block_on(acknowledged))
}
