//! `trimtab quarantine`: desired states that failed and are not tried again by themselves.

use std::process::ExitCode;

use clap::Subcommand;

use super::context::{Looking, Steering, finish};
use super::exit::Exit;
use super::output::View;
use super::output::table::Table;
use super::rollout::print_done;
use super::units::first_line;
use super::watching::{Shown, Watching};
use crate::api::types::{QuarantineClear, QuarantineEntry};
use crate::domain::id::Name;

/// Lists and clears what was taken back and is not tried again by itself.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Lists what is quarantined, and why
    List(List),
    /// Lets a quarantined state be tried again when Git asks for it
    Clear(Clear),
}

#[derive(Clone, Debug, clap::Args)]
struct List {
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    common: Looking,
}

#[derive(Clone, Debug, clap::Args)]
struct Clear {
    /// The app
    app: Name,
    /// Only in this environment
    #[arg(short = 'e', long, value_name = "ENV")]
    environment: Option<Name>,
    /// Only the state with this digest, or the beginning of it
    #[arg(long, value_name = "DIGEST")]
    rendered: Option<String>,
    #[command(flatten)]
    common: Steering,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    match args.verb {
        Verb::List(args) => {
            let view = args.common.view();
            let listed = async {
                let api = args.common.reach.api()?;
                let shown = Shown {
                    names: &|all: &Vec<QuarantineEntry>| all.iter().map(|entry| entry.unit.to_string()).collect(),
                    text: &|all: &Vec<QuarantineEntry>, view: &View| text(all, view),
                };
                args.watching.show(&api, &view, shown, async || Ok(api.quarantine().await?)).await
            };
            finish(&view, super::block_on(listed))
        }
        Verb::Clear(args) => {
            let view = args.common.view();
            let request = QuarantineClear { app: args.app, environment: args.environment, rendered: args.rendered };
            let cleared = async {
                print_done(&args.common.reach.api()?.quarantine_clear(&request).await?, &view);
                Ok(Exit::Ok)
            };
            finish(&view, super::block_on(cleared))
        }
    }
}

/// The table of quarantined states.
pub fn text(entries: &[QuarantineEntry], view: &View) -> String {
    if entries.is_empty() {
        return "nothing is quarantined\n".into();
    }
    let mut table = Table::new(&["UNIT", "VERSION", "DIGEST", "SINCE", "REASON"]);
    for entry in entries {
        table.row(vec![
            entry.unit.to_string().into(),
            entry.version.as_deref().unwrap_or("-").into(),
            if view.wide() { entry.rendered.as_str() } else { entry.rendered.short() }.into(),
            view.ago(entry.since).into(),
            first_line(&entry.reason).into(),
        ]);
    }
    table.draw(view)
}
