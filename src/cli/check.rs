//! `trimtab check`: Git, supervisor, router and state, before anything runs.

use std::process::ExitCode;

use super::context::{Looking, finish, read_config};
use super::error::CliError;
use super::exit::Exit;
use super::output::style::Tone;
use super::output::table::{Cell, Table};
use super::output::{View, write_err};
use crate::api::types::CheckResult;

/// Looks whether Git, supervisor, router and state can be used, and what works less well here than it could.
///
/// The daemon looks, where one runs; otherwise this command does, with the daemon's configuration.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Looking,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    finish(&view, super::block_on(check(&args, &view)))
}

async fn check(args: &Args, view: &View) -> Result<Exit, CliError> {
    let results = results(args).await?;
    let names = || results.iter().map(|result| result.part.clone()).collect();
    view.show(&results, names, |view| text(&results, view));
    Ok(if results.iter().all(|result| result.ok) { Exit::Ok } else { Exit::Failed })
}

async fn results(args: &Args) -> Result<Vec<CheckResult>, CliError> {
    let unreachable = match args.common.reach.api()?.check().await.map_err(CliError::from) {
        Err(error) if error.exit == Exit::Unreachable => error,
        answered => return answered,
    };
    let Some(file) = args.common.reach.config_file() else { return Err(unreachable) };
    let config = read_config(&file)?;
    let view = View::of_stderr();
    let note = format!("no daemon answers ({}); looking with {}", unreachable.message, file.display());
    write_err(&format!("{} {}\n", view.paint(Tone::Warn, "note:"), view.clean(&note)));
    Ok(crate::wiring::check_without_daemon(&config).await)
}

/// The table of what was found.
pub fn text(results: &[CheckResult], view: &View) -> String {
    let mut table = Table::new(&["PART", "RESULT", "FOUND"]);
    for result in results {
        let (tone, word) = if result.ok { (Tone::Good, "ok") } else { (Tone::Bad, "failed") };
        table.row(vec![result.part.clone().into(), Cell::toned(tone, word), result.message.clone().into()]);
    }
    let mut text = table.draw(view);
    for result in results {
        for limitation in &result.limitations {
            let mark = view.paint(Tone::Warn, "note:");
            text.push_str(&format!("{mark} {}: {}\n", view.clean(&result.part), view.clean(limitation)));
        }
    }
    text
}
