//! Processes as `/proc` shows them: who they are, whose children, how long they have run; and signals that never reach
//! a stranger who got a dead process's id.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::libc;

use super::shim::records::ProcessId;
use super::sys;

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub id: ProcessId,
    /// Its parent.
    pub parent: i32,
    /// Its session.
    pub session: i32,
    /// Whether it has ended and waits to be reaped.
    pub zombie: bool,
}

/// Reads the line of `/proc/PID/stat`. The command's name may hold blanks and parentheses; the last `)` ends it.
fn parse_stat(text: &str) -> Option<Stat> {
    let (pid, rest) = text.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Stat {
        id: ProcessId { pid: pid.trim().parse().ok()?, start: fields.get(19)?.parse().ok()? },
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// A process, when there is one with this id.
pub fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// All processes that can be seen.
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(stat).collect()
}

/// Whether this very process is there and has not ended.
pub fn lives(id: ProcessId) -> bool {
    stat(id.pid).is_some_and(|stat| stat.id == id && !stat.zombie)
}

/// The descendants of a process, zombies left out.
pub fn descendants(ancestor: i32) -> Vec<ProcessId> {
    let processes = all();
    let mut family = BTreeSet::from([ancestor]);
    // The list is in no order of birth: repeat until a pass adds nobody.
    while processes
        .iter()
        .filter(|process| family.contains(&process.parent))
        .any(|child| !family.contains(&child.id.pid))
    {
        let children: Vec<i32> =
            processes.iter().filter(|process| family.contains(&process.parent)).map(|child| child.id.pid).collect();
        family.extend(children);
    }
    family.remove(&ancestor);
    processes.iter().filter(|process| family.contains(&process.id.pid) && !process.zombie).map(|p| p.id).collect()
}

/// How long a process has run, by the clock of the boot.
pub fn age(id: ProcessId) -> Duration {
    let uptime = fs::read_to_string("/proc/uptime").ok();
    let uptime: f64 = uptime.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok()).unwrap_or_default();
    let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    Duration::try_from_secs_f64(uptime - id.start as f64 / ticks as f64).unwrap_or_default()
}

/// A handle on this very process, readable when it ends. An error of kind `NotFound` says that it is gone.
pub fn pidfd(id: ProcessId) -> io::Result<OwnedFd> {
    let fd = sys::pidfd_open(id.pid).map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    })?;
    // The descriptor names whoever has the id now; only if that is still the one meant may it be used.
    if stat(id.pid).is_some_and(|stat| stat.id == id) { Ok(fd) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// Sends a signal to this very process; whether it was there to get it.
pub fn signal(id: ProcessId, signal: i32) -> bool {
    match pidfd(id) {
        Ok(fd) => sys::pidfd_send_signal(fd.as_fd(), signal),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        // A kernel without pidfds: look and signal as closely together as can be.
        Err(_) => lives(id) && sys::kill(id.pid, signal),
    }
}

/// Whether a process carries this variable with this value in the environment that it was started with.
pub fn carries(pid: i32, name: &str, value: &str) -> bool {
    let wanted = format!("{name}={value}");
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()))
}

/// The id of this boot of the machine.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) (b c) S 7 42 41 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        let expected = Stat { id: ProcessId { pid: 42, start: 987_654 }, parent: 7, session: 41, zombie: false };
        assert_eq!(parse_stat(line), Some(expected));
        assert_eq!(parse_stat("42 (a"), None);
        assert!(parse_stat(&line.replace(" S ", " Z ")).unwrap().zombie);
    }

    #[test]
    fn knows_itself_and_nobody_else_by_its_start() {
        let me = stat(std::process::id() as i32).unwrap().id;
        assert!(lives(me));
        let stranger = ProcessId { start: me.start + 1, ..me };
        assert!(!lives(stranger));
        assert!(!signal(stranger, 0));
        assert!(signal(me, 0));
        assert_eq!(pidfd(stranger).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
