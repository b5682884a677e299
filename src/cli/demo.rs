//! `trimtab demo`: everything on this machine, in a folder that goes away again.

use std::path::PathBuf;
use std::process::ExitCode;

use super::context::{Printing, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::style::Tone;
use super::output::{View, write_err, write_out};
use crate::demo::error::DemoError;
use crate::demo::play::{Outcome, play};
use crate::demo::run::{Demo, Options, interrupted};
use crate::demo::tour::guide;

/// Shows what trimtab does, on this machine and with nothing but Git: a repository, a router with traffic, and apps that a push
/// rolls out.
///
/// Everything is in one folder and ends with Ctrl-C. With --play it does the whole story without hands and ends with 0
/// only if each part of it truly happened: a good push becomes a canary, a bad one a revert, and no request is lost.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Play the whole story without hands, check each part of it, and end
    #[arg(long)]
    play: bool,
    /// The folder for everything, new or empty [default: a new one for temporary files]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leave the folder there in the end
    #[arg(long)]
    keep: bool,
    /// The port of the first app [default: any free one]
    #[arg(long)]
    port: Option<u16>,
    #[command(flatten)]
    printing: Printing,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.printing.view();
    if !view.format.is_text() && !args.play {
        let error = CliError::invalid("-o json tells how the story came out: it needs --play");
        return finish(&view, Err(error));
    }
    let options = Options { dir: args.dir, keep: args.keep, port: args.port };
    finish(&view, super::block_on(demo(options, args.play, &view)))
}

async fn demo(options: Options, plays: bool, view: &View) -> Result<Exit, CliError> {
    let mut demo = Demo::create(options).map_err(failed)?;
    let told = tokio::select! {
        told = tell(&mut demo, plays, view) => told,
        stopped = interrupted() => Err(stopped.err().unwrap_or(DemoError::Interrupted)),
    };
    // What failed is left there to be looked at.
    let keep = matches!(&told, Err(error) if !matches!(error, DemoError::Interrupted))
        || matches!(&told, Ok(Some((outcome, _))) if !outcome.ok);
    if !demo.traffic.is_empty() {
        write_out(&format!("\n{}\n", demo.traffic));
    }
    if view.format.is_text() {
        write_out("\nending: the daemon, the apps, the router, the supervisor ...\n");
    }
    let down = demo.down(keep).await;
    match &down {
        Ok(Some(left)) => write_err(&format!("left for you to look at: {}\n", left.display())),
        Ok(None) => {}
        Err(error) => write_err(&format!("{error}\n")),
    }
    match told {
        Ok(Some((outcome, error))) => {
            view.print(&outcome, |view| summary(&outcome, view));
            match (error, outcome.ok) {
                (Some(error), _) if view.format.is_text() => Err(failed(error)),
                (None, true) => Ok(Exit::Ok),
                _ => Ok(Exit::Failed),
            }
        }
        Ok(None) | Err(DemoError::Interrupted) if !plays => down.map(|_| Exit::Ok).map_err(failed),
        Ok(None) => Ok(Exit::Ok),
        Err(error) => Err(failed(error)),
    }
}

/// The story's outcome, where there is one.
type Told = Option<(Outcome, Option<DemoError>)>;

async fn tell(demo: &mut Demo, plays: bool, view: &View) -> Result<Told, DemoError> {
    if plays {
        let reads_along = view.format.is_text().then(|| view.clone());
        Ok(Some(play(demo, reads_along).await))
    } else {
        guide(demo, view).await.map(|()| None)
    }
}

fn summary(outcome: &Outcome, view: &View) -> String {
    let failed = outcome.checks.iter().filter(|check| !check.ok).count();
    let word = if outcome.ok {
        view.paint(Tone::Good, "every part of it happened")
    } else {
        view.paint(Tone::Bad, "not every part of it happened")
    };
    let seconds = outcome.took_ms as f64 / 1_000.0;
    format!("{word}: {} checks, {failed} not so, {seconds:.1} s\n", outcome.checks.len())
}

fn failed(error: DemoError) -> CliError {
    match &error {
        DemoError::Folder { .. } => CliError::invalid(error.to_string()),
        _ => CliError::failed(error.to_string()),
    }
}
