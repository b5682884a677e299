//! The shim: one small process for each program that the supervisor starts, so that neither the supervisor's end nor
//! its upgrade touches the program, and its exit is known even when nobody was there to see it.
//!
//! It leads a session of its own, adopts every descendant of the program (child subreaper), carries its output to
//! files of bounded size, stops it on request, and leaves a durable record of how it ended once its whole tree is gone.
//! It is single-threaded and talks to the supervisor by files alone ([`records`]).
//!
//! When the shim itself is killed, the program's main process gets SIGKILL from the kernel, since nobody would read
//! its output or see its end any more; the supervisor kills what is left of the tree.

pub mod capped;
mod logs;
pub use logs::{RotatingLog, predecessor};
mod pump;
pub mod records;
mod spawn;
mod tree;

use std::io::Read as _;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use zeroize::Zeroizing;

use self::pump::Pump;
use self::records::{AppRecord, ExitRecord, LOCK, Launch, ShimRecord, StopCause, StopRequest};
use super::identity::Identity;
use super::process;
use super::secrets::deliver::Handed;
use super::store::{self, Lock, StoreError};
use super::sys;
use crate::domain::span::Span;
use crate::protocol::supervisor::ExitHow;
use crate::secrets::Redactor;

/// How long the kill of a tree may take. Only a process stuck in the kernel withstands SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// A shim is handed at most this many bytes beside its launch.
const LARGEST_HANDED: u64 = 64 << 20;

/// Why a shim left without a record of its program's end.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// A record could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The supervisor left no launch.
    #[error("there is no launch to serve: `trimtab shim` is started by `trimtab supervisor` alone")]
    NoLaunch,
    /// The system refused what a shim cannot do without.
    #[error("the shim can't {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's word.
        source: nix::Error,
    },
}

fn system(what: &'static str) -> impl FnOnce(nix::Error) -> ShimError {
    move |source| ShimError::System { what, source }
}

/// Serves the launch in a folder until its program and all its descendants are gone.
pub fn run(dir: &Path) -> Result<(), ShimError> {
    let signals = block_signals()?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    let Some(_lock) = Lock::take(&dir.join(LOCK))? else {
        // A supervisor is just giving this launch up, since it found nobody holding the lock.
        return Ok(());
    };
    if store::read::<ExitRecord>(dir)?.is_some() {
        // The supervisor gave this launch up before the shim got here; it must not start any more.
        return Ok(());
    }
    let launch = store::read::<Launch>(dir)?.ok_or(ShimError::NoLaunch)?;
    nix::sys::prctl::set_child_subreaper(true).map_err(system("adopt orphans"))?;
    let _ = nix::sys::prctl::set_name(c"trimtab-shim");
    let me = process::stat(std::process::id() as i32).ok_or_else(|| system("read /proc")(nix::Error::ENOENT))?.id;
    store::write(dir, &ShimRecord { process: me })?;
    // Only now: a stop written before the line above came without a signal, one written after it comes with one.
    if let Some(stop) = store::read::<StopRequest>(dir)? {
        let exit =
            ExitRecord { stopped: Some(stop.cause), ..ExitRecord::not_started("it was stopped before it began") };
        return record_exit(dir, &exit);
    }
    let exit = match handed(&launch) {
        Ok(handed) => serve(dir, &launch, handed, &signals)?,
        // The supervisor was gone before it had handed everything over: nobody is to blame, and nothing was begun.
        Err(reason) => ExitRecord { blameless: true, ..ExitRecord::not_started(reason) },
    };
    launch.cgroup.remove();
    record_exit(dir, &exit)
}

/// Reads what comes with a launch and is in no file.
fn handed(launch: &Launch) -> Result<Handed, &'static str> {
    if !launch.secrets {
        return Ok(Handed::default());
    }
    crate::secrets::harden::no_core_dumps();
    // As large as it may become, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(64 << 10));
    let read = std::io::stdin().lock().take(LARGEST_HANDED).read_to_end(&mut text);
    read.map_err(|_| "its secrets were not handed over")?;
    serde_json::from_slice(&text).map_err(|_| "its secrets were not handed over whole")
}

/// Blocks all signals that are handled, or must not end the shim; they arrive through the descriptor.
fn block_signals() -> Result<SignalFd, ShimError> {
    let handled = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGUSR1];
    let passed_over =
        [Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE, Signal::SIGUSR2, Signal::SIGTSTP];
    let mask: SigSet = handled.into_iter().chain(passed_over).collect();
    mask.thread_block().map_err(system("block signals"))?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map_err(system("receive signals"))
}

/// Starts the program and stays until it is gone.
fn serve(dir: &Path, launch: &Launch, handed: Handed, signals: &SignalFd) -> Result<ExitRecord, ShimError> {
    let identity = match Identity::of(launch.user.as_deref()) {
        Ok(identity) => identity,
        Err(error) => return Ok(ExitRecord::not_started(error.to_string())),
    };
    if let Err(error) = launch.cgroup.create() {
        return Ok(ExitRecord::not_started(format!("its limits can't be set: {error}")));
    }
    let mut pump = match Pump::open(&launch.output, &Redactor::knowing(&handed.hide)) {
        Ok(pump) => pump,
        Err(error) => return Ok(ExitRecord::not_started(format!("its output can't be kept: {error}"))),
    };
    let begun = Instant::now();
    let started =
        spawn::start(launch, &handed.env, &identity, pump.take_writers(), |app: &AppRecord| store::write(dir, app));
    drop(handed);
    announce();
    let main = match started {
        Ok(main) => main,
        Err(spawn::SpawnError::NotStarted(reason)) => return Ok(ExitRecord::not_started(reason)),
        Err(spawn::SpawnError::Store(error)) => return Err(error.into()),
    };
    let deadline = launch.timeout.map(|limit| (begun + limit.duration(), StopCause::Timeout));
    let mut watch = Watch { dir, launch, main, deadline, stopped: None, status: None };
    watch.until_main_ends(signals, &mut pump)?;
    let ran = Span::from_millis(begun.elapsed().as_millis() as u64);
    let gone = tree::kill(&launch.cgroup, KILL_PATIENCE, |_, _| {});
    pump.drain();
    let mut last_lines = pump.last_lines();
    if !gone {
        last_lines.push("(a part of the process tree withstands SIGKILL and was left behind)".into());
    }
    let how = how_it_ended(watch.status, launch.cgroup.oom_kills() > 0);
    Ok(ExitRecord { ran, stopped: watch.stopped, last_lines, ..ExitRecord::ended(how) })
}

/// The supervisor waits for the end of the shim's stdout: the program has begun, or will not.
fn announce() {
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null);
    }
}

struct Watch<'a> {
    dir: &'a Path,
    launch: &'a Launch,
    main: Pid,
    /// When the whole tree is killed, and why.
    deadline: Option<(Instant, StopCause)>,
    stopped: Option<StopCause>,
    status: Option<WaitStatus>,
}

impl Watch<'_> {
    fn until_main_ends(&mut self, signals: &SignalFd, pump: &mut Pump) -> Result<(), ShimError> {
        loop {
            self.reap();
            if self.status.is_some() {
                return Ok(());
            }
            if let Some((deadline, cause)) = self.deadline
                && Instant::now() >= deadline
            {
                self.stopped.get_or_insert(cause);
                let (main, mut status) = (self.main, None);
                tree::kill(&self.launch.cgroup, KILL_PATIENCE, |pid, how| {
                    if pid == main {
                        status = Some(how);
                    }
                });
                self.status = Some(status.unwrap_or(WaitStatus::Signaled(main, Signal::SIGKILL, false)));
                return Ok(());
            }
            let limit = self.deadline.map(|(deadline, _)| deadline.saturating_duration_since(Instant::now()));
            pump.wait(signals.as_fd(), limit).map_err(system("wait for its program"))?;
            while let Ok(Some(info)) = signals.read_signal() {
                match info.ssi_signo as i32 {
                    libc::SIGUSR1 => self.stop(store::read::<StopRequest>(self.dir).ok().flatten()),
                    libc::SIGTERM => self.stop(Some(self.launch.stop.clone())),
                    _ => {}
                }
            }
        }
    }

    /// Takes the status of every child that ended; most are orphans that were adopted.
    fn reap(&mut self) {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            match status.pid() {
                None => return,
                Some(pid) if pid == self.main => self.status = Some(status),
                Some(_) => {}
            }
        }
    }

    /// Begins a graceful stop, or shortens the one that goes on.
    fn stop(&mut self, request: Option<StopRequest>) {
        let Some(request) = request else { return };
        let until = Instant::now() + request.grace.duration();
        let sooner = self.deadline.map_or(until, |(deadline, _)| until.min(deadline));
        if self.stopped.is_none() {
            self.stopped = Some(request.cause);
            if request.grace > Span::ZERO {
                // The main process is our own child and not reaped yet, so that its id cannot have gone to a stranger.
                sys::kill(self.main.as_raw(), request.signal);
            }
        }
        self.deadline = Some((sooner, request.cause));
    }
}

/// Reads a wait status. `oom` says that the kernel killed a process of the tree for its memory limit; a shell tells
/// such an end of its child as 137.
fn how_it_ended(status: Option<WaitStatus>, oom: bool) -> ExitHow {
    match status {
        Some(WaitStatus::Exited(_, 137) | WaitStatus::Signaled(_, Signal::SIGKILL, _)) if oom => ExitHow::OutOfMemory,
        Some(WaitStatus::Exited(_, code)) => ExitHow::Code(code),
        Some(WaitStatus::Signaled(_, signal, _)) => ExitHow::Signal(signal as i32),
        _ => ExitHow::Unknown("the kernel told no status".into()),
    }
}

/// Writes the last record, again for a while when the disk is full: it is what the shim is there for.
fn record_exit(dir: &Path, exit: &ExitRecord) -> Result<(), ShimError> {
    let mut last = store::write(dir, exit);
    for _ in 0..10 {
        if last.is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_secs(1));
        last = store::write(dir, exit);
    }
    Ok(last?)
}
