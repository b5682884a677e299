//! `trimtab plan` and `trimtab diff`: what would happen, before it does.

pub mod describe;
pub mod diff;
pub mod predicted;
pub mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::context::{Looking, finish};
use super::error::CliError;
use super::exit::Exit;
use super::folder::Folder;
use super::output::View;
use super::secrets::Keys;
use super::validate::all_problems;
use crate::api::types::{PlanRequest, UnitPlan};
use crate::domain::desired::DesiredUnit;
use crate::domain::id::Name;
use crate::domain::plan::Plan;
use crate::domain::render::render_with;

/// Shows what would be done, why, and what waits: per unit the differences explained, the phases, what is approximated.
///
/// Ends with 0 when there is no difference, 1 when there is one, 2 and above on every error.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
}

/// Shows only what differs between what is in effect and what is asked for, as a unified difference.
///
/// Ends with 0 when there is no difference, 1 when there is one, 2 and above on every error.
#[derive(Clone, Debug, clap::Args)]
pub struct DiffArgs {
    #[command(flatten)]
    scope: Scope,
}

#[derive(Clone, Debug, clap::Args)]
struct Scope {
    /// Only this app
    app: Option<Name>,
    /// Only this environment
    #[arg(short = 'e', long, value_name = "ENV")]
    environment: Option<Name>,
    /// Plan this commit or branch of the source instead of the newest commit that the daemon has read
    #[arg(long, value_name = "REV", conflicts_with = "dir")]
    rev: Option<String>,
    /// Plan the documents of this folder as they lie there, committed or not
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    common: Looking,
}

/// Runs `plan`.
pub fn run(args: Args) -> ExitCode {
    show(&args.scope, text::text)
}

/// Runs `diff`.
pub fn run_diff(args: DiffArgs) -> ExitCode {
    show(&args.scope, diff::text)
}

fn show(scope: &Scope, text: fn(&[UnitPlan], &View) -> String) -> ExitCode {
    let view = scope.common.view();
    let shown = async {
        let plans = plans(scope).await?;
        let names = || plans.iter().filter(|plan| differs(plan)).map(|plan| plan.unit.to_string()).collect();
        view.show(&plans, names, |view| text(&plans, view));
        Ok(outcome(&plans))
    };
    finish(&view, super::block_on(shown))
}

async fn plans(scope: &Scope) -> Result<Vec<UnitPlan>, CliError> {
    let request = PlanRequest {
        app: scope.app.clone(),
        environment: scope.environment.clone(),
        revision: scope.rev.clone(),
        desired: scope.dir.as_deref().map(|dir| desired(scope, dir)).transpose()?,
    };
    let plans = scope.common.reach.api()?.plan(&request).await?;
    let named = [&scope.app, &scope.environment].into_iter().flatten().map(Name::as_str).collect::<Vec<_>>();
    if plans.is_empty() && !named.is_empty() {
        return Err(CliError::not_found(format!("nothing to plan fits {}", named.join(" in ")))
            .remedy("`trimtab status` lists what the daemon knows"));
    }
    Ok(plans)
}

/// What a folder asks for, of the apps and environments that are meant. Any problem there is an error: what is not read
/// can't be planned, and would look like a removal.
fn desired(scope: &Scope, dir: &Path) -> Result<Vec<DesiredUnit>, CliError> {
    let folder = Folder::open(dir)?;
    let (rendered, problems) = folder.rendering(&Keys::default(), |documents, lookups| {
        let rendered = render_with(documents, lookups);
        let problems = all_problems(documents, &rendered);
        (rendered, problems)
    })?;
    if !problems.is_empty() {
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        return Err(CliError::invalid(told.join("\n\n")).remedy(format!("`trimtab validate {}`", dir.display())));
    }
    let meant = |name: &Option<Name>, found: &Name| name.as_ref().is_none_or(|name| name == found);
    let ours =
        rendered.iter().filter(|unit| meant(&scope.app, &unit.app) && meant(&scope.environment, &unit.environment));
    Ok(ours.filter_map(|unit| unit.outcome.as_ref().ok()).map(|desired| desired.as_ref().clone()).collect())
}

/// A plan that can't be made is an error, and so is one that the platform would refuse; what would be done, now or once nothing holds it, is a difference.
pub fn outcome(plans: &[UnitPlan]) -> Exit {
    let refused = |plan: &UnitPlan| plan.plan.as_ref().is_some_and(|plan| plan.predicted.refusals().next().is_some());
    if plans.iter().any(|plan| (plan.plan.is_none() && plan.blocked.is_some()) || refused(plan)) {
        Exit::Failed
    } else if plans.iter().any(differs) {
        Exit::Difference
    } else {
        Exit::Ok
    }
}

/// Whether something is asked for that is not so.
pub fn differs(plan: &UnitPlan) -> bool {
    let says = |plan: &Plan| !plan.is_empty() || !plan.predicted.is_empty();
    plan.plan.as_ref().is_some_and(says) || plan.before != plan.after
}
