//! `trimtab rollout`: looking at a rollout, and steering it.

pub mod history;
pub mod phases;
pub mod watch;

use std::process::ExitCode;

use clap::Subcommand;

use self::watch::{Followed, Goal, follow, last_over};
use super::context::{Looking, Steering, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::View;
use super::output::style::Tone;
use super::select::UnitArgs;
use super::units;
use crate::api::types::{Done, UnitCommand, UnitStatus};

/// Looks at a rollout, and steers it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    Status(Status),
    History(history::Args),
    Promote(Promote),
    /// Stops a rollout from advancing; what it has reached is kept true
    Pause(Steer),
    /// Lets a paused rollout go on
    Resume(Steer),
    /// Goes back to the version before; Git is not touched
    Abort(Steer),
    /// Tries again what stopped, failed or was aborted
    Retry(Steer),
}

/// Shows the rollout that goes on, or the last one, phase by phase.
///
/// With --watch it ends when the rollout does: 0 when the new version is verified, 6 when it was taken back, stopped or is stuck.
#[derive(Clone, Debug, clap::Args)]
struct Status {
    /// Redraw it live until the rollout ends; a line a change where standard output is no terminal
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    unit: UnitArgs,
    #[command(flatten)]
    common: Looking,
}

/// Ends the present pause.
#[derive(Clone, Debug, clap::Args)]
struct Promote {
    /// Skip everything that is left to wait for: pauses and analyses
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    steer: Steer,
}

/// What all steering verbs take.
#[derive(Clone, Debug, clap::Args)]
pub struct Steer {
    /// Then follow the rollout until it ends
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    unit: UnitArgs,
    #[command(flatten)]
    common: Steering,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    match args.verb {
        Verb::Status(args) => {
            let view = args.common.view();
            finish(&view, super::block_on(status(&args, &view)))
        }
        Verb::History(args) => history::run(args),
        Verb::Promote(args) => steer(args.steer, UnitCommand::Promote { full: args.full }),
        Verb::Pause(args) => steer(args, UnitCommand::Pause {}),
        Verb::Resume(args) => steer(args, UnitCommand::Resume {}),
        Verb::Abort(args) => steer(args, UnitCommand::Abort {}),
        Verb::Retry(args) => steer(args, UnitCommand::Retry {}),
    }
}

async fn status(args: &Status, view: &View) -> Result<Exit, CliError> {
    let api = args.common.reach.api()?;
    let unit = args.unit.resolve(&api).await?;
    if args.watch {
        return follow(&api, &unit.unit, &Followed::present(), view).await;
    }
    let names = || unit.rollout.iter().map(|rollout| rollout.summary.id.to_string()).collect();
    view.show(&unit.rollout, names, |view| text(&unit, view));
    Ok(Exit::Ok)
}

/// The rollout of a unit, for people.
pub fn text(unit: &UnitStatus, view: &View) -> String {
    match &unit.rollout {
        Some(rollout) => format!("{}\n{}", headline(unit, view), phases::text(rollout, view)),
        None => format!("{}\nno rollout yet\n", headline(unit, view)),
    }
}

/// A unit's name, health and message.
pub fn headline(unit: &UnitStatus, view: &View) -> String {
    let health = view.paint(units::health_tone(unit.health), units::health_text(unit.health));
    let name = view.paint(Tone::Strong, &unit.unit.to_string());
    format!("{name}  {health}  {}", view.clean(units::first_line(&unit.message)))
}

/// Sends a command to the one unit that is meant, and follows what comes of it where that is asked for.
fn steer(args: Steer, command: UnitCommand) -> ExitCode {
    let view = args.common.view();
    let steered = async {
        let api = args.common.reach.api()?;
        let unit = args.unit.resolve(&api).await?;
        let last = last_over(&api, &unit).await?;
        // A promotion or a pause moves the present rollout; a retry may begin another.
        let followed = match command {
            UnitCommand::Retry {} => Followed::after(last.as_ref(), Goal::Verified),
            UnitCommand::Abort {} => Followed::after(last.as_ref(), Goal::Aborted),
            _ => Followed::present(),
        };
        let done = api.command(&unit.unit, &command).await?;
        print_done(&done, &view);
        if args.watch { follow(&api, &unit.unit, &followed, &view).await } else { Ok(Exit::Ok) }
    };
    finish(&view, super::block_on(steered))
}

/// What was done, a line each.
pub fn print_done(done: &Done, view: &View) {
    view.print(done, |view| done.messages.iter().map(|message| format!("{}\n", view.clean(message))).collect());
}
