//! `trimtab rollout history`: the rollouts of a unit, the newest first.

use std::process::ExitCode;

use super::phases::{status_text, status_tone, versions};
use crate::api::types::RolloutSummary;
use crate::cli::block_on;
use crate::cli::context::{Looking, finish};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::View;
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time;
use crate::cli::select::UnitArgs;
use crate::cli::units::{first_line, short_revision};
use crate::cli::watching::{Shown, Watching};

/// Lists the rollouts of a unit, the newest first.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// At most so many
    #[arg(short = 'n', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    unit: UnitArgs,
    #[command(flatten)]
    common: Looking,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    finish(&view, block_on(history(&args, &view)))
}

async fn history(args: &Args, view: &View) -> Result<Exit, CliError> {
    let api = args.common.reach.api()?;
    let unit = args.unit.resolve(&api).await?;
    let shown = Shown {
        names: &|all: &Vec<RolloutSummary>| all.iter().map(|rollout| rollout.id.to_string()).collect(),
        text: &|all: &Vec<RolloutSummary>, view: &View| text(all, view),
    };
    args.watching.show(&api, view, shown, async || Ok(api.history(&unit.unit, args.limit).await?)).await
}

/// The table of rollouts.
pub fn text(rollouts: &[RolloutSummary], view: &View) -> String {
    if rollouts.is_empty() {
        return "no rollout yet\n".into();
    }
    let mut headers = vec!["STARTED", "TOOK", "KIND", "VERSION", "STATUS", "COMMIT", "ID", "REASON"];
    if view.wide() {
        headers.extend(["ENDED", "TRAFFIC BACK"]);
    }
    let mut table = Table::new(&headers);
    for rollout in rollouts {
        let mut row = vec![
            view.ago(rollout.started).into(),
            rollout.ended.map_or("-".into(), |ended| time::between(rollout.started, ended)).into(),
            rollout.kind.clone().into(),
            versions(rollout, view).into(),
            Cell::toned(status_tone(&rollout.status), status_text(&rollout.status)),
            rollout.revision.as_ref().map_or("-", |revision| short_revision(revision.as_str())).into(),
            rollout.id.as_str().into(),
            rollout.reason.as_deref().map_or("", first_line).into(),
        ];
        if view.wide() {
            row.push(rollout.ended.map_or("-".into(), |at| at.to_string().into()));
            row.push(rollout.traffic_back.map_or("-".into(), |at| at.to_string().into()));
        }
        table.row(row);
    }
    table.draw(view)
}
