//! `trimtab init`: a configuration repository of a few lines to begin with.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::context::{Printing, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::View;
use super::output::style::Tone;
use super::secrets::{IDENTITY_FILE, Repository, keygen};
use crate::domain::id::Name;
use crate::domain::secret::{DIGEST_KEY_FILE, RECIPIENTS_FILE};
use crate::secrets::identity::Identity;
use crate::secrets::{find, recipient};

/// Writes an environment, an app of eight lines with a program, a release, and the daemon's configuration to begin with.
/// A file that is there already is left as it is.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The folder to write to; made where it is missing [default: the working directory]
    #[arg(value_name = "DIR", conflicts_with = "dir")]
    folder: Option<PathBuf>,
    /// The same, as an option
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The app's name
    #[arg(long, default_value = "hello")]
    name: Name,
    /// Who shall read the repository's secrets (age1..., ssh-ed25519 ...), instead of an identity that is made for it; may be given
    /// more than once
    #[arg(short = 'r', long = "recipient", value_name = "RECIPIENT")]
    recipients: Vec<String>,
    #[command(flatten)]
    printing: Printing,
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// The folder.
    folder: PathBuf,
    /// The files that were written.
    written: Vec<String>,
    /// The files that were there already.
    kept: Vec<String>,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.printing.view();
    finish(&view, init(&args, &view))
}

fn init(args: &Args, view: &View) -> Result<Exit, CliError> {
    let folder = args.folder.as_ref().or(args.dir.as_ref()).cloned().unwrap_or_else(|| ".".into());
    let mut report = Report { folder: folder.clone(), written: Vec::new(), kept: Vec::new() };
    for (path, text, mode) in files(&args.name) {
        if write_new(&folder.join(&path), &text, mode)? {
            report.written.push(path);
        } else {
            report.kept.push(path);
        }
    }
    secrets(&folder, &args.recipients, &mut report)?;
    view.print(&report, |view| text(&report, &args.name, view));
    Ok(Exit::Ok)
}

/// What secrets need: who reads them, an identity that does (unless others are named), and the key for digests.
fn secrets(folder: &Path, recipients: &[String], report: &mut Report) -> Result<(), CliError> {
    let listed = folder.join(RECIPIENTS_FILE);
    if listed.exists() {
        report.kept.push(RECIPIENTS_FILE.to_owned());
    } else {
        let lines = if recipients.is_empty() { own_recipients(folder, report)? } else { recipients.to_vec() };
        let text = format!(
            "# Who reads the secrets of this folder and of those below, one recipient a line.\n{}\n",
            lines.join("\n")
        );
        recipient::parse_file(&text).map_err(|error| CliError::invalid(format!("--recipient: {error}")))?;
        write_new(&listed, &text, 0o644)?;
        report.written.push(RECIPIENTS_FILE.to_owned());
    }
    match Repository::at(folder).ensure_digest_key()? {
        true => report.written.push(DIGEST_KEY_FILE.to_owned()),
        false => report.kept.push(DIGEST_KEY_FILE.to_owned()),
    }
    Ok(())
}

/// The recipients of the identity beside the documents, which is made where there is none, and which Git never takes.
fn own_recipients(folder: &Path, report: &mut Report) -> Result<Vec<String>, CliError> {
    let ignored = folder.join(".gitignore");
    let known = fs::read_to_string(&ignored).unwrap_or_default();
    let line = format!("/{IDENTITY_FILE}");
    if !known.lines().any(|known| known.trim() == line) {
        let gap = if known.is_empty() || known.ends_with('\n') { "" } else { "\n" };
        let text = format!("{known}{gap}{line}\n");
        fs::write(&ignored, text)
            .map_err(|error| CliError::failed(format!("{} can't be written: {error}", ignored.display())))?;
        report.written.push(".gitignore".to_owned());
    }
    let file = folder.join(IDENTITY_FILE);
    if file.exists() {
        report.kept.push(IDENTITY_FILE.to_owned());
    } else {
        keygen::write(&file, &keygen::new_identity(false))?;
        report.written.push(IDENTITY_FILE.to_owned());
    }
    let identities = find::from_file(&file).map_err(|error| CliError::invalid(error.to_string()))?;
    Ok(identities.iter().filter_map(Identity::recipient).map(|recipient| recipient.to_string()).collect())
}

/// Writes a file unless there is one; `false`: there is one.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<bool, CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("{} can't be written: {error}", path.display()));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map(|()| true).map_err(failed),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// The files: path, text, mode.
fn files(name: &Name) -> Vec<(String, String, u32)> {
    let fill = |template: &str| template.replace("NAME", name.as_str());
    vec![
        ("environments/dev.yaml".to_owned(), fill(ENVIRONMENT), 0o644),
        (format!("apps/{name}.yaml"), fill(APP), 0o644),
        (format!("apps/{name}/bin/{name}"), fill(PROGRAM), 0o755),
        (format!("releases/dev/{name}.yaml"), fill(RELEASE), 0o644),
        ("trimtab.toml".to_owned(), fill(CONFIG), 0o644),
    ]
}

const ENVIRONMENT: &str = "\
# Where: this machine.
apiVersion: trimtab/v1
kind: Environment
metadata: { name: dev }
spec:
  platform: host
  listeners: { web: 127.0.0.1:8080 }
";

const APP: &str = "\
apiVersion: trimtab/v1
kind: App
metadata: { name: NAME }
spec:
  workload: { process: { artifact: NAME, command: [bin/NAME, \"{{ port }}\", \"{{ version }}\"] } }
  route: { host: NAME.localhost }
  health: { http: /healthz }
  strategy: rolling
";

const RELEASE: &str = "\
# Which version runs in dev, and under `set:` what differs there. A new version is one line in this file.
apiVersion: trimtab/v1
kind: Release
metadata: { name: NAME, environment: dev }
spec: { version: 1.0.0 }
";

const PROGRAM: &str = r#"#!/bin/sh
# The app: a program that listens on the port that it is given. This is a stand-in that comes with trimtab; put your own here.
exec trimtab demo-app --port "$1" --version "$2" --greeting NAME
"#;

const CONFIG: &str = r#"# For `trimtab daemon --config trimtab.toml`. Relative paths begin at this file's folder.
installation = "default"
state_dir = "/var/lib/trimtab/daemon"

[source]
url = "./"          # or https://..., ssh://..., user@host:path
branch = "main"
path = ""           # the folder of the repository that holds the documents

[api]
socket = "/run/trimtab/daemon.sock"

[secrets]
identity_files = ["identity.txt"]   # reads the repository's secrets; never committed

[supervisor]
socket = "/run/trimtab/supervisor.sock"

[router]
sockets = ["/run/trimtab/router.sock"]
"#;

fn text(report: &Report, name: &Name, view: &View) -> String {
    let mut text = String::new();
    for path in &report.written {
        text.push_str(&format!("{} {path}\n", view.paint(Tone::Good, "wrote")));
    }
    for path in &report.kept {
        text.push_str(&format!("{} {path} was there already\n", view.paint(Tone::Dim, "kept ")));
    }
    let folder = report.folder.display();
    text.push_str(&format!(
        "\nNext: `trimtab validate {folder}`, then `trimtab render {name} --explain --dir {folder}`; commit it, and \
         name the repository in trimtab.toml.\n"
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::config::Config;
    use crate::domain::manifest::DocumentSet;
    use crate::domain::render::render;

    #[test]
    fn what_it_writes_is_valid_and_the_app_has_eight_lines() {
        let dir = tempfile::tempdir().unwrap();
        let name: Name = "shop".parse().unwrap();
        let files = files(&name);
        let yaml = files.iter().filter(|(path, ..)| path.ends_with(".yaml"));
        let documents = DocumentSet::from(yaml.map(|(path, text, _)| (path.clone(), text.clone())).collect());
        assert_eq!(documents.problems(), []);
        let units = render(&documents, &|path| (path == "apps/shop").then(|| "0".repeat(40)));
        assert_eq!(units.len(), 1);
        assert!(units[0].outcome.is_ok(), "{:?}", units[0].outcome);
        assert_eq!(APP.lines().count(), 8);
        let config = dir.path().join("trimtab.toml");
        fs::write(&config, CONFIG).unwrap();
        Config::read(&config).unwrap();
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        assert!(write_new(&path, "one", 0o644).unwrap());
        assert!(!write_new(&path, "two", 0o644).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
    }
}
