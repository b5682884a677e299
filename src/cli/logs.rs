//! `trimtab logs`: the last lines of a unit's instances.

use std::process::ExitCode;

use serde::Serialize;

use super::context::{Printing, Reach, finish};
use super::exit::Exit;
use super::output::View;
use super::output::style::Tone;
use super::select::UnitArgs;

/// Shows the last lines that the instances of a unit have written.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only this instance; `trimtab status APP` lists them
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// So many lines of each instance
    #[arg(short = 'n', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tail: u32,
    #[command(flatten)]
    unit: UnitArgs,
    #[command(flatten)]
    printing: Printing,
    #[command(flatten)]
    reach: Reach,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line<'a> {
    /// The instance that wrote it.
    pub instance: &'a str,
    /// `stdout` or `stderr`.
    pub stream: &'a str,
    /// What it wrote.
    pub text: &'a str,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.printing.view();
    let shown = async {
        let api = args.reach.api()?;
        let unit = args.unit.resolve(&api).await?;
        let logs = api.logs(&unit.unit, args.instance.as_deref(), args.tail).await?;
        let lines: Vec<_> = logs.lines().map(parse).collect();
        view.print(&lines, |view| text(&lines, view));
        Ok(Exit::Ok)
    };
    finish(&view, super::block_on(shown))
}

/// Reads `instance stream line`; what does not look like that is a line of nobody.
pub fn parse(line: &str) -> Line<'_> {
    let mut parts = line.splitn(3, ' ');
    match (parts.next(), parts.next()) {
        (Some(instance), Some(stream @ ("stdout" | "stderr"))) => {
            Line { instance, stream, text: parts.next().unwrap_or("") }
        }
        _ => Line { instance: "", stream: "", text: line },
    }
}

/// The lines for people, each with its instance.
pub fn text(lines: &[Line<'_>], view: &View) -> String {
    let mut text = String::new();
    for line in lines {
        let tone = if line.stream == "stderr" { Tone::Warn } else { Tone::Dim };
        let instance = view.paint(tone, &view.clean(line.instance));
        text.push_str(&format!("{instance} {}\n", view.clean(line.text)));
    }
    text
}
