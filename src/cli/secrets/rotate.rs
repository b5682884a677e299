//! `trimtab secrets rotate`: everything encrypted anew, to the recipients in force.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::check::{Kind, find};
use super::inline::rewrite;
use super::{Keys, Repository, read, replace};
use crate::cli::context::{Printing, finish};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::output::View;
use crate::cli::output::style::Tone;
use crate::secrets::file::Sealed;
use crate::secrets::open::open;
use crate::secrets::recipient::Recipient;
use crate::secrets::{Identities, seal};

/// Encrypts every age file of a repository, and every armored value in its documents, anew to the recipients that the nearest
/// .age-recipients lists. Values stay what they are, so nothing is rolled out for it. What somebody could read before stays
/// readable to them in Git's history: after removing a recipient change the values as well.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The repository's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    printing: Printing,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// What was encrypted anew.
    rotated: Vec<String>,
    /// Files of SOPS, which SOPS itself rotates.
    left: Vec<String>,
    /// What could not be, and why.
    failed: Vec<String>,
}

pub(super) fn run(args: Args) -> ExitCode {
    let view = args.printing.view();
    finish(&view, rotate(&args, &view))
}

fn rotate(args: &Args, view: &View) -> Result<Exit, CliError> {
    let repository = Repository::around(&args.dir);
    let found = repository.identities(&args.keys)?;
    if found.identities.is_empty() {
        let error = CliError::refused("there is no identity to read the files with");
        let error = found.problems.iter().fold(error, |error, problem| error.remedy(problem.clone()));
        return Err(error.remedy("name one with -i FILE, or in $TRIMTAB_IDENTITY"));
    }
    let mut report = Report::default();
    for item in find(&args.dir)? {
        let shown = item.shown.clone();
        let outcome = match item.kind {
            Kind::Sops => {
                report.left.push(shown);
                continue;
            }
            Kind::Clear => continue,
            Kind::Age => file(&repository, &item.path, &found.identities),
            Kind::Inline => document(&repository, &item.path, &found.identities),
        };
        match outcome {
            Ok(()) => report.rotated.push(shown),
            Err(reason) => report.failed.push(format!("{shown}: {reason}")),
        }
    }
    report.rotated.dedup();
    report.failed.dedup();
    view.print(&report, |view| text(&report, view));
    Ok(if report.failed.is_empty() { Exit::Ok } else { Exit::Failed })
}

fn again(sealed: &Sealed, identities: &Identities, recipients: &[Recipient]) -> Result<Vec<u8>, String> {
    let value = open(sealed, identities).map_err(|error| error.to_string())?;
    seal::seal(&value, recipients, seal::is_armored(&sealed.bytes)).map_err(|error| error.to_string())
}

fn file(repository: &Repository, path: &Path, identities: &Identities) -> Result<(), String> {
    let recipients = repository.recipients(path).map_err(|error| error.to_string())?;
    let sealed = read(path).map_err(|error| error.to_string())?;
    replace(path, &again(&sealed, identities, &recipients)?).map_err(|error| error.to_string())
}

fn document(repository: &Repository, path: &Path, identities: &Identities) -> Result<(), String> {
    let recipients = repository.recipients(path).map_err(|error| error.to_string())?;
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let next = rewrite(&text, |inline| {
        let bytes = Arc::new(inline.armored.clone().into_bytes());
        let sealed = Sealed { path: format!("line {}", inline.line), key: None, bytes };
        let sealed_again = again(&sealed, identities, &recipients);
        sealed_again
            .map(|bytes| Some(String::from_utf8_lossy(&bytes).into_owned()))
            .map_err(|error| format!("line {}: {error}", inline.line))
    })?;
    replace(path, next.as_bytes()).map_err(|error| error.to_string())
}

fn text(report: &Report, view: &View) -> String {
    let mut text = String::new();
    for path in &report.rotated {
        text.push_str(&format!("{} {}\n", view.paint(Tone::Good, "encrypted anew"), view.clean(path)));
    }
    for path in &report.left {
        let hint = "`sops updatekeys` rotates it";
        text.push_str(&format!("{} {}: {hint}\n", view.paint(Tone::Dim, "left          "), view.clean(path)));
    }
    for path in &report.failed {
        text.push_str(&format!("{} {}\n", view.paint(Tone::Bad, "failed        "), view.clean(path)));
    }
    text
}
