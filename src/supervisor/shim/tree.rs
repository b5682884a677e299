//! The kill of everything that a program left behind.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::supervisor::cgroup::Cgroup;
use crate::supervisor::process;
use crate::supervisor::shim::records::ProcessId;

/// Kills all descendants of this process and all members of the groups, until none is left or the patience is over;
/// whether none is left. `reaped` is told each child's status. All descendants end up as children of the shim, since
/// it is their subreaper, whatever sessions and process groups they fled into.
pub fn kill(cgroup: &Cgroup, patience: Duration, mut reaped: impl FnMut(Pid, WaitStatus)) -> bool {
    let begun = Instant::now();
    let me = std::process::id() as i32;
    let mut pause = Duration::from_millis(1);
    loop {
        cgroup.kill();
        let descendants = process::descendants(me);
        if cgroup.folders.is_empty() {
            // Without a group whose kill is one act, a bomb must be stopped first, or it forks faster than it dies.
            signal_all(&descendants, libc::SIGSTOP);
        }
        signal_all(&descendants, libc::SIGKILL);
        let childless = reap(&mut reaped);
        if childless && cgroup.members().is_empty() {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn signal_all(processes: &[ProcessId], signal: i32) {
    for id in processes {
        process::signal(*id, signal);
    }
}

/// Takes the status of every child that ended; whether there is no child left at all.
fn reap(reaped: &mut impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(status) => match status.pid() {
                Some(pid) => reaped(pid, status),
                None => return false,
            },
            Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
}
