//! `trimtab status`: how everything stands, or one unit in full.

use std::process::ExitCode;

use serde::Serialize;

use super::context::{Looking, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::View;
use super::output::style::Tone;
use super::output::table::{Cell, Table};
use super::rollout::phases;
use super::units;
use super::watching::{Shown, Watching};
use crate::api::client::Api;
use crate::api::operations::UnitFilter;
use crate::api::types::{DaemonStatus, RollbackView, UnitStatus};
use crate::domain::id::Name;

/// Shows how the units stand: all of them, or one app's in full.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only this app
    app: Option<Name>,
    /// Only this environment
    #[arg(short = 'e', long, value_name = "ENV")]
    environment: Option<Name>,
    /// Only this target
    #[arg(long)]
    target: Option<Name>,
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    common: Looking,
}

/// Everything that the verb shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The daemon.
    pub daemon: DaemonStatus,
    /// The units that were asked for.
    pub units: Vec<UnitStatus>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    finish(&view, super::block_on(status(&args, &view)))
}

async fn status(args: &Args, view: &View) -> Result<Exit, CliError> {
    let api = args.common.reach.api()?;
    let status = ask(&api, args).await?;
    let asked = [&args.app, &args.environment, &args.target].into_iter().flatten().next();
    if let (true, Some(name)) = (status.units.is_empty() && !args.watching.watch, asked) {
        return Err(CliError::not_found(format!("nothing that the daemon knows fits {name}"))
            .remedy("`trimtab status` without arguments lists everything"));
    }
    let shown = Shown {
        names: &|status: &Status| status.units.iter().map(|unit| unit.unit.to_string()).collect(),
        text: &|status: &Status, view: &View| text(status, args.app.is_some(), view),
    };
    args.watching.show(&api, view, shown, async || ask(&api, args).await).await
}

async fn ask(api: &Api, args: &Args) -> Result<Status, CliError> {
    let filter =
        UnitFilter { app: args.app.clone(), environment: args.environment.clone(), target: args.target.clone() };
    Ok(Status { daemon: api.daemon().await?, units: api.units(&filter).await? })
}

/// The status for people. One unit that was asked for by its app is shown in full.
pub fn text(status: &Status, by_app: bool, view: &View) -> String {
    let mut text = troubles(&status.daemon, view);
    match status.units.as_slice() {
        [] => text.push_str("no units: no Release names an app and an environment yet\n"),
        [unit] if by_app => text.push_str(&full(unit, view)),
        units => text.push_str(&table(units, view)),
    }
    text
}

/// What keeps the daemon from doing its work, a line each; nothing when all is well.
fn troubles(daemon: &DaemonStatus, view: &View) -> String {
    let mut lines = Vec::new();
    if let Some(error) = &daemon.config_error {
        lines.push(format!("the configuration in force is an older one: {error}"));
    }
    if let Some(error) = &daemon.source_error {
        let since = daemon.fetched.map(|at| format!(" (last read {})", view.ago(at))).unwrap_or_default();
        lines.push(format!("{} can't be read{since}: {error}", daemon.source));
    }
    lines.extend(daemon.state_error.clone());
    if let Some((was, is)) = &daemon.rewritten {
        let (was, is) = (units::short_revision(was.as_str()), units::short_revision(is.as_str()));
        lines.push(format!(
            "history of {} was rewritten: {was} is no ancestor of {is}; `trimtab ack` takes it over",
            daemon.branch
        ));
    }
    for error in &daemon.document_errors {
        lines.push(error.clone());
    }
    for environment in &daemon.suspended {
        lines.push(format!(
            "environment {environment} is suspended; `trimtab unsuspend -e {environment}` lets it go on"
        ));
    }
    let mut text = String::new();
    for line in &lines {
        text.push_str(&format!("{} {}\n", view.paint(Tone::Warn, "!"), view.clean(line.trim_end())));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// The table of units.
pub fn table(units: &[UnitStatus], view: &View) -> String {
    let mut headers = vec!["APP", "ENVIRONMENT", "TARGET", "HEALTH", "VERSION", "READY", "CHANGED", "MESSAGE"];
    if view.wide() {
        headers.extend(["VERIFIED", "COMMIT", "DIGEST", "ROLLOUT"]);
    }
    let mut table = Table::new(&headers);
    for unit in units {
        let mut row = vec![
            unit.unit.app.as_str().into(),
            unit.unit.environment.as_str().into(),
            unit.unit.target.as_str().into(),
            Cell::toned(units::health_tone(unit.health), units::health_text(unit.health)),
            units::version_text(unit).into(),
            units::ready_text(unit).into(),
            unit.changed.map_or("-".into(), |at| view.ago(at)).into(),
            units::first_line(&unit.message).into(),
        ];
        if view.wide() {
            let effective = unit.effective.as_ref();
            let commit = effective.and_then(|at| at.revision.as_ref());
            row.push(unit.last_verified.as_ref().map_or("-".into(), |at| at.version.clone().into()));
            row.push(commit.map_or("-", |commit| units::short_revision(commit.as_str())).into());
            row.push(effective.map_or("-", |at| at.rendered.short()).into());
            row.push(unit.rollout.as_ref().map_or("-", |rollout| rollout.summary.id.as_str()).into());
        }
        table.row(row);
    }
    table.draw(view)
}

/// One unit in full.
pub fn full(unit: &UnitStatus, view: &View) -> String {
    let name = view.paint(Tone::Strong, &unit.unit.to_string());
    let health = view.paint(units::health_tone(unit.health), units::health_text(unit.health));
    let mut text = format!("{name}  {health}\n{}\n\n", view.clean(&unit.message));
    for (label, at) in
        [("asked for", &unit.candidate), ("in effect", &unit.effective), ("verified", &unit.last_verified)]
    {
        text.push_str(&format!("  {label:<10} {}\n", at.as_ref().map_or("-".into(), units::version_line)));
    }
    if let Some(at) = unit.changed {
        text.push_str(&format!("  {:<10} {}\n", "changed", view.ago(at)));
    }
    if !unit.held.is_empty() {
        text.push_str(&format!("\n{}\n{}", view.paint(Tone::Strong, "held"), units::held(&unit.held, "  ", view)));
    }
    if !unit.groups.is_empty() {
        text.push_str(&format!("\n{}", units::groups(&unit.groups, view)));
    }
    // Of one that is over the daemon may know no more than its history tells.
    if let Some(rollout) = unit.rollout.as_ref().filter(|it| !(it.summary.is_over() && it.phases.is_empty())) {
        text.push_str(&format!("\n{}", phases::text(rollout, view)));
    }
    if let Some(rollback) = &unit.rollback {
        text.push_str(&format!("\n{}", rollback_text(rollback, view)));
    }
    text
}

/// A rollback for people.
pub fn rollback_text(rollback: &RollbackView, view: &View) -> String {
    let mut text = format!(
        "{} {}: {} -> {}, {}, {}\n  {}\n",
        view.paint(Tone::Strong, "rollback"),
        rollback.id,
        view.clean(&rollback.bad.version),
        view.clean(&rollback.good.version),
        rollback.status,
        view.ago(rollback.started),
        view.clean(&rollback.reason),
    );
    if !rollback.message.is_empty() {
        text.push_str(&format!("  {}\n", view.clean(&rollback.message)));
    }
    if let Some(back) = rollback.traffic_back {
        let took = super::output::time::between(rollback.started, back);
        text.push_str(&format!("  traffic back after {took}\n"));
    }
    if let Some(commit) = &rollback.commit {
        let branch = rollback.branch.as_deref().map(|branch| format!(" on {branch}")).unwrap_or_default();
        text.push_str(&format!(
            "  recorded in Git by {}{}\n",
            units::short_revision(commit.as_str()),
            view.clean(&branch)
        ));
    }
    text
}
