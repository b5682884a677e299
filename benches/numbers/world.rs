//! A world: a generated repository, a bare one that it is pushed to, and the three processes.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use trimtab::api::client::Api;
use trimtab::api::operations::UnitFilter;
use trimtab::api::types::{UnitHealth, UnitStatus};
use trimtab::domain::id::UnitId;
use trimtab::net::client::Client;

use crate::relay::{self, Count};

/// The binary that is measured.
pub const TRIMTAB: &str = env!("CARGO_BIN_EXE_trimtab");

/// Files beside the documents of each app: with its two documents ten, as long as that keeps below the limit on the files of a
/// repository.
fn other_files(apps: usize) -> usize {
    if apps > 5_000 { 4 } else { 8 }
}

/// One installation. Its processes, and what they started, end with it.
pub struct World {
    dir: TempDir,
    /// How many apps its repository has.
    pub apps: usize,
    daemon: Option<Child>,
    others: Vec<Child>,
    /// What the daemon asked of supervisor and router.
    pub requests: Count,
}

impl World {
    /// A world in which so many apps are known and as Git wants them. Each has two documents and some other files in the
    /// repository. It asks for no instances: what is measured is the daemon, and the machine need not run thousands of processes.
    pub async fn of_apps(apps: usize) -> anyhow::Result<World> {
        let mut files = vec![("environment.yaml".to_owned(), environment())];
        for number in 0..apps {
            files.push((format!("apps/{}/app.yaml", name(number)), app(number)));
            files.push((format!("apps/{}/production.yaml", name(number)), release(number, "1.0.0")));
            for other in 0..other_files(apps) {
                let text = format!("setting = {number}\nfile = {other}\n");
                files.push((format!("apps/{}/files/{other}.conf", name(number)), text));
            }
        }
        let world = World::of_files(apps, &files).await?;
        let limit = Duration::from_secs(120 + apps as u64 / 4);
        let begun = Instant::now();
        loop {
            let units = world.api().units(&UnitFilter::default()).await.unwrap_or_default();
            let in_sync = units.iter().filter(|unit| unit.health == UnitHealth::InSync).count();
            if in_sync == apps {
                break;
            }
            if begun.elapsed() > limit {
                let word = units.iter().find(|unit| unit.health != UnitHealth::InSync).map(|unit| unit.message.clone());
                bail!("only {in_sync} of {apps} apps are in sync after {limit:?}; one that is not: {word:?}");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        eprintln!("{apps} apps are in sync after {:.1} s", begun.elapsed().as_secs_f64());
        world.quiet().await?;
        Ok(world)
    }

    /// A world of these files, with all three processes started.
    pub async fn of_files(apps: usize, files: &[(String, String)]) -> anyhow::Result<World> {
        World::with(apps, files, "").await
    }

    /// A world of these files, whose daemon has more in its configuration.
    pub async fn with(apps: usize, files: &[(String, String)], config: &str) -> anyhow::Result<World> {
        let dir = tempfile::Builder::new().prefix("trimtab-bench-").tempdir()?;
        let mut world = World { dir, apps, daemon: None, others: Vec::new(), requests: Count::default() };
        let root = world.path("");
        git(&root, &["init", "-q", "--bare", "-b", "main", "repo.git"])?;
        git(&root, &["clone", "-q", "repo.git", "clone"])?;
        git(&world.path("clone"), &["config", "user.name", "Bench"])?;
        git(&world.path("clone"), &["config", "user.email", "bench@example.org"])?;
        world.push(files)?;
        let basic = "installation = 'bench'\nstate_dir = 'state/daemon'\n[source]\nurl = './repo.git'\n[api]\nsocket = 'daemon.sock'\n\
             [supervisor]\nsocket = 'supervisor.sock'\n[router]\nsockets = ['router.sock']\n";
        fs::write(world.path("trimtab.toml"), format!("{basic}{config}"))?;
        for program in ["supervisor", "router"] {
            let socket = world.path(&format!("{program}-behind.sock"));
            relay::start(&world.path(&format!("{program}.sock")), socket.clone(), world.requests.clone())?;
            let mut command = Command::new(TRIMTAB);
            command.arg(program).arg("--state-dir").arg(world.path(&format!("state/{program}")));
            command.arg("--socket").arg(&socket);
            let child = world.spawn(command, program)?;
            world.others.push(child);
            wait_for(&socket)?;
        }
        world.start_daemon()?;
        Ok(world)
    }

    /// Starts the daemon; the time until it says that it is ready.
    pub fn start_daemon(&mut self) -> anyhow::Result<Duration> {
        let path = self.path("notify.sock");
        let _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(Duration::from_secs(300)))?;
        let mut command = Command::new(TRIMTAB);
        command.args(["daemon", "--config"]).arg(self.path("trimtab.toml")).env("NOTIFY_SOCKET", &path);
        let begun = Instant::now();
        self.daemon = Some(self.spawn(command, "daemon")?);
        let mut buffer = [0; 1024];
        loop {
            let length = socket.recv(&mut buffer).context("the daemon does not get ready; see daemon.log")?;
            if String::from_utf8_lossy(&buffer[..length]).contains("READY=1") {
                return Ok(begun.elapsed());
            }
        }
    }

    /// Ends the daemon at once.
    pub fn kill_daemon(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }

    /// How many files its repository has, but for the one that all apps share.
    pub fn files(&self) -> usize {
        self.apps * (2 + other_files(self.apps))
    }

    /// The daemon's process.
    pub fn daemon(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Child::id)
    }

    /// Waits until the daemon has nothing to do.
    pub async fn quiet(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let mut calm = 0;
        while calm < 4 {
            let before = crate::usage::cpu(self.daemon())?;
            tokio::time::sleep(Duration::from_millis(500)).await;
            let used = crate::usage::cpu(self.daemon())? - before;
            calm = if used <= Duration::from_millis(10) { calm + 1 } else { 0 };
            ensure!(begun.elapsed() < Duration::from_secs(120), "the daemon does not come to rest");
        }
        Ok(())
    }

    fn spawn(&self, mut command: Command, name: &str) -> anyhow::Result<Child> {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{name}.log")))?;
        Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
    }

    /// A path below the world's folder.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// A client of the daemon.
    pub fn api(&self) -> Api {
        Api::new(&self.path("daemon.sock"))
    }

    /// How often the daemon has fetched its repository.
    pub async fn fetches(&self) -> anyhow::Result<f64> {
        let daemon = Client::new(self.path("daemon.sock"));
        let metrics = daemon.bytes(http::Method::GET, "/metrics", None::<&()>).await?;
        let text = String::from_utf8_lossy(&metrics).into_owned();
        let counts = text.lines().filter(|line| line.starts_with("trimtab_source_fetches_total"));
        Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Commits files and pushes them; when the branch moved, by the time of its file.
    pub fn push(&self, files: &[(String, String)]) -> anyhow::Result<SystemTime> {
        let clone = self.path("clone");
        for (path, text) in files {
            let path = clone.join(path);
            fs::create_dir_all(path.parent().context("a path has a folder")?)?;
            fs::write(path, text)?;
        }
        git(&clone, &["add", "-A"])?;
        git(&clone, &["commit", "-q", "-m", "change"])?;
        git(&clone, &["push", "-q", "origin", "HEAD:main"])?;
        Ok(fs::metadata(self.path("repo.git/refs/heads/main"))?.modified()?)
    }

    /// Asks for another version of some apps.
    pub fn release(&self, numbers: &[usize], version: &str) -> anyhow::Result<SystemTime> {
        let file = |number: &usize| (format!("apps/{}/production.yaml", name(*number)), release(*number, version));
        self.push(&numbers.iter().map(file).collect::<Vec<_>>())
    }

    /// Waits until a unit is verified at a version.
    pub async fn verified(&self, unit: &UnitId, version: &str) -> anyhow::Result<UnitStatus> {
        let begun = Instant::now();
        loop {
            let status = self.api().unit(unit).await;
            if let Ok(status) = &status
                && status.health == UnitHealth::InSync
                && status.last_verified.as_ref().is_some_and(|verified| verified.version == version)
            {
                return Ok(status.clone());
            }
            ensure!(begun.elapsed() < Duration::from_secs(60), "{unit} is not at {version}: {status:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in self.daemon.iter_mut().chain(&mut self.others) {
            let _ = child.kill();
            let _ = child.wait();
        }
        kill_below(self.dir.path());
        if std::env::var_os("TRIMTAB_BENCH_KEEP").is_some() {
            self.dir.disable_cleanup(true);
            eprintln!("kept {}", self.dir.path().display());
        }
    }
}

/// Apps outlive the three processes on purpose; their folders and arguments tell whose they are.
fn kill_below(root: &Path) {
    for _ in 0..2 {
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let there = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(root));
            if there || String::from_utf8_lossy(&command).contains(&*root.to_string_lossy()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

/// The unit of an app.
pub fn unit(number: usize) -> UnitId {
    format!("{}/production/default", name(number)).parse().expect("the name keeps to the alphabet")
}

fn name(number: usize) -> String {
    format!("app-{number:05}")
}

fn environment() -> String {
    "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: production }\nspec:\n  platform: { host: {} }\n  config: { LOG_LEVEL: info }\n"
        .into()
}

fn app(number: usize) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: {} }}\nspec:\n  workload:\n    process:\n      command: [/bin/sleep, infinity]\n      \
         port: false\n      env:\n        LOG_LEVEL: \"{{{{ config.LOG_LEVEL }}}}\"\n        APP: \"{{{{ app }}}}\"\n        VERSION: \"{{{{ version }}}}\"\n        \
         NUMBER: \"{number}\"\n      limits: {{ memory: 64Mi, pids: 32 }}\n      stop: {{ signal: TERM, grace: 5s }}\n  replicas: 0\n  \
         strategy: {{ rolling: {{ maxSurge: 1, maxUnavailable: 0 }} }}\n  rollback: {{ window: 0s }}\n",
        name(number)
    )
}

fn release(number: usize, version: &str) -> String {
    format!(
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: {{ name: {}, environment: production }}\nspec: {{ version: {version} }}\n",
        name(number)
    )
}

/// Documents of an installation of its own, a file each.
pub fn documents(count: usize) -> Vec<(String, String)> {
    let mut files = vec![("environment.yaml".to_owned(), environment())];
    for number in 0..count / 2 {
        files.push((format!("apps/{}/app.yaml", name(number)), app(number)));
        files.push((format!("apps/{}/production.yaml", name(number)), release(number, "1.0.0")));
    }
    files
}

fn wait_for(socket: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    while std::os::unix::net::UnixStream::connect(socket).is_err() {
        ensure!(begun.elapsed() < Duration::from_secs(30), "nobody serves {}", socket.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn git(dir: &Path, args: &[&str]) -> anyhow::Result<()> {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command.output()?;
    ensure!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
