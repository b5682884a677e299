//! A supervisor of a test's own, with folders that go with it. Whatever the test left running is killed at its end.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use http::Method;
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trimtab::domain::digest::Digest;
use trimtab::domain::id::{Epoch, RunId};
use trimtab::domain::span::Span;
use trimtab::domain::workload::{Health, Limits, ProcessSpec, Stop};
use trimtab::net::client::{Client, ClientError, segment};
use trimtab::protocol::supervisor::{
    GroupList, GroupSpec, GroupStatus, InstanceState, InstanceStatus, PutGroup, PutRun, RunSpec, RunStatus,
};
use trimtab::protocol::{Hello, Markers};
use trimtab::secrets::value::SecretValues;
use trimtab::supervisor::shim::records::{AppRecord, Launch, ShimRecord};
use trimtab::supervisor::{process, remains, store};

use crate::support::{PATIENCE, Ports, Running, alive, eventually, trimtab};

/// A supervisor and its folders.
pub struct Bed {
    dir: TempDir,
    ports: Ports,
    supervisor: Option<Running>,
    client: Client,
    runtime: Runtime,
    /// The secrets that come with every request.
    pub values: Mutex<SecretValues>,
}

impl Bed {
    /// Starts a supervisor in folders of its own.
    pub fn start() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        // Apps of other users must get through.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
        let client = Client::new(dir.path().join("socket")).with_timeout(PATIENCE);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut bed = Bed { dir, ports: Ports::claim(), supervisor: None, client, runtime, values: Mutex::default() };
        bed.start_again(None);
        bed
    }

    fn secrets(&self) -> SecretValues {
        self.values.lock().unwrap().clone()
    }

    /// The command that starts the supervisor.
    pub fn command(&self, boot: Option<&str>) -> Command {
        let mut command = trimtab();
        command.arg("supervisor").arg("--state-dir").arg(self.state()).arg("--socket").arg(self.client.socket());
        command.args(["--port-range", &self.ports.range]).stdin(Stdio::null()).stderr(self.log());
        if let Some(boot) = boot {
            command.args(["--boot-id", boot]);
        }
        command
    }

    fn log(&self) -> fs::File {
        fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap()
    }

    /// Starts a supervisor on the folders of the one that is gone, after a restart of the machine if a boot id is given.
    pub fn start_again(&mut self, boot: Option<&str>) {
        self.supervisor = Some(Running::spawn(&mut self.command(boot)));
        eventually(PATIENCE, "the supervisor serves", || self.hello());
    }

    /// The supervisor's process id.
    pub fn pid(&self) -> u32 {
        self.supervisor.as_ref().unwrap().pid()
    }

    /// Kills the supervisor with SIGKILL.
    pub fn kill_supervisor(&mut self) {
        self.supervisor.take().unwrap().kill();
    }

    /// Asks the supervisor to leave, and waits until it has.
    pub fn stop_supervisor(&mut self) -> std::process::ExitStatus {
        let mut supervisor = self.supervisor.take().unwrap();
        kill(supervisor.pid(), nix::libc::SIGTERM);
        supervisor.0.wait().unwrap()
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A file that apps write to, named by `$OUT` in theirs.
    pub fn out(&self, name: &str) -> PathBuf {
        self.dir.path().join("out").join(name)
    }

    /// A group of the shell script, without a port, whose processes find the folder of [`Bed::out`] in `$OUT`.
    pub fn group(&self, script: &str) -> GroupSpec {
        let mut spec = self.group_of(&["/bin/sh", "-c", script]);
        spec.process.port = false;
        spec
    }

    /// A group of the demo's app with more arguments.
    pub fn demo_app(&self, arguments: &[&str]) -> GroupSpec {
        let mut command = vec![crate::support::TRIMTAB, "demo-app", "--port", "{{ port }}"];
        command.extend(arguments);
        self.group_of(&command)
    }

    fn group_of(&self, command: &[&str]) -> GroupSpec {
        GroupSpec {
            key: "hello/staging/default/g1".into(),
            group: "g1".into(),
            markers: markers(),
            process: ProcessSpec {
                secrets: Default::default(),
                artifact: None,
                command: command.iter().map(|part| (*part).to_owned()).collect(),
                env: [("OUT".to_owned(), self.dir.path().join("out").display().to_string())].into(),
                user: None,
                limits: Limits::default(),
                stop: Stop::default(),
                port: true,
                log_limit: None,
            },
            artifact_dir: None,
            health: Health { within: Span::from_secs(60), ..Health::default() },
        }
    }

    /// A run of the shell script.
    pub fn run_spec(&self, id: &str, script: &str) -> RunSpec {
        RunSpec {
            secrets: Default::default(),
            id: RunId(id.into()),
            markers: markers(),
            command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
            env: [("OUT".to_owned(), self.dir.path().join("out").display().to_string())].into(),
            artifact_dir: None,
            user: None,
            limits: Limits::default(),
            timeout: Span::from_secs(300),
            output_limit: 64 << 10,
        }
    }

    pub fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.runtime.block_on(self.client.get(path))
    }

    pub fn text(&self, path: &str) -> String {
        let bytes = self.runtime.block_on(self.client.bytes(Method::GET, path, None::<&()>)).unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Reads an answer as it comes, up to its end.
    pub fn follow(&self, path: &str, mut chunk: impl FnMut(&str)) {
        self.runtime.block_on(async {
            let mut body = self.client.open(Method::GET, path, None::<&()>).await.unwrap().into_body();
            while let Some(frame) = body.frame().await {
                chunk(&String::from_utf8_lossy(frame.unwrap().data_ref().unwrap()));
            }
        });
    }

    pub fn send<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl serde::Serialize + Sync)>,
    ) -> Result<T, ClientError> {
        self.runtime.block_on(self.client.json(method, path, body))
    }

    pub fn hello(&self) -> Result<Hello, ClientError> {
        self.get("/v1/hello")
    }

    pub fn try_put(&self, epoch: u64, spec: &GroupSpec, replicas: u32) -> Result<GroupStatus, ClientError> {
        let put = PutGroup { version: 1, epoch: Epoch(epoch), spec: spec.clone(), replicas, secrets: self.secrets() };
        self.send(Method::PUT, &group_path(&spec.key), Some(&put))
    }

    pub fn put(&self, spec: &GroupSpec, replicas: u32) -> GroupStatus {
        self.try_put(1, spec, replicas).unwrap()
    }

    pub fn delete(&self, spec: &GroupSpec) {
        self.send::<()>(Method::DELETE, &format!("{}?epoch=1", group_path(&spec.key)), None::<&()>).unwrap();
    }

    pub fn groups(&self) -> GroupList {
        self.get("/v1/groups").unwrap()
    }

    pub fn status(&self, spec: &GroupSpec) -> GroupStatus {
        self.get(&group_path(&spec.key)).unwrap()
    }

    /// Waits until the group satisfies a condition.
    #[track_caller]
    pub fn until(&self, spec: &GroupSpec, what: &str, holds: impl Fn(&GroupStatus) -> bool) -> GroupStatus {
        eventually(PATIENCE, what, || {
            let status = self.status(spec);
            if holds(&status) { Ok(status) } else { Err(format!("{status:#?}\n{}", self.log_text())) }
        })
    }

    /// Waits until the first instance satisfies a condition.
    #[track_caller]
    pub fn until_first(&self, spec: &GroupSpec, what: &str, holds: impl Fn(&InstanceStatus) -> bool) -> InstanceStatus {
        self.until(spec, what, |group| group.instances.first().is_some_and(&holds)).instances.remove(0)
    }

    /// Waits until the first instance runs.
    #[track_caller]
    pub fn until_runs(&self, spec: &GroupSpec) -> InstanceStatus {
        self.until_first(spec, "the instance runs", |instance| instance.state == InstanceState::Running)
    }

    pub fn try_run(&self, spec: &RunSpec) -> Result<RunStatus, ClientError> {
        let put = PutRun { version: 1, epoch: Epoch(1), spec: spec.clone(), secrets: self.secrets() };
        self.send(Method::PUT, &run_path(spec.id.as_str()), Some(&put))
    }

    /// Waits for the end of a run.
    pub fn run_end(&self, id: &str) -> RunStatus {
        eventually(PATIENCE, "the run ends", || {
            let run: RunStatus = self.get(&format!("{}?wait=30s", run_path(id))).unwrap();
            if run.ended.is_some() { Ok(run) } else { Err(format!("{run:?}")) }
        })
    }

    pub fn log_text(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The shim of the instance in a slot.
    pub fn shim(&self, spec: &GroupSpec, slot: u32) -> u32 {
        let slot = self.state().join("groups").join(segment(&spec.key)).join("slots").join(slot.to_string());
        eventually(PATIENCE, "a shim is recorded", || {
            starts(&slot)
                .iter()
                .find_map(|dir| store::read::<ShimRecord>(dir).ok()?)
                .map(|shim| shim.process.pid as u32)
        })
    }

    /// Kills all shims and all that they started, as a power cut would.
    pub fn kill_everything(&mut self) {
        if let Some(mut supervisor) = self.supervisor.take() {
            supervisor.kill();
        }
        // By their command line, since one that was just started has not recorded itself yet.
        let shims = || {
            let state = self.state().display().to_string();
            let ours = |pid: i32| {
                let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&command).starts_with(&format!("trimtab\0shim\0{state}/"))
            };
            process::all().into_iter().filter(|process| !process.zombie && ours(process.id.pid)).collect::<Vec<_>>()
        };
        eventually(PATIENCE, "the shims are gone", || {
            let left = shims();
            left.iter().for_each(|shim| kill(shim.id.pid as u32, nix::libc::SIGKILL));
            left.is_empty()
        });
        for dir in starts(&self.state()) {
            let launch = store::read::<Launch>(&dir).ok().flatten();
            match (launch, store::read::<AppRecord>(&dir)) {
                (Some(launch), Ok(Some(app))) => assert!(remains::kill(&launch, &app)),
                (Some(launch), _) => launch.cgroup.remove(),
                (None, _) => {}
            }
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.kill_everything();
        if std::thread::panicking() {
            eprintln!("the supervisor's log:\n{}", self.log_text());
        }
    }
}

pub fn markers() -> Markers {
    Markers {
        installation: "test".into(),
        unit: "hello/staging/default".parse().unwrap(),
        rendered: Digest::of_bytes("r1", b"test"),
        version: "1.4.2".into(),
    }
}

pub fn group_path(key: &str) -> String {
    format!("/v1/groups/{}", segment(key))
}

pub fn run_path(id: &str) -> String {
    format!("/v1/runs/{}", segment(id))
}

/// The folders below one that hold a launch.
pub fn starts(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let inner: Vec<PathBuf> = folders.flat_map(|entry| starts(&entry.path())).collect();
    let own = dir.join("launch.json").exists().then(|| dir.to_owned());
    inner.into_iter().chain(own).collect()
}

/// Sends a signal to a process.
pub fn kill(pid: u32, signal: i32) {
    trimtab::supervisor::sys::kill(pid as i32, signal);
}

/// Waits until none of the processes is left.
#[track_caller]
pub fn until_gone(pids: &[u32]) {
    eventually(PATIENCE, "the processes are gone", || {
        let left: Vec<_> = pids.iter().filter(|pid| alive(**pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are left")) }
    });
}

/// Waits until a file holds so many process ids, one a line, and returns them.
#[track_caller]
pub fn pids_in(path: &Path, count: usize) -> Vec<u32> {
    eventually(PATIENCE, "the app has told its processes", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let pids: Vec<u32> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        if pids.len() >= count { Ok(pids) } else { Err(format!("{text:?}")) }
    })
}
