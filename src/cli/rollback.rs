//! `trimtab rollback`: back to a version that worked, and a commit that says so.

use std::process::ExitCode;

use super::context::{Steering, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::View;
use super::rollout::print_done;
use super::rollout::watch::{Followed, Goal, follow_all, last_over};
use super::select::UnitArgs;
use crate::api::client::Api;
use crate::api::types::{Done, UnitCommand, UnitStatus};
use crate::domain::id::{Name, Revision};

/// Goes back to the last verified version, traffic first, and records it in Git as a revert.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The app
    app: Name,
    /// The environment
    #[arg(short = 'e', long, value_name = "ENV")]
    environment: Name,
    /// Only this target of the environment
    #[arg(long)]
    target: Option<Name>,
    /// To the state at this commit instead of the last verified one
    #[arg(long, value_name = "REV", value_parser = revision)]
    to: Option<Revision>,
    /// Then follow it until Git and the machines agree again
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    common: Steering,
}

fn revision(text: &str) -> Result<Revision, String> {
    let digits = text.len() >= 4 && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits {
        Ok(Revision(text.to_ascii_lowercase()))
    } else {
        Err("a commit is named by its hexadecimal object name; `git log` shows them".into())
    }
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    finish(&view, super::block_on(rollback(&args, &view)))
}

async fn rollback(args: &Args, view: &View) -> Result<Exit, CliError> {
    let api = args.common.reach.api()?;
    let selected =
        UnitArgs { app: args.app.clone(), environment: Some(args.environment.clone()), target: args.target.clone() };
    let units = selected.resolve_environment(&api).await?;
    command_all(
        &api,
        &units,
        &UnitCommand::Rollback { to: args.to.clone() },
        args.watch.then_some(Goal::RolledBack),
        view,
    )
    .await
}

/// Sends a command to all targets of an environment. A target that has nothing to do refuses; that is an error only
/// where all of them do.
pub async fn command_all(
    api: &Api,
    units: &[UnitStatus],
    command: &UnitCommand,
    follow: Option<Goal>,
    view: &View,
) -> Result<Exit, CliError> {
    let mut done = Done { messages: Vec::new() };
    let mut followed = Vec::new();
    let mut refused = None;
    for unit in units {
        let before = last_over(api, unit).await?;
        match api.command(&unit.unit, command).await {
            Ok(answer) => {
                done.messages.extend(answer.messages);
                followed.push((unit.unit.clone(), before));
            }
            Err(error) => {
                let error = CliError::from(error);
                if error.exit != Exit::Refused {
                    return Err(error);
                }
                done.messages.push(format!("{}: {}", unit.unit, error.message));
                refused = Some(error);
            }
        }
    }
    if let (true, Some(error)) = (followed.is_empty(), refused) {
        return Err(error);
    }
    print_done(&done, view);
    let Some(goal) = follow else { return Ok(Exit::Ok) };
    let followed: Vec<_> =
        followed.into_iter().map(|(unit, before)| (unit, Followed::after(before.as_ref(), goal))).collect();
    follow_all(api, &followed, view).await
}
