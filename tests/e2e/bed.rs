//! A bed of its own for each test: a bare repository, a clone to push from, and the three processes.

#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use trimtab::api::client::Api;
use trimtab::api::types::{UnitHealth, UnitStatus};
use trimtab::domain::id::UnitId;

use crate::support::{PATIENCE, Ports, Running, eventually_async, free_port, trimtab};

/// One installation.
pub struct Bed {
    dir: TempDir,
    /// The router's listener for the apps.
    pub port: u16,
    ports: Ports,
    daemon: Option<Running>,
    supervisor: Option<Running>,
    router: Option<Running>,
    second_router: Option<Running>,
}

impl Bed {
    /// An installation whose repository holds these files; nothing runs yet.
    pub fn new(files: &[(&str, &str)]) -> Bed {
        let dir = tempfile::Builder::new().prefix("trimtab-e2e-").tempdir().unwrap();
        let bed = Bed {
            port: free_port(),
            ports: Ports::claim(),
            dir,
            daemon: None,
            supervisor: None,
            router: None,
            second_router: None,
        };
        let root = bed.path("");
        git(&root, &["init", "-q", "--bare", "-b", "main", "repo.git"]);
        git(&root, &["clone", "-q", "repo.git", "clone"]);
        for (key, value) in [("user.name", "Tester"), ("user.email", "tester@example.org")] {
            git(&bed.clone_dir(), &["config", key, value]);
        }
        fs::write(
            bed.config(),
            "installation = 'e2e'\nstate_dir = 'state/daemon'\n[source]\nurl = './repo.git'\npoll = '1s'\n\
             [api]\nsocket = 'daemon.sock'\n[supervisor]\nsocket = 'supervisor.sock'\n[router]\nsockets = ['router.sock']\n",
        )
        .unwrap();
        bed.push("first", files);
        bed
    }

    /// Starts all three.
    pub fn start(mut self) -> Bed {
        self.start_supervisor();
        self.start_router();
        self.start_daemon();
        self
    }

    pub fn start_daemon(&mut self) {
        self.start_daemon_with(&[]);
    }

    /// With these variables.
    pub fn start_daemon_with(&mut self, variables: &[(&str, &str)]) {
        let config = self.config();
        let mut command = self.service("daemon");
        command.envs(variables.iter().copied());
        command.args(["daemon", "--config"]).arg(config);
        self.daemon = Some(self.spawn(command, "daemon"));
    }

    pub fn start_supervisor(&mut self) {
        let mut command = self.service("supervisor");
        command.arg("supervisor").arg("--state-dir").arg(self.path("state/supervisor"));
        command.arg("--socket").arg(self.path("supervisor.sock"));
        command.args(["--port-range", &self.ports.range]);
        self.supervisor = Some(self.spawn(command, "supervisor"));
    }

    pub fn start_router(&mut self) {
        let mut command = trimtab();
        command.arg("router").arg("--state-dir").arg(self.path("state/router"));
        command.arg("--socket").arg(self.path("router.sock")).args(["--threads", "1"]);
        if fs::read_to_string(self.config()).unwrap().contains("second-router.sock") {
            command.arg("--share-ports");
        }
        self.router = Some(self.spawn(command, "router"));
    }

    /// A second data plane at the same addresses; to be named in the configuration before the first one starts.
    pub fn start_second_router(&mut self) {
        let mut command = trimtab();
        command.arg("router").arg("--state-dir").arg(self.path("state/second-router"));
        command.arg("--socket").arg(self.path("second-router.sock")).args(["--threads", "1", "--share-ports"]);
        self.second_router = Some(self.spawn(command, "second-router"));
    }

    /// A command for one of the programs, with its credentials where the bed has some, as systemd would hand them over.
    fn service(&self, name: &str) -> Command {
        let credentials = self.path(&format!("credentials/{name}"));
        let mut command = trimtab();
        if credentials.exists() {
            command.env("CREDENTIALS_DIRECTORY", credentials);
        }
        command
    }

    pub fn kill_second_router(&mut self) {
        self.second_router = None;
    }

    /// Changes the daemon's configuration; it counts from the daemon's next start on.
    pub fn configure(&self, from: &str, to: &str) {
        let config = fs::read_to_string(self.config()).unwrap();
        assert!(config.contains(from), "{from} in {config}");
        fs::write(self.config(), config.replace(from, to)).unwrap();
    }

    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("no daemon runs").pid()
    }

    pub fn router_pid(&self) -> u32 {
        self.router.as_ref().expect("no router runs").pid()
    }

    pub fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    pub fn kill_supervisor(&mut self) {
        self.supervisor = None;
    }

    pub fn kill_router(&mut self) {
        self.router = None;
    }

    pub fn supervisor_pid(&self) -> u32 {
        self.supervisor.as_ref().expect("no supervisor runs").pid()
    }

    /// Ends all three as a crash would, with leave to write core files; how each ended.
    pub fn crash(&mut self) -> Vec<ExitStatus> {
        let all = [&mut self.daemon, &mut self.supervisor, &mut self.router];
        all.into_iter().filter_map(Option::take).map(|mut one| one.crash()).collect()
    }

    fn spawn(&self, mut command: Command, name: &str) -> Running {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{name}.log"))).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Running::spawn(&mut command)
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub fn config(&self) -> PathBuf {
        self.path("trimtab.toml")
    }

    pub fn clone_dir(&self) -> PathBuf {
        self.path("clone")
    }

    pub fn repo(&self) -> PathBuf {
        self.path("repo.git")
    }

    /// Commits files (an empty text removes one) and pushes; the new commit.
    pub fn push(&self, message: &str, files: &[(&str, &str)]) -> String {
        let clone = self.clone_dir();
        if git_ok(&clone, &["rev-parse", "origin/main"]) {
            git(&clone, &["pull", "-q", "--rebase", "origin", "main"]);
        }
        for (path, text) in files {
            let path = clone.join(path);
            if text.is_empty() {
                fs::remove_file(path).unwrap();
                continue;
            }
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text.replace("{PORT}", &self.port.to_string())).unwrap();
            if text.starts_with("#!") {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                fs::set_permissions(&path, mode).unwrap();
            }
        }
        git(&clone, &["add", "-A"]);
        git(&clone, &["commit", "-q", "-m", message]);
        git(&clone, &["push", "-q", "origin", "HEAD:main"]);
        git(&clone, &["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// The commits of the remote's branch, newest first: `revision subject`.
    pub fn log(&self) -> Vec<String> {
        git(&self.repo(), &["log", "--format=%H %s", "main"]).lines().map(str::to_owned).collect()
    }

    pub fn api(&self) -> Api {
        Api::new(&self.path("daemon.sock"))
    }

    pub async fn unit(&self, unit: &str) -> Result<UnitStatus, String> {
        let id: UnitId = unit.parse().unwrap();
        self.api().unit(&id).await.map_err(|error| error.to_string())
    }

    /// Waits until a unit is as asked; what was seen last is in the panic.
    pub async fn wait(&self, unit: &str, what: &str, holds: impl Fn(&UnitStatus) -> bool) -> UnitStatus {
        eventually_async(PATIENCE, &format!("{unit}: {what}{}", self.hint()), async || {
            let status = self.unit(unit).await?;
            if holds(&status) { Ok(status) } else { Err(format!("{status:#?}")) }
        })
        .await
    }

    /// Waits until a version is verified and all is in sync.
    pub async fn verified(&self, unit: &str, version: &str) -> UnitStatus {
        self.wait(unit, &format!("{version} is verified"), |status| {
            status.health == UnitHealth::InSync
                && status.last_verified.as_ref().is_some_and(|verified| verified.version == version)
        })
        .await
    }

    /// Waits until the daemon has read a commit.
    pub async fn has_read(&self, revision: &str) {
        eventually_async(PATIENCE, &format!("{revision} is read{}", self.hint()), async || {
            let daemon = self.api().daemon().await.map_err(|error| error.to_string())?;
            let read = daemon.head.as_ref().is_some_and(|head| head.as_str() == revision);
            if read { Ok(()) } else { Err(format!("{:?}", daemon.head)) }
        })
        .await;
    }

    fn hint(&self) -> String {
        format!(" (logs in {})", self.dir.path().display())
    }

    /// Runs the command line against the bed's daemon.
    pub fn cli(&self, args: &[&str]) -> Output {
        let mut command = trimtab();
        command.args(args).env("TRIMTAB_SOCKET", self.path("daemon.sock")).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).current_dir(self.dir.path()).output().unwrap()
    }

    /// What a verb prints, on both streams, whatever its exit code.
    pub fn told(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }

    /// Waits until the source can't be read; why, as the daemon tells.
    pub async fn source_error(&self) -> String {
        eventually_async(PATIENCE, &format!("the source fails{}", self.hint()), async || {
            self.api().daemon().await.ok().and_then(|daemon| daemon.source_error)
        })
        .await
    }

    /// One request to an app; its answer's body and version.
    pub async fn get(&self, host: &str) -> Result<(String, String), String> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        let request = client.get(format!("http://127.0.0.1:{}/", self.port)).header("host", host);
        let response = request.send().await.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let version = response.headers().get("x-version").map_or(String::new(), |v| v.to_str().unwrap().to_owned());
        let body = response.text().await.map_err(|error| error.to_string())?;
        if status.is_success() { Ok((body, version)) } else { Err(format!("{status}: {body}")) }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        (self.daemon, self.router, self.second_router) = (None, None, None);
        self.supervisor = None;
        // The apps outlive the three on purpose; their folders tell whose they are.
        let root = self.dir.path().to_path_buf();
        for _ in 0..3 {
            kill_below(&root);
        }
        if std::thread::panicking() {
            let kept = self.dir.path().to_path_buf();
            self.dir.disable_cleanup(true);
            eprintln!("kept {}", kept.display());
        }
    }
}

fn kill_below(root: &Path) {
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let there = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(root));
        if there || String::from_utf8_lossy(&command).contains(&*root.to_string_lossy()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

fn git_command(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.output().expect("git can be started")
}

fn git_ok(dir: &Path, args: &[&str]) -> bool {
    git_command(dir, args).status.success()
}

/// Runs git and returns what it printed.
#[track_caller]
pub fn git(dir: &Path, args: &[&str]) -> String {
    let output = git_command(dir, args);
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
