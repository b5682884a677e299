//! What all integration tests share: waiting for a condition instead of sleeping, free ports, processes that end with
//! their test.

#![allow(dead_code)]

use std::fmt::Display;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The binary under test.
pub const TRIMTAB: &str = env!("CARGO_BIN_EXE_trimtab");

/// How long a condition may take that comes true in milliseconds on an idle machine: generous, since a passing test
/// never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(180);

const PAUSE: Duration = Duration::from_millis(10);

/// What a look at a condition may return: `bool`, `Option`, or a `Result` whose error says what was seen instead.
pub trait Seen {
    /// What is handed on once it was seen.
    type Value;
    /// The value, or what was seen instead.
    fn seen(self) -> Result<Self::Value, String>;
}

impl Seen for bool {
    type Value = ();
    fn seen(self) -> Result<(), String> {
        self.then_some(()).ok_or_else(|| "not true".into())
    }
}

impl<T> Seen for Option<T> {
    type Value = T;
    fn seen(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing there".into())
    }
}

impl<T, E: Display> Seen for Result<T, E> {
    type Value = T;
    fn seen(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}

/// Looks until the condition holds and returns what it found; panics with the last thing seen after `limit`.
#[track_caller]
pub fn eventually<S: Seen>(limit: Duration, what: &str, mut look: impl FnMut() -> S) -> S::Value {
    let begun = Instant::now();
    loop {
        match look().seen() {
            Ok(value) => return value,
            Err(last) if begun.elapsed() > limit => panic!("{what}: not within {limit:?}; last seen: {last}"),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// [`eventually`] for an asynchronous look.
pub async fn eventually_async<S: Seen, F: Future<Output = S>>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> S::Value {
    let begun = Instant::now();
    loop {
        match look().await.seen() {
            Ok(value) => return value,
            Err(last) if begun.elapsed() > limit => panic!("{what}: not within {limit:?}; last seen: {last}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// A port on 127.0.0.1 that was free a moment ago and that no other test is given, of any run on this machine. It lies below those
/// that the kernel hands out by itself: no connection takes it before a server binds it. Where a server can bind port 0 itself, let it.
pub fn free_port() -> u16 {
    const FIRST: u16 = 3_000;
    const BLOCKS: u16 = 20;
    const SIZE: u16 = 350;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Locked as long as this process lives.
    static BLOCK: OnceLock<(u16, Option<File>)> = OnceLock::new();
    let (block, _) = BLOCK.get_or_init(|| {
        let claimed = (0..BLOCKS).find_map(|block| {
            let lock = File::create(ports_folder().join(format!("block-{block}"))).unwrap();
            lock.try_lock().is_ok().then_some((block, Some(lock)))
        });
        claimed.unwrap_or((0, None))
    });
    let mut ports = (0..SIZE).map(|_| FIRST + block * SIZE + NEXT.fetch_add(1, Ordering::Relaxed) % SIZE);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("no port is free")
}

/// Where runs of tests tell each other which ports they have.
fn ports_folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("trimtab-test-ports-{}", nix::unistd::getuid()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Ports for one supervisor, as `--port-range` takes them, that no other supervisor of any test run on this machine has as long
/// as this lives: supervisors that know nothing of each other would race for them.
#[derive(Debug)]
pub struct Ports {
    /// `FIRST-LAST`.
    pub range: String,
    _lock: File,
}

impl Ports {
    /// Takes a range that nobody has. All of them lie below those of demos, and those below what the kernel hands out by itself.
    pub fn claim() -> Ports {
        const RANGES: u32 = 200;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let folder = ports_folder();
        // Another one each time: what used the last one may be ending still.
        let begin = std::process::id().wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        for number in (0..RANGES).map(|step| begin.wrapping_add(step) % RANGES) {
            let lock = File::create(folder.join(number.to_string())).unwrap();
            if lock.try_lock().is_ok() {
                let first = 10_000 + number * 100;
                return Ports { range: format!("{first}-{}", first + 99), _lock: lock };
            }
        }
        panic!("all {RANGES} ranges of ports are in use: {}", folder.display());
    }
}

/// A command that runs the binary under test.
pub fn trimtab() -> Command {
    Command::new(TRIMTAB)
}

/// A child process that is killed when the test ends, however it ends.
#[derive(Debug)]
pub struct Running(pub Child);

impl Running {
    /// Starts a command.
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Running {
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?} could not be started: {error}")))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Ends it as a crash would, with leave to write a core file; how it ended.
    #[track_caller]
    pub fn crash(&mut self) -> ExitStatus {
        let pid = self.pid().to_string();
        let _ = Command::new("prlimit").args(["--pid", &pid, "--core=unlimited:unlimited"]).status();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.0.id().cast_signed()), nix::sys::signal::SIGABRT)
            .unwrap();
        self.0.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process is there and is no zombie.
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| !rest.trim_start().starts_with('Z')))
        .unwrap_or(false)
}

/// A file's text, when it is there.
pub fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
