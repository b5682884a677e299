//! `trimtab validate`: every problem of a folder's documents, before anything is committed.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::context::{Printing, finish};
use super::error::CliError;
use super::exit::Exit;
use super::folder::Folder;
use super::output::View;
use super::output::style::Tone;
use super::secrets::Keys;
use crate::domain::manifest::{DocumentSet, Problem};
use crate::domain::render::{Rendered, render_with};

/// Checks all documents of a folder and tells every problem at once, with its place and a remedy. Needs no daemon.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The folder that holds the documents [default: the working directory]
    #[arg(value_name = "DIR", conflicts_with = "dir")]
    folder: Option<PathBuf>,
    /// The same, as an option
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    printing: Printing,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Whether there is no problem.
    pub valid: bool,
    /// How many documents were read.
    pub documents: usize,
    /// How many units they render to without a problem.
    pub units: usize,
    /// All problems, by place.
    pub problems: Vec<Problem>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.printing.view();
    finish(&view, validate(&args, &view))
}

fn validate(args: &Args, view: &View) -> Result<Exit, CliError> {
    let dir = args.folder.as_ref().or(args.dir.as_ref()).cloned().unwrap_or_else(|| ".".into());
    let folder = Folder::open(&dir)?;
    let report =
        folder.rendering(&Keys::default(), |documents, lookups| report(documents, &render_with(documents, lookups)))?;
    view.print(&report, |view| text(&report, view));
    Ok(if report.valid { Exit::Ok } else { Exit::Invalid })
}

/// Puts together what is wrong with documents and with units.
pub fn report(documents: &DocumentSet, rendered: &[Rendered]) -> Report {
    let problems = all_problems(documents, rendered);
    Report {
        valid: problems.is_empty(),
        documents: documents.identities().count(),
        units: rendered.iter().filter(|unit| unit.outcome.is_ok()).count(),
        problems,
    }
}

/// Every problem once, by place.
pub fn all_problems(documents: &DocumentSet, rendered: &[Rendered]) -> Vec<Problem> {
    let mut problems = documents.problems();
    problems.extend(rendered.iter().filter_map(|unit| unit.outcome.as_ref().err()).flatten().cloned());
    problems.sort();
    problems.dedup();
    problems
}

/// For people: the problems by file, then the sum.
pub fn text(report: &Report, view: &View) -> String {
    let mut text = problems_text(&report.problems, view);
    if report.valid {
        let mark = view.paint(Tone::Good, "valid:");
        text.push_str(&format!("{mark} {}, {}\n", count(report.documents, "document"), count(report.units, "unit")));
        if report.documents == 0 {
            let mark = view.paint(Tone::Warn, "note:");
            text.push_str(&format!("{mark} no .yaml or .yml file here holds a document of trimtab\n"));
        }
    } else {
        let mut files: Vec<&str> = report.problems.iter().map(|problem| problem.file.as_str()).collect();
        files.dedup();
        let mark = view.paint(Tone::Bad, "invalid:");
        let sum = format!("{} in {}", count(report.problems.len(), "problem"), count(files.len(), "file"));
        text.push_str(&format!("{mark} {sum}\n"));
    }
    text
}

/// Problems for people, one after the other.
pub fn problems_text(problems: &[Problem], view: &View) -> String {
    let mut text = String::new();
    for problem in problems {
        // The first line of a problem names its layer, up to the first colon.
        let shown = problem.to_string();
        let (layer, rest) = shown.split_once(':').unwrap_or((&shown, ""));
        text.push_str(&format!("{}:{rest}\n\n", view.paint(Tone::Bad, layer)));
    }
    text
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
