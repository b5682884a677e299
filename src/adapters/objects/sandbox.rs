//! One tool, once: apart, bounded, without an environment.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::ports::objects::ToolError;

/// How long a tool may take.
const LONGEST: Duration = Duration::from_secs(60);
/// How much it may tell.
const MOST_OUTPUT: u64 = 32 << 20;
/// How much of its complaint is told.
const MOST_COMPLAINT: u64 = 8 << 10;
/// Address space, processor seconds, open files, no core: what a tool may use.
const LIMITS: [&str; 4] = ["--as=8589934592", "--cpu=60", "--nofile=1024", "--core=0"];
/// The tools that are looked for.
const TOOLS: [&str; 2] = ["kustomize", "helm"];

/// How a tool is kept apart on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Apart {
    /// It sees its folder only, and no network.
    Bubblewrap,
    /// It has no network.
    Unshare,
    /// Only by its own options and an empty environment.
    Nothing,
}

/// Runs tools.
#[derive(Debug, Default)]
pub struct Sandbox {
    apart: OnceCell<Apart>,
    /// Where tools are that are not looked for in PATH.
    places: BTreeMap<&'static str, PathBuf>,
    /// The tools that were needed last and were not there.
    missed: Mutex<BTreeSet<&'static str>>,
}

impl Sandbox {
    /// One whose tools are at these places, the others in PATH.
    pub fn new(places: BTreeMap<&'static str, PathBuf>) -> Self {
        Sandbox { places, ..Sandbox::default() }
    }

    fn missed(&self) -> MutexGuard<'_, BTreeSet<&'static str>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, tool: &'static str) -> Option<PathBuf> {
        match self.places.get(tool) {
            Some(place) => Some(place.clone()).filter(|place| place.is_file()),
            None => find(tool),
        }
    }

    /// What a tool tells, run in a folder.
    ///
    /// # Errors
    ///
    /// It is missing, says no, or was stopped.
    pub async fn run(&self, tool: &'static str, arguments: &[String], folder: &Path) -> Result<Vec<u8>, ToolError> {
        let Some(program) = self.place(tool) else {
            self.missed().insert(tool);
            return Err(ToolError::Missing { tool });
        };
        self.missed().remove(tool);
        let apart = *self.apart.get_or_init(probe).await;
        let broken = |error: std::io::Error| ToolError::Broken { tool, reason: error.to_string() };
        let mut child = command(apart, &program, arguments, folder).spawn().map_err(broken)?;
        match tokio::time::timeout(LONGEST, finish(tool, &mut child)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                // It goes with the handle; its answer is no longer of interest.
                drop(child);
                Err(ToolError::Stopped { tool, reason: format!("it took more than {} s", LONGEST.as_secs()) })
            }
        }
    }

    /// See [`crate::ports::objects::ObjectTools::check`].
    pub fn check(&self) -> Result<(String, Vec<String>), String> {
        let (found, missing): (Vec<&str>, Vec<&str>) = TOOLS.into_iter().partition(|tool| self.place(tool).is_some());
        let told = |tool: &&str| {
            format!(
                "{tool} is not there: apps that need it can't be rendered; install it, or say where it is with `[tools]` in the daemon's configuration"
            )
        };
        let needed = self.missed();
        let mut needed = missing.iter().filter(|tool| needed.contains(*tool)).map(told).peekable();
        match (needed.peek().is_some(), missing.as_slice()) {
            (true, _) => Err(needed.collect::<Vec<_>>().join("; ")),
            (false, []) => Ok((format!("{} are there", found.join(" and ")), Vec::new())),
            (false, _) => Ok(("nothing that is missing was needed so far".into(), missing.iter().map(told).collect())),
        }
    }
}

/// The place of a program in PATH.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_absolute() && file.is_file())
}

/// What this machine can do: tried, not guessed.
async fn probe() -> Apart {
    for apart in [Apart::Bubblewrap, Apart::Unshare] {
        let Some(program) = find("true") else { break };
        let tried = command(apart, &program, &[], Path::new("/")).output();
        if matches!(tokio::time::timeout(Duration::from_secs(5), tried).await, Ok(Ok(output)) if output.status.success())
        {
            return apart;
        }
    }
    tracing::warn!("neither bwrap nor unshare can keep kustomize and helm from the network on this machine");
    Apart::Nothing
}

fn command(apart: Apart, program: &Path, arguments: &[String], folder: &Path) -> Command {
    let mut words: Vec<OsString> = Vec::new();
    if find("prlimit").is_some() {
        words.push("prlimit".into());
        words.extend(LIMITS.iter().map(OsString::from));
        words.push("--".into());
    }
    match apart {
        Apart::Bubblewrap => {
            words.extend(
                [
                    "bwrap",
                    "--unshare-all",
                    "--die-with-parent",
                    "--new-session",
                    "--clearenv",
                    "--dev",
                    "/dev",
                    "--tmpfs",
                    "/tmp",
                    "--ro-bind-try",
                    "/usr",
                    "/usr",
                    "--ro-bind-try",
                    "/lib",
                    "/lib",
                    "--ro-bind-try",
                    "/lib64",
                    "/lib64",
                ]
                .map(OsString::from),
            );
            for (name, value) in ENVIRONMENT {
                words.extend(["--setenv".into(), name.into(), value.into()]);
            }
            words.extend(["--ro-bind".into(), program.into(), "/tool".into(), "--ro-bind".into(), folder.into()]);
            words.extend(["/work".into(), "--chdir".into(), "/work".into(), "/tool".into()]);
        }
        Apart::Unshare => {
            words.extend(["unshare", "--user", "--map-root-user", "--net", "--ipc", "--"].map(OsString::from));
            words.push(program.into());
        }
        Apart::Nothing => words.push(program.into()),
    }
    words.extend(arguments.iter().map(OsString::from));
    // There is a word always: the program.
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).current_dir(folder).env_clear().envs(ENVIRONMENT);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    command
}

/// All that a tool knows of its surroundings: nothing of the daemon's home, no plugins, no credentials.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("HOME", "/nonexistent"),
    ("XDG_CONFIG_HOME", "/nonexistent"),
    ("HELM_PLUGINS", "/nonexistent"),
    ("HELM_CACHE_HOME", "/nonexistent"),
    ("HELM_CONFIG_HOME", "/nonexistent"),
    ("HELM_DATA_HOME", "/nonexistent"),
    ("KUSTOMIZE_PLUGIN_HOME", "/nonexistent"),
    ("GOMEMLIMIT", "512MiB"),
];

async fn finish(tool: &'static str, child: &mut Child) -> Result<Vec<u8>, ToolError> {
    let broken = |error: std::io::Error| ToolError::Broken { tool, reason: error.to_string() };
    let (mut told, mut complaint) = (Vec::new(), Vec::new());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let listen = async {
        if let Some(stdout) = stdout {
            stdout.take(MOST_OUTPUT + 1).read_to_end(&mut told).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    let complain = async {
        if let Some(mut stderr) = stderr {
            (&mut stderr).take(MOST_COMPLAINT).read_to_end(&mut complaint).await?;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        Ok::<_, std::io::Error>(())
    };
    // What tells too much is stopped where its output is no longer read.
    let (listened, complained) = tokio::join!(listen, complain);
    listened.and(complained).map_err(broken)?;
    if told.len() as u64 > MOST_OUTPUT {
        return Err(ToolError::Stopped { tool, reason: format!("it told more than {MOST_OUTPUT} bytes") });
    }
    let status = child.wait().await.map_err(broken)?;
    if status.success() {
        return Ok(told);
    }
    let complaint = String::from_utf8_lossy(&complaint);
    let message =
        if complaint.trim().is_empty() { format!("it ended with {status}") } else { complaint.trim().to_owned() };
    Err(ToolError::Refused { tool, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tool_that_is_missing_is_a_fault_once_it_was_needed() {
        let nowhere = |tool| (tool, PathBuf::from("/nonexistent").join(tool));
        let sandbox = Sandbox::new(TOOLS.map(nowhere).into());
        let (told, limits) = sandbox.check().unwrap();
        assert_eq!((told.as_str(), limits.len()), ("nothing that is missing was needed so far", 2));
        let missing = sandbox.run("helm", &[], Path::new("/")).await;
        assert!(matches!(missing, Err(ToolError::Missing { tool: "helm" })), "{missing:?}");
        let told = sandbox.check().unwrap_err();
        assert!(told.starts_with("helm is not there") && !told.contains("kustomize"), "{told}");
    }
}
