//! `trimtab render`: what the documents of a folder ask for, and where each value came from.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use super::context::finish;
use super::error::CliError;
use super::exit::Exit;
use super::folder::Folder;
use super::output::style::Tone;
use super::output::table::{Cell, Table};
use super::output::{self, View, unit, write_err, write_json, write_out};
use super::secrets::Keys;
use super::validate::problems_text;
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{Name, UnitId};
use crate::domain::manifest::{DocumentSet, Problem};
use crate::domain::objects::mask::masked;
use crate::domain::render::explain::{Explained, explain_with};
use crate::domain::render::{Lookups, Rendered, render_with};

/// Renders the documents of a folder to what they ask for, as the daemon would. Needs no daemon.
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
    /// Show where each value came from instead
    #[arg(long)]
    explain: bool,
    /// The folder that holds the documents
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    keys: Keys,
    /// YAML (a table with --explain) or JSON
    #[arg(short = 'o', long = "output", value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// The forms of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Yaml,
    Json,
}

/// One unit, as programs read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    app: &'a Name,
    environment: &'a Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    desired: Option<DesiredUnit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    explained: Vec<Explained>,
    #[serde(skip_serializing_if = "<[Problem]>::is_empty")]
    problems: &'a [Problem],
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = View::of_stdout(match args.output {
        Format::Yaml => output::Format::Table,
        Format::Json => output::Format::Json,
    });
    finish(&view, show(&args, &view))
}

fn show(args: &Args, view: &View) -> Result<Exit, CliError> {
    Folder::open(&args.dir)?.rendering(&args.keys, |documents, lookups| show_units(args, view, documents, lookups))?
}

fn show_units(args: &Args, view: &View, documents: &DocumentSet, lookups: Lookups<'_>) -> Result<Exit, CliError> {
    let wanted = |name: &Option<Name>, found: &Name| name.as_ref().is_none_or(|name| name == found);
    let mut units = render_with(documents, lookups);
    units.retain(|unit| {
        wanted(&args.app, &unit.app)
            && wanted(&args.environment, &unit.environment)
            && unit.target.as_ref().is_none_or(|target| wanted(&args.target, target))
    });
    let mut explained = Vec::new();
    for unit in &units {
        let found = match (&unit.target, args.explain && unit.outcome.is_ok()) {
            (Some(target), true) => explain_with(documents, &id(unit, target), lookups).and_then(Result::ok),
            _ => None,
        };
        explained.push(found.unwrap_or_default());
    }
    match args.output {
        Format::Json => write_json(&units.iter().zip(&explained).map(shown).collect::<Vec<_>>()),
        Format::Yaml => print(args, view, &units, &explained),
    }
    if units.is_empty() {
        return Err(nothing(documents));
    }
    Ok(if units.iter().all(|unit| unit.outcome.is_ok()) { Exit::Ok } else { Exit::Invalid })
}

fn id(unit: &Rendered, target: &Name) -> UnitId {
    UnitId { app: unit.app.clone(), environment: unit.environment.clone(), target: target.clone() }
}

fn shown<'a>((unit, explained): (&'a Rendered, &'a Vec<Explained>)) -> Shown<'a> {
    let desired = unit.outcome.as_ref().ok();
    Shown {
        app: &unit.app,
        environment: &unit.environment,
        target: unit.target.as_ref(),
        digest: desired.map(|desired| desired.digest()),
        desired: desired.map(|desired| masked(desired, None)),
        explained: explained.clone(),
        problems: unit.outcome.as_ref().err().map(Vec::as_slice).unwrap_or_default(),
    }
}

fn print(args: &Args, view: &View, units: &[Rendered], explained: &[Vec<Explained>]) {
    let mut problems: Vec<Problem> = Vec::new();
    for (index, (unit, explained)) in units.iter().zip(explained).enumerate() {
        match &unit.outcome {
            Ok(desired) if args.explain => write_out(&explained_text(desired, explained, index > 0, view)),
            Ok(desired) => write_out(&yaml(desired)),
            Err(found) => problems.extend(found.iter().cloned()),
        }
    }
    problems.sort();
    problems.dedup();
    write_err(&problems_text(&problems, &View::of_stderr()));
}

fn yaml(desired: &DesiredUnit) -> String {
    if let Some(objects) = unit::objects(desired, None) {
        return format!("# {} {}, {}\n{objects}", desired.unit, desired.version, desired.digest());
    }
    format!("---\n# {}\n{}", desired.digest(), unit::whole(desired, None))
}

fn explained_text(desired: &DesiredUnit, explained: &[Explained], further: bool, view: &View) -> String {
    let mut table = Table::new(&["FIELD", "VALUE", "SOURCE", "PLACE"]);
    for field in explained {
        let tone = if field.source == "default" { Tone::Dim } else { Tone::Plain };
        let value = shorten(&field.value);
        let mut place = field.place.clone().unwrap_or_default();
        for filled in &field.filled {
            place.push_str(&format!("; {filled}"));
        }
        table.row(vec![
            Cell::toned(Tone::Accent, field.path.clone()),
            value.into(),
            Cell::toned(tone, field.source.clone()),
            Cell::toned(tone, place),
        ]);
    }
    let title = view.paint(Tone::Strong, &desired.unit.to_string());
    format!("{}{title}\n{}", if further { "\n" } else { "" }, table.draw(view))
}

/// A value on one line of a table.
fn shorten(value: &str) -> String {
    let line = value.replace('\n', "\\n");
    if line.chars().count() > 60 { format!("{}...", line.chars().take(57).collect::<String>()) } else { line }
}

fn nothing(documents: &DocumentSet) -> CliError {
    let releases: Vec<String> =
        documents.releases().map(|(app, environment, _)| format!("{app} -e {environment}")).collect();
    let mut error = CliError::not_found("no Release fits what was asked for");
    if releases.is_empty() {
        return error.remedy("there is no Release here at all: `trimtab validate` tells what is wrong");
    }
    error.choices = releases;
    error
}
