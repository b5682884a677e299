//! Supervisor, router and daemon as processes of their own. One that dies is started again, so that `kill -9` shows how the
//! others take it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::error::DemoError;
use super::layout::Layout;

/// How long a process may take to leave before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait before one that lived only shortly is started again; longer each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A process that lived no longer than this is not started again at once, and no wait is longer.
const SHORT_LIFE: Duration = Duration::from_secs(2);

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Starts the apps.
    Supervisor,
    /// Carries the requests.
    Router,
    /// Decides.
    Daemon,
}

impl Part {
    /// Its verb on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Supervisor => "supervisor",
            Part::Router => "router",
            Part::Daemon => "daemon",
        }
    }

    fn args(self, layout: &Layout) -> Vec<PathBuf> {
        match self {
            Part::Daemon => vec!["--config".into(), layout.config()],
            Part::Supervisor | Part::Router => {
                let mut args = vec![
                    "--state-dir".into(),
                    layout.state().join(self.name()),
                    "--socket".into(),
                    layout.socket(self.name()),
                ];
                if self == Part::Supervisor {
                    args.extend(["--port-range".into(), ports(std::process::id()).into()]);
                }
                args
            }
        }
    }
}

/// The ports that a demo's instances get: others than those of a supervisor that runs here for good, and, mostly, than those
/// of another demo. Two supervisors that know nothing of each other would race for one. Below those that the kernel gives out.
fn ports(demo: u32) -> String {
    const EACH: u32 = 60;
    let first = 30_000 + demo % 46 * EACH;
    format!("{first}-{}", first + EACH - 1)
}

/// The processes, kept.
#[derive(Debug)]
pub struct Processes {
    layout: Layout,
    binary: PathBuf,
    pids: Arc<Mutex<BTreeMap<Part, u32>>>,
    said: mpsc::UnboundedSender<String>,
    kept: BTreeMap<Part, (watch::Sender<bool>, JoinHandle<()>)>,
}

impl Processes {
    /// Starts nothing yet. What happens to the processes later is told through `said`.
    pub fn new(layout: &Layout, binary: PathBuf, said: mpsc::UnboundedSender<String>) -> Self {
        Processes { layout: layout.clone(), binary, pids: Arc::default(), said, kept: BTreeMap::new() }
    }

    /// Starts one and keeps it.
    pub fn start(&mut self, part: Part) -> Result<(), DemoError> {
        let program = Program { part, layout: self.layout.clone(), binary: self.binary.clone() };
        let child = program.spawn().map_err(|source| DemoError::Start { name: part.name(), source })?;
        let (stop, stopped) = watch::channel(false);
        let keeper = Keeper { program, pids: self.pids.clone(), said: self.said.clone(), stopped };
        keeper.note(&child);
        self.kept.insert(part, (stop, tokio::spawn(keeper.keep(child))));
        Ok(())
    }

    /// The process id of one, while it runs.
    pub fn pid(&self, part: Part) -> Option<u32> {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).get(&part).copied()
    }

    /// Stops one for good, and waits until it is gone.
    pub async fn stop(&mut self, part: Part) {
        if let Some((stop, task)) = self.kept.remove(&part) {
            stop.send_replace(true);
            // It ends by itself; an error could only be a panic, after which there is nothing left to stop.
            let _ = task.await;
        }
    }
}

/// How one is started.
#[derive(Clone, Debug)]
struct Program {
    part: Part,
    layout: Layout,
    binary: PathBuf,
}

impl Program {
    fn spawn(&self) -> std::io::Result<Child> {
        let log = self.log()?;
        Command::new(&self.binary)
            .arg(self.part.name())
            .args(self.part.args(&self.layout))
            .current_dir(self.layout.root())
            .env_remove("TRIMTAB_SOCKET")
            .env_remove("TRIMTAB_CONFIG")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own, so that Ctrl-C reaches the demo alone, which stops them in their order.
            .process_group(0)
            .spawn()
    }

    fn log(&self) -> std::io::Result<File> {
        let path = self.layout.logs().join(format!("{}.log", self.part.name()));
        OpenOptions::new().create(true).append(true).open(path)
    }
}

struct Keeper {
    program: Program,
    pids: Arc<Mutex<BTreeMap<Part, u32>>>,
    said: mpsc::UnboundedSender<String>,
    stopped: watch::Receiver<bool>,
}

impl Keeper {
    fn note(&self, child: &Child) {
        let mut pids = self.pids.lock().unwrap_or_else(PoisonError::into_inner);
        match child.id() {
            Some(pid) => pids.insert(self.program.part, pid),
            None => pids.remove(&self.program.part),
        };
    }

    /// Waits for the end of the process, and starts the next one, until it shall stop.
    async fn keep(mut self, mut child: Child) {
        let name = self.program.part.name();
        let mut pause = Duration::ZERO;
        loop {
            let begun = Instant::now();
            let pid = child.id();
            let ended = tokio::select! {
                status = child.wait() => Some(status),
                _ = self.stopped.wait_for(|stopped| *stopped) => None,
            };
            let Some(ended) = ended else {
                end(&mut child).await;
                self.note(&child);
                return;
            };
            self.note(&child);
            let short = begun.elapsed() < SHORT_LIFE;
            pause = if short { (pause * 2).clamp(FIRST_PAUSE, SHORT_LIFE) } else { Duration::ZERO };
            let how = ended.map_or_else(|error| error.to_string(), describe);
            let pid = pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
            let stopped = tokio::select! {
                () = tokio::time::sleep(pause) => false,
                _ = self.stopped.wait_for(|stopped| *stopped) => true,
            };
            if stopped {
                return;
            }
            match self.program.spawn() {
                Ok(next) => {
                    let told = format!("{name}{pid} ended: {how}; started again with pid {}", next.id().unwrap_or(0));
                    // Nobody listens any more when the demo is about to end.
                    let _ = self.said.send(told);
                    child = next;
                    self.note(&child);
                }
                Err(error) => {
                    let _ = self.said.send(format!("{name}{pid} ended: {how}; it can't be started again: {error}"));
                    return;
                }
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| signal.to_string());
            format!("killed by {name}")
        }
        (None, None) => status.to_string(),
    }
}

/// Asks a process to leave, and kills it when it does not.
async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended meanwhile; then the wait returns at once.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
