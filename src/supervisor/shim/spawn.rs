//! The fork and the exec. The program's process id is durable before its first instruction runs: the child waits for
//! a byte from the shim, and leaves when the shim is gone before it came.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use zeroize::Zeroize as _;

use nix::unistd::{ForkResult, Pid, pipe2, read, setsid, write};

use super::records::{AppRecord, Launch};
use crate::clock;
use crate::secrets::SecretBytes;
use crate::supervisor::environment;
use crate::supervisor::identity::Identity;
use crate::supervisor::process;
use crate::supervisor::store::StoreError;
use crate::supervisor::sys;

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// It can't be started, whoever tries.
    #[error("{0}")]
    NotStarted(String),
    /// Its record could not be written, and so it was not started.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The steps between fork and exec that can fail, by the byte that names them in the pipe.
const STEPS: [&str; 6] = [
    "join its control group",
    "be given its output",
    "become its user",
    "enter its working directory",
    "be tied to its shim",
    "be executed",
];

/// Everything the child needs, made before the fork.
struct Prepared<'a> {
    programs: Vec<CString>,
    arguments: Vec<CString>,
    variables: Vec<CString>,
    dir: CString,
    join: Vec<PathBuf>,
    identity: &'a Identity,
    shim: Pid,
}

/// Starts the program of a launch, with variables that are not in it; `record` makes its process durable.
pub fn start(
    launch: &Launch,
    secret: &BTreeMap<String, SecretBytes>,
    identity: &Identity,
    (stdout, stderr): (OwnedFd, OwnedFd),
    record: impl FnOnce(&AppRecord) -> Result<(), StoreError>,
) -> Result<Pid, SpawnError> {
    let mut prepared = prepare(launch, secret, identity).map_err(SpawnError::NotStarted)?;
    let failed = |errno: Errno| SpawnError::NotStarted(format!("no process can be made for it: {errno}"));
    let (go_reader, go_writer) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    let (fault_reader, fault_writer) = pipe2(OFlag::O_CLOEXEC).map_err(failed)?;
    let main = match sys::fork().map_err(failed)? {
        ForkResult::Child => {
            drop((go_writer, fault_reader));
            let (step, errno) = child(&prepared, &go_reader, &stdout, &stderr);
            let mut fault = [step; 5];
            fault[1..].copy_from_slice(&(errno as i32).to_ne_bytes());
            let _ = write(&fault_writer, &fault);
            sys::leave(127)
        }
        ForkResult::Parent { child } => child,
    };
    drop((go_reader, fault_writer, stdout, stderr));
    // The child has its own copy; this one would stay in memory for as long as the program runs.
    prepared.variables.drain(..).for_each(|variable| variable.into_bytes().zeroize());
    let Some(stat) = process::stat(main.as_raw()) else {
        return Err(failed(Errno::ESRCH));
    };
    record(&AppRecord { process: stat.id, started: clock::now() })?;
    let _ = write(&go_writer, &[1]);
    let mut fault = [0; 5];
    match read(&fault_reader, &mut fault) {
        Ok(5) => {
            let _ = nix::sys::wait::waitpid(main, None);
            let errno = Errno::from_raw(i32::from_ne_bytes([fault[1], fault[2], fault[3], fault[4]]));
            Err(SpawnError::NotStarted(explain(launch, fault[0], errno)))
        }
        _ => Ok(main),
    }
}

fn explain(launch: &Launch, step: u8, errno: Errno) -> String {
    let program = &launch.command[0];
    let what = STEPS.get(usize::from(step)).copied().unwrap_or("be started");
    let remedy = match (step, errno) {
        (5, Errno::ENOENT) if program.contains('/') => {
            ": it is not in the working directory (or its interpreter is not on this machine); look at the artifact's files"
        }
        (5, Errno::ENOENT) => ": it is in none of the folders of PATH",
        (5, Errno::EACCES) => ": the file is not executable for the user, or one of its folders can't be entered",
        (5, Errno::ENOEXEC) => ": it is no program for this machine, nor a script with a `#!` line",
        (3, _) => ": the user must be allowed to enter every folder above it",
        _ => "",
    };
    format!("{program:?} can't {what}: {}{remedy}", errno.desc())
}

fn prepare<'a>(
    launch: &Launch,
    secret: &BTreeMap<String, SecretBytes>,
    identity: &'a Identity,
) -> Result<Prepared<'a>, String> {
    let text = |text: String| CString::new(text).map_err(|_| "the command or its environment holds a NUL".to_owned());
    let program = launch.command.first().ok_or("the command is empty: name a program")?;
    let env = environment::complete(launch.env.clone(), identity.home());
    let plain = env.iter().filter(|(name, _)| !secret.contains_key(*name));
    let mut variables: Vec<CString> =
        plain.map(|(name, value)| text(format!("{name}={value}"))).collect::<Result<_, _>>()?;
    for (name, value) in secret {
        let mut line = Vec::with_capacity(name.len() + value.expose().len() + 2);
        line.extend_from_slice(format!("{name}=").as_bytes());
        line.extend_from_slice(value.expose());
        variables.push(CString::new(line).map_err(|_| format!("the secret variable {name} holds a NUL"))?);
    }
    let programs = environment::programs(program, &env);
    Ok(Prepared {
        programs: programs.into_iter().map(text).collect::<Result<_, _>>()?,
        arguments: launch.command.iter().cloned().map(text).collect::<Result<_, _>>()?,
        variables,
        dir: text(launch.dir.to_string_lossy().into_owned())?,
        join: launch.cgroup.join_files().collect(),
        identity,
        shim: Pid::this(),
    })
}

/// The child's way to its program; returns the step that failed. It never returns on success.
fn child(prepared: &Prepared<'_>, go: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> (u8, Errno) {
    let _ = setsid();
    if !matches!(read(go, &mut [0]), Ok(1)) {
        // Nobody recorded this process: it must not run.
        sys::leave(127)
    }
    for path in &prepared.join {
        if let Err(error) = std::fs::write(path, "0") {
            return (0, Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)));
        }
    }
    if let Err(errno) = redirect(stdout, stderr) {
        return (1, errno);
    }
    // Whatever was inherited: every disposition back to the default, and nothing blocked.
    sys::default_signals();
    let _ = SigSet::empty().thread_set_mask();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    if let Err(errno) = prepared.identity.take_on() {
        return (2, errno);
    }
    if let Err(errno) = nix::unistd::chdir(prepared.dir.as_c_str()) {
        return (3, errno);
    }
    // After the change of user, which clears it.
    if let Err(errno) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        return (4, errno);
    }
    if Pid::parent() != prepared.shim {
        return (4, Errno::ESRCH);
    }
    (5, execute(prepared))
}

fn redirect(stdout: &OwnedFd, stderr: &OwnedFd) -> nix::Result<()> {
    let null = nix::fcntl::open("/dev/null", OFlag::O_RDONLY, nix::sys::stat::Mode::empty())?;
    nix::unistd::dup2_stdin(null.as_fd())?;
    nix::unistd::dup2_stdout(stdout.as_fd())?;
    nix::unistd::dup2_stderr(stderr.as_fd())?;
    // Whatever the supervisor's parents left open stays out.
    debug_assert!(stdout.as_raw_fd() > 2 && stderr.as_raw_fd() > 2);
    sys::close_others_on_exec();
    Ok(())
}

/// Tries the places where the program may be, as execvp does; returns why none would do.
fn execute(prepared: &Prepared<'_>) -> Errno {
    let mut worst = Errno::ENOENT;
    for program in &prepared.programs {
        match nix::unistd::execve(program, &prepared.arguments, &prepared.variables) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(Errno::EACCES) => worst = Errno::EACCES,
            Err(errno) => return errno,
        }
    }
    worst
}
