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
use crate::domain::id::Name;

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
    view.print(&report, |view| text(&report, &args.name, view));
    Ok(Exit::Ok)
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
