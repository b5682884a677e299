//! The `git` program, away from the user's and the machine's configuration.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::error::DemoError;

/// A repository or an empty folder that `git` runs in.
#[derive(Clone, Debug)]
pub struct Git {
    dir: PathBuf,
}

impl Git {
    /// Runs in this folder.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Git { dir: dir.into() }
    }

    /// Runs a command and returns what it prints, without the last line's end.
    pub async fn run(&self, args: &[&str]) -> Result<String, DemoError> {
        let failed = |reason: String| DemoError::Git { command: args.join(" "), reason };
        let output = self.command(args).output().await.map_err(|error| {
            failed(match error.kind() {
                std::io::ErrorKind::NotFound => "there is no `git`: install it, the demo needs nothing else".into(),
                _ => error.to_string(),
            })
        })?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(failed(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim_end())))
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("git");
        command.args(args).current_dir(&self.dir).stdin(Stdio::null()).kill_on_drop(true);
        // Whatever a surrounding `git` (a hook, an alias) has set is about another repository.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GIT_") {
                command.env_remove(name);
            }
        }
        command
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C");
        command
    }

    /// Makes a repository here whose first branch is `main`, also with a Git that knows no `--initial-branch`.
    pub async fn init(dir: &Path, bare: bool) -> Result<Self, DemoError> {
        let parent = dir.parent().unwrap_or(Path::new("/"));
        let path = dir.to_string_lossy();
        let mut args = vec!["init", "--quiet"];
        args.extend(bare.then_some("--bare"));
        args.push(&path);
        Git::at(parent).run(&args).await?;
        let git = Git::at(dir);
        git.run(&["symbolic-ref", "HEAD", "refs/heads/main"]).await?;
        Ok(git)
    }

    /// Commits everything in the work tree and pushes it; the new commit.
    pub async fn publish(&self, message: &str) -> Result<String, DemoError> {
        self.run(&["add", "--all"]).await?;
        self.run(&["commit", "--quiet", "--message", message]).await?;
        self.run(&["push", "--quiet", "--set-upstream", "origin", "main"]).await?;
        self.run(&["rev-parse", "HEAD"]).await
    }
}
