//! `trimtab plan` and `trimtab diff`: what would happen, before it does.

pub mod describe;
pub mod diff;
pub mod text;

use std::process::ExitCode;

use super::context::{Printing, Reach, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::View;
use crate::api::types::{PlanRequest, UnitPlan};
use crate::domain::id::Name;

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
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    reach: Reach,
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
    let view = scope.printing.view();
    let shown = async {
        let plans = plans(scope).await?;
        view.print(&plans, |view| text(&plans, view));
        Ok(outcome(&plans))
    };
    finish(&view, super::block_on(shown))
}

async fn plans(scope: &Scope) -> Result<Vec<UnitPlan>, CliError> {
    let request = PlanRequest {
        app: scope.app.clone(),
        environment: scope.environment.clone(),
        revision: scope.rev.clone(),
        desired: None,
    };
    let plans = scope.reach.api()?.plan(&request).await?;
    let named = [&scope.app, &scope.environment].into_iter().flatten().map(Name::as_str).collect::<Vec<_>>();
    if plans.is_empty() && !named.is_empty() {
        return Err(CliError::not_found(format!("nothing to plan fits {}", named.join(" in ")))
            .remedy("`trimtab status` lists what the daemon knows"));
    }
    Ok(plans)
}

/// A plan that can't be made is an error; what would be done, now or once nothing holds it, is a difference.
pub fn outcome(plans: &[UnitPlan]) -> Exit {
    if plans.iter().any(|plan| plan.plan.is_none() && plan.blocked.is_some()) {
        Exit::Failed
    } else if plans.iter().any(differs) {
        Exit::Difference
    } else {
        Exit::Ok
    }
}

/// Whether something is asked for that is not so.
pub fn differs(plan: &UnitPlan) -> bool {
    plan.plan.as_ref().is_some_and(|plan| !plan.is_empty()) || plan.before != plan.after
}
