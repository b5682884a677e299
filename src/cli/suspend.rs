//! `trimtab suspend` and `trimtab unsuspend`: reconciling stops and goes on.

use std::process::ExitCode;

use super::context::{Steering, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::View;
use super::rollback::command_all;
use super::rollout::print_done;
use super::select::UnitArgs;
use crate::api::types::{EnvironmentCommand, UnitCommand};
use crate::domain::id::Name;

/// Stops reconciling an app or a whole environment: nothing is changed there any more, healing included.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
}

/// Reconciles an app or an environment again.
#[derive(Clone, Debug, clap::Args)]
pub struct UnsuspendArgs {
    #[command(flatten)]
    scope: Scope,
}

#[derive(Clone, Debug, clap::Args)]
struct Scope {
    /// The app; without one, the whole environment
    #[arg(required_unless_present = "environment")]
    app: Option<Name>,
    /// The environment
    #[arg(short = 'e', long, value_name = "ENV")]
    environment: Option<Name>,
    /// Only this target of the app's environment
    #[arg(long, requires = "app")]
    target: Option<Name>,
    #[command(flatten)]
    common: Steering,
}

/// Runs `suspend`.
pub fn run(args: Args) -> ExitCode {
    act(&args.scope, &UnitCommand::Suspend {}, &EnvironmentCommand::Suspend {})
}

/// Runs `unsuspend`.
pub fn run_unsuspend(args: UnsuspendArgs) -> ExitCode {
    act(&args.scope, &UnitCommand::Unsuspend {}, &EnvironmentCommand::Unsuspend {})
}

fn act(scope: &Scope, unit: &UnitCommand, environment: &EnvironmentCommand) -> ExitCode {
    let view = scope.common.view();
    finish(&view, super::block_on(send(scope, unit, environment, &view)))
}

async fn send(
    scope: &Scope,
    unit: &UnitCommand,
    environment: &EnvironmentCommand,
    view: &View,
) -> Result<Exit, CliError> {
    let api = scope.common.reach.api()?;
    match (&scope.app, &scope.environment) {
        (Some(app), _) => {
            let selected =
                UnitArgs { app: app.clone(), environment: scope.environment.clone(), target: scope.target.clone() };
            let units = selected.resolve_environment(&api).await?;
            command_all(&api, &units, unit, None, view).await
        }
        (None, Some(name)) => {
            print_done(&api.environment_command(name, environment).await?, view);
            Ok(Exit::Ok)
        }
        (None, None) => Err(CliError::invalid("name an app, or an environment with -e")),
    }
}
