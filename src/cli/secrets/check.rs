//! `trimtab secrets check`: who can read what, and what nobody here can.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::inline::rewrite;
use super::{Keys, Repository, read};
use crate::cli::context::{Printing, finish};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::folder::Folder;
use crate::cli::output::View;
use crate::cli::output::style::Tone;
use crate::domain::manifest::is_manifest_path;
use crate::secrets::file::Sealed;
use crate::secrets::open::{OpenError, open};
use crate::secrets::plain::Format;
use crate::secrets::recipient::Recipient;
use crate::secrets::{redact, seal, sops};

/// Tells of every encrypted file of a repository who should read it, and whether the identities at hand can.
///
/// Ends with 0 when everything is encrypted and can be read here, or when there is no identity to try; with 6 otherwise.
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

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    /// An age file.
    Age,
    /// A file of SOPS.
    Sops,
    /// An armored age file in a document.
    Inline,
    /// A file that a document names as a secret and that is not encrypted.
    Clear,
}

/// One encrypted thing.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// The file.
    pub(super) path: PathBuf,
    /// For people: from the repository's folder, with the line for what stands in a document.
    pub(super) shown: String,
    /// What it is.
    pub(super) kind: Kind,
    bytes: Arc<Vec<u8>>,
}

/// What was found of one item.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    /// Where.
    path: String,
    /// What.
    kind: Kind,
    /// Who should be able to read it.
    recipients: Vec<String>,
    /// Whether the identities at hand can; not told where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    readable: Option<bool>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

pub(super) fn run(args: Args) -> ExitCode {
    let view = args.printing.view();
    finish(&view, check(&args, &view))
}

fn check(args: &Args, view: &View) -> Result<Exit, CliError> {
    let repository = Repository::around(&args.dir);
    let found = repository.identities(&args.keys)?;
    let findings: Vec<Finding> =
        find(&args.dir)?.iter().map(|item| judge(item, &repository, &found.identities)).collect();
    view.print(&findings, |view| text(&findings, found.identities.is_empty(), &found.problems, view));
    Ok(if findings.iter().all(|finding| finding.problems.is_empty()) { Exit::Ok } else { Exit::Failed })
}

/// Everything encrypted below a folder, and every file that a document names as a secret.
pub(super) fn find(dir: &Path) -> Result<Vec<Item>, CliError> {
    let folder = Folder::open(dir)?;
    let documents = folder.documents()?;
    let named = documents.secret_paths();
    let mut items = BTreeMap::new();
    for path in folder.files()? {
        let full = folder.root().join(&path);
        let is_named = named.contains(&path);
        let is_text =
            is_manifest_path(&path) || matches!(Format::of(&path), Some(Format::Json | Format::Dotenv | Format::Ini));
        if !is_named && !path.ends_with(".age") && !is_text {
            continue;
        }
        let Ok(sealed) = read(&full) else { continue };
        let text = std::str::from_utf8(&sealed.bytes).unwrap_or_default();
        let kind = if seal::is_age(&sealed.bytes) {
            Kind::Age
        } else if (is_text || is_named) && sops::is_sops(text, Format::of(&path)) {
            Kind::Sops
        } else if is_named || path.ends_with(".age") {
            Kind::Clear
        } else {
            for (line, armored) in inline(text) {
                let shown = format!("{path}:{line}");
                let item = Item { path: full.clone(), shown: shown.clone(), kind: Kind::Inline, bytes: armored };
                items.insert(shown, item);
            }
            continue;
        };
        items.insert(path.clone(), Item { path: full, shown: path, kind, bytes: sealed.bytes });
    }
    Ok(items.into_values().collect())
}

fn inline(text: &str) -> Vec<(usize, Arc<Vec<u8>>)> {
    let mut all = Vec::new();
    let _ = rewrite(text, |inline| {
        all.push((inline.line, Arc::new(inline.armored.clone().into_bytes())));
        Ok::<_, std::convert::Infallible>(None)
    });
    all
}

fn judge(item: &Item, repository: &Repository, identities: &crate::secrets::Identities) -> Finding {
    let mut problems = Vec::new();
    let text = std::str::from_utf8(&item.bytes).unwrap_or_default();
    let expected = match item.kind {
        Kind::Sops => {
            sops::recipients(text, Format::of(&item.shown).unwrap_or(Format::Json)).map_err(|error| error.to_string())
        }
        _ => repository
            .recipients(&item.path)
            .map(|all| all.iter().map(Recipient::short).collect())
            .map_err(|error| error.to_string()),
    };
    let recipients = expected.unwrap_or_else(|error| {
        problems.push(error);
        Vec::new()
    });
    if item.kind == Kind::Clear {
        problems.push(
            "it is not encrypted: `trimtab secrets encrypt` encrypts it; what is in Git's history stays readable"
                .into(),
        );
    }
    let mut readable = None;
    if !identities.is_empty() && item.kind != Kind::Clear {
        let path = item.path.to_string_lossy().into_owned();
        // Every value of a file of SOPS is decrypted whichever is asked for.
        let key = (item.kind == Kind::Sops && Format::of(&path).is_some()).then(|| "\0".to_owned());
        match open(&Sealed { path, key, bytes: item.bytes.clone() }, identities) {
            Ok(value) => {
                readable = Some(true);
                if value.expose().trim_ascii_end().len() < redact::SHORTEST {
                    problems.push(format!(
                        "its value is shorter than {} bytes: it is not looked for in logs and answers",
                        redact::SHORTEST
                    ));
                }
            }
            Err(OpenError::NoSuchKey { .. }) => readable = Some(true),
            Err(error) => {
                readable = Some(false);
                problems.push(format!("{error}; expected: {}", recipients.join(", ")));
            }
        }
    }
    let recipients = recipients.iter().map(|text| crate::secrets::recipient::shorten(text)).collect();
    Finding { path: item.shown.clone(), kind: item.kind, recipients, readable, problems }
}

fn text(findings: &[Finding], blind: bool, notes: &[String], view: &View) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match (finding.problems.is_empty(), finding.readable) {
            (false, _) => view.paint(Tone::Bad, "problem "),
            (true, Some(_)) => view.paint(Tone::Good, "readable"),
            (true, None) => view.paint(Tone::Dim, "unknown "),
        };
        text.push_str(&format!(
            "{mark} {} for {}\n",
            view.clean(&finding.path),
            view.clean(&finding.recipients.join(", "))
        ));
        for problem in &finding.problems {
            text.push_str(&format!("         {}\n", view.clean(problem)));
        }
    }
    for note in notes {
        text.push_str(&format!("{} {}\n", view.paint(Tone::Warn, "note:"), view.clean(note)));
    }
    if findings.is_empty() {
        text.push_str("nothing here is encrypted, and no document names a secret\n");
    } else if blind {
        text.push_str("there is no identity here, so nothing was decrypted: name one with -i FILE\n");
    }
    text
}
