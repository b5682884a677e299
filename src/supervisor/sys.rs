//! The few system calls that no safe interface covers, each behind a function that is safe to call. All `unsafe` of
//! the supervisor is in this file.

#![expect(unsafe_code, reason = "the shim and the passing of descriptors need it; each place says why it is sound")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;

use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::ForkResult;
use tokio::io::unix::AsyncFd;

use super::identity::Identity;

/// A descriptor of whoever has this process id now.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers and returns a new descriptor or -1.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor for us, nobody else owns it; descriptors fit an i32.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as i32) })
}

/// A descriptor that can be awaited. Needs a runtime.
pub fn awaitable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by the value, which names the same one until it is dropped.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// Sends a signal to the process behind a descriptor; whether it was there to get it.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> bool {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open for the length of the call, and a null info is allowed.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0) == 0 }
}

/// Sends a signal, by number, to whoever has this process id; whether somebody was there to get it.
pub fn kill(pid: i32, signal: i32) -> bool {
    // SAFETY: the call takes two numbers.
    unsafe { libc::kill(pid, signal) == 0 }
}

/// Forks, if this process has one thread: then no lock can be held in the child by a thread that is not there, and
/// the child may do whatever the parent could. `EBUSY` when there are more threads.
pub fn fork() -> nix::Result<ForkResult> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return Err(nix::Error::EBUSY);
    }
    // SAFETY: there is one thread, as was just seen, and only a thread of this process could start another.
    unsafe { nix::unistd::fork() }
}

/// Ends this process at once, without the exit handlers that a forked child shares with its parent.
pub fn leave(code: i32) -> ! {
    // SAFETY: the call takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from 3 on as closed on exec. Kernels before 5.11 lack the call; there the flags that
/// everything of ours carries must do.
pub fn close_others_on_exec() {
    // SAFETY: the call takes three numbers and closes nothing by itself.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Sets every signal's disposition back to its default. Only for a child before its exec.
pub fn default_signals() {
    // Of all zeros: the default, no flags, an empty mask. Not through the C library, which keeps two numbers for itself
    // and would leave them as they were inherited.
    let default = [0_u64; 4];
    for number in 1..=64 {
        // SAFETY: the array is at least as large as the kernel's structure, which is only read; no old one is asked for;
        // for the numbers that take no disposition the call fails without effect.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), std::ptr::null_mut::<u64>(), 8) };
    }
}

/// Makes a copy that shares the blocks of the source; an error where the file system cannot.
pub fn reflink(target: BorrowedFd<'_>, source: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: both descriptors are open for the length of the call.
    let outcome = unsafe { libc::ioctl(target.as_raw_fd(), libc::FICLONE, source.as_raw_fd()) };
    nix::errno::Errno::result(outcome).map(drop)
}

/// What a child does between fork and exec. Everything it needs is made before the fork.
#[derive(Clone, Debug, Default)]
pub struct Preparation {
    /// Files of control groups to join.
    pub join: Vec<CString>,
    /// Whom to become.
    pub identity: Option<Identity>,
    /// Whether it is killed when its parent is.
    pub dies_with_parent: bool,
}

/// Lets a command's child lead a session of its own, so that no signal to the parent's process group or terminal
/// reaches it, and prepare itself.
pub fn before_exec(command: &mut std::process::Command, preparation: Preparation) {
    // SAFETY: the closure runs in a copy of a process with several threads, and so it neither allocates nor locks: it
    // makes plain system calls on what was made before the fork.
    unsafe {
        command.pre_exec(move || {
            nix::unistd::setsid()?;
            // What the supervisor's own parents left open must not live on in a shim for days.
            close_others_on_exec();
            for file in &preparation.join {
                let file = nix::fcntl::open(file.as_c_str(), OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
                nix::unistd::write(file, b"0")?;
            }
            preparation.identity.as_ref().map_or(Ok(()), Identity::take_on)?;
            if preparation.dies_with_parent {
                // After the change of user, which clears it.
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            }
            Ok(())
        })
    };
}
