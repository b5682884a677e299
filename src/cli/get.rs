//! `trimtab get`: lists of everything that the daemon knows.

use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use super::context::{Looking, finish};
use super::error::CliError;
use super::output::View;
use super::output::table::{Cell, Table};
use super::output::time;
use super::rollout::phases;
use super::status;
use super::units;
use super::watching::{Shown, Watching};
use crate::api::client::Api;
use crate::api::operations::UnitFilter;
use crate::api::resources::{
    AppView, EnvironmentView, ReleaseView, RolloutEntry, RolloutFilter, apps, environments, releases,
};
use crate::api::types::{UnitHealth, UnitStatus};
use crate::domain::id::Name;

/// Lists environments, apps, releases, units or rollouts.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to list
    #[arg(value_enum)]
    kind: Kind,
    /// Only this one: an environment by its name, all others by their app's
    name: Option<Name>,
    /// Only in this environment
    #[arg(short = 'e', long, value_name = "ENV")]
    environment: Option<Name>,
    #[command(flatten)]
    watching: Watching,
    #[command(flatten)]
    common: Looking,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Where apps run
    #[value(alias = "environment", alias = "env")]
    Environments,
    /// What runs
    #[value(alias = "app")]
    Apps,
    /// Which version of an app an environment is asked to run
    #[value(alias = "release")]
    Releases,
    /// Each app on each target
    #[value(alias = "unit")]
    Units,
    /// Rollouts of all units, the newest first
    #[value(alias = "rollout")]
    Rollouts,
}

/// What was listed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Listed {
    /// Environments.
    Environments(Vec<EnvironmentView>),
    /// Apps.
    Apps(Vec<AppView>),
    /// Releases.
    Releases(Vec<ReleaseView>),
    /// Units.
    Units(Vec<UnitStatus>),
    /// Rollouts.
    Rollouts(Vec<RolloutEntry>),
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    let listed = async {
        let api = args.common.reach.api()?;
        let shown = Shown { names: &names, text: &text };
        args.watching.show(&api, &view, shown, async || list(&api, &args).await).await
    };
    finish(&view, super::block_on(listed))
}

async fn list(api: &Api, args: &Args) -> Result<Listed, CliError> {
    let listed = match args.kind {
        Kind::Rollouts => {
            let filter = RolloutFilter { app: args.name.clone(), environment: args.environment.clone(), running: None };
            Listed::Rollouts(api.rollouts(&filter).await?)
        }
        Kind::Environments => {
            let environment = args.name.clone().or(args.environment.clone());
            let units = api.units(&UnitFilter { environment, ..UnitFilter::default() }).await?;
            Listed::Environments(environments(&units, &api.daemon().await?.suspended))
        }
        kind => {
            let filter = UnitFilter { app: args.name.clone(), environment: args.environment.clone(), target: None };
            let units = api.units(&filter).await?;
            match kind {
                Kind::Apps => Listed::Apps(apps(&units)),
                Kind::Releases => Listed::Releases(releases(&units)),
                _ => Listed::Units(units),
            }
        }
    };
    let asked = [&args.name, &args.environment].into_iter().flatten().map(Name::as_str).collect::<Vec<_>>();
    if names(&listed).is_empty() && !asked.is_empty() && !args.watching.watch {
        return Err(CliError::not_found(format!("nothing that the daemon knows fits {}", asked.join(" in ")))
            .remedy("`trimtab get units` lists what the daemon knows"));
    }
    Ok(listed)
}

/// The names, one for each: of a release, app and environment; of a rollout, its id.
pub fn names(listed: &Listed) -> Vec<String> {
    match listed {
        Listed::Environments(all) => all.iter().map(|one| one.name.to_string()).collect(),
        Listed::Apps(all) => all.iter().map(|one| one.name.to_string()).collect(),
        Listed::Releases(all) => all.iter().map(|one| format!("{}/{}", one.app, one.environment)).collect(),
        Listed::Units(all) => all.iter().map(|one| one.unit.to_string()).collect(),
        Listed::Rollouts(all) => all.iter().map(|one| one.summary.id.to_string()).collect(),
    }
}

/// The list for people.
pub fn text(listed: &Listed, view: &View) -> String {
    if names(listed).is_empty() {
        return "nothing yet\n".into();
    }
    match listed {
        Listed::Environments(all) => {
            let mut table = Table::new(&["ENVIRONMENT", "TARGETS", "APPS", "HEALTH", "SUSPENDED"]);
            for one in all {
                let suspended = if one.suspended { "yes" } else { "no" };
                table.row(vec![
                    one.name.as_str().into(),
                    joined(&one.targets).into(),
                    joined(&one.apps).into(),
                    counts(&one.health).into(),
                    suspended.into(),
                ]);
            }
            table.draw(view)
        }
        Listed::Apps(all) => {
            let mut table = Table::new(&["APP", "ENVIRONMENTS", "HEALTH"]);
            for one in all {
                table.row(vec![one.name.as_str().into(), joined(&one.environments).into(), counts(&one.health).into()]);
            }
            table.draw(view)
        }
        Listed::Releases(all) => releases_text(all, view),
        Listed::Units(all) => status::table(all, view),
        Listed::Rollouts(all) => rollouts_text(all, view),
    }
}

fn releases_text(all: &[ReleaseView], view: &View) -> String {
    let mut headers = vec!["APP", "ENVIRONMENT", "TARGET", "ASKED FOR", "IN EFFECT", "VERIFIED", "HEALTH"];
    if view.wide() {
        headers.extend(["COMMIT", "DIGEST"]);
    }
    let mut table = Table::new(&headers);
    for one in all {
        for target in &one.targets {
            let version = |at: &Option<crate::api::types::VersionRef>| -> Cell {
                at.as_ref().map_or("-".into(), |at| at.version.clone().into())
            };
            let mut row = vec![
                one.app.as_str().into(),
                one.environment.as_str().into(),
                target.target.as_str().into(),
                version(&one.candidate),
                version(&target.effective),
                version(&target.last_verified),
                Cell::toned(units::health_tone(target.health), units::health_text(target.health)),
            ];
            if view.wide() {
                let commit = one.candidate.as_ref().and_then(|at| at.revision.as_ref());
                row.push(commit.map_or("-", |commit| units::short_revision(commit.as_str())).into());
                row.push(one.candidate.as_ref().map_or("-", |at| at.rendered.short()).into());
            }
            table.row(row);
        }
    }
    table.draw(view)
}

fn rollouts_text(all: &[RolloutEntry], view: &View) -> String {
    let mut headers = vec!["UNIT", "STARTED", "TOOK", "KIND", "VERSION", "STATUS", "ID"];
    if view.wide() {
        headers.extend(["COMMIT", "TRAFFIC BACK", "REASON"]);
    }
    let mut table = Table::new(&headers);
    for RolloutEntry { unit, summary } in all {
        let status = Cell::toned(phases::status_tone(&summary.status), phases::status_text(&summary.status));
        let mut row = vec![
            unit.to_string().into(),
            view.ago(summary.started).into(),
            summary.ended.map_or("-".into(), |ended| time::between(summary.started, ended)).into(),
            summary.kind.clone().into(),
            phases::versions(summary, view).into(),
            status,
            summary.id.as_str().into(),
        ];
        if view.wide() {
            let commit = summary.revision.as_ref();
            row.push(commit.map_or("-", |commit| units::short_revision(commit.as_str())).into());
            row.push(summary.traffic_back.map_or("-".into(), |at| at.to_string().into()));
            row.push(summary.reason.as_deref().map_or("", units::first_line).into());
        }
        table.row(row);
    }
    table.draw(view)
}

fn joined<'a>(names: impl IntoIterator<Item = &'a Name>) -> String {
    names.into_iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

/// `2 in sync, 1 held`.
fn counts<'a>(health: impl IntoIterator<Item = (&'a UnitHealth, &'a u32)>) -> String {
    let counts = health.into_iter().map(|(health, count)| format!("{count} {}", units::health_text(*health)));
    counts.collect::<Vec<_>>().join(", ")
}
