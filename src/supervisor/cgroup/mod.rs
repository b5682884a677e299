//! Control groups: limits that hold, the memory killer told from other kills, and the kill of a whole tree.
//!
//! Every instance gets a group of its own below the supervisor's, so that its whole tree can be killed even when a
//! part of it ran away into another session. Controllers are taken from the unified hierarchy (v2) where it has them,
//! else from a v1 hierarchy; what neither offers is said in words ([`hierarchy`]).

pub mod hierarchy;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The groups of one process tree: one folder in each hierarchy that is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cgroup {
    /// The folders; the first one is where the tree is found and killed.
    pub folders: Vec<Folder>,
}

/// A group in one hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Folder {
    /// Its path.
    pub path: PathBuf,
    /// What kind of hierarchy it is in.
    pub kind: Kind,
    /// What is written into it, in order.
    pub settings: Vec<Setting>,
}

/// The kinds of hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// The unified one: killed as a whole by `cgroup.kill`.
    Unified,
    /// The v1 freezer: frozen, killed, thawed.
    Freezer,
    /// The v1 memory controller: tells how many processes it killed.
    Memory,
    /// Another v1 controller.
    Other,
}

/// One file of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Setting {
    /// The file's name.
    pub file: String,
    /// What is written.
    pub value: String,
    /// Whether the kernel may lack the file without harm to what is promised.
    #[serde(default)]
    pub optional: bool,
}

/// What could not be done with a group.
#[derive(Debug, thiserror::Error)]
#[error("the control group file {path} can't be written: {source}")]
pub struct CgroupError {
    path: PathBuf,
    source: io::Error,
}

impl Cgroup {
    /// Makes the folders and writes the limits. Repeating it is harmless.
    pub fn create(&self) -> Result<(), CgroupError> {
        for folder in &self.folders {
            fs::create_dir_all(&folder.path).map_err(|source| CgroupError { path: folder.path.clone(), source })?;
            for setting in &folder.settings {
                let path = folder.path.join(&setting.file);
                match fs::write(&path, &setting.value) {
                    Err(source) if !setting.optional => return Err(CgroupError { path, source }),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The files into which a process writes `0` to join.
    pub fn join_files(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().map(|folder| folder.path.join("cgroup.procs"))
    }

    /// The members of all folders.
    pub fn members(&self) -> Vec<i32> {
        let mut members: Vec<i32> = self.folders.iter().flat_map(|folder| members(&folder.path)).collect();
        members.sort_unstable();
        members.dedup();
        members
    }

    /// Sends SIGKILL to all members, in a way that a fork cannot outrun where the kernel offers one. Returns at once.
    pub fn kill(&self) {
        for folder in &self.folders {
            match folder.kind {
                Kind::Unified if fs::write(folder.path.join("cgroup.kill"), "1").is_ok() => {}
                Kind::Freezer => {
                    let state = folder.path.join("freezer.state");
                    let _ = fs::write(&state, "FROZEN");
                    kill_all(&members(&folder.path));
                    let _ = fs::write(&state, "THAWED");
                }
                _ => kill_all(&members(&folder.path)),
            }
        }
    }

    /// How many members the kernel killed for the memory limit.
    pub fn oom_kills(&self) -> u64 {
        let count = |path: PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
        };
        let of = |folder: &Folder| match folder.kind {
            Kind::Unified => count(folder.path.join("memory.events")),
            Kind::Memory => count(folder.path.join("memory.oom_control")),
            Kind::Freezer | Kind::Other => 0,
        };
        self.folders.iter().map(of).max().unwrap_or(0)
    }

    /// Removes the folders, as far as they are empty.
    pub fn remove(&self) {
        for folder in &self.folders {
            // The kernel counts a process that was just reaped for a moment longer.
            for _ in 0..50 {
                match fs::remove_dir(&folder.path) {
                    Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                        std::thread::sleep(std::time::Duration::from_millis(2));
                    }
                    _ => break,
                }
            }
        }
    }
}

fn members(folder: &Path) -> Vec<i32> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.trim().parse().ok()).filter(|pid| *pid > 0).collect()
}

fn kill_all(pids: &[i32]) {
    for pid in pids {
        let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake(kind: Kind, settings: &[(&str, &str)]) -> (tempfile::TempDir, Cgroup) {
        let dir = tempfile::tempdir().unwrap();
        let setting =
            |(file, value): &(&str, &str)| Setting { file: (*file).into(), value: (*value).into(), optional: false };
        let path = dir.path().join("own/trimtab-x");
        let folder = Folder { path, kind, settings: settings.iter().map(setting).collect() };
        (dir, Cgroup { folders: vec![folder] })
    }

    #[test]
    fn a_group_is_made_with_its_limits() {
        let (_dir, cgroup) = fake(Kind::Unified, &[("memory.max", "1048576"), ("pids.max", "10")]);
        cgroup.create().unwrap();
        let path = &cgroup.folders[0].path;
        assert_eq!(fs::read_to_string(path.join("memory.max")).unwrap(), "1048576");
        assert_eq!(fs::read_to_string(path.join("pids.max")).unwrap(), "10");
        cgroup.create().unwrap();
    }

    #[test]
    fn a_unified_group_is_killed_by_its_own_file() {
        let (_dir, cgroup) = fake(Kind::Unified, &[]);
        cgroup.create().unwrap();
        cgroup.kill();
        assert_eq!(fs::read_to_string(cgroup.folders[0].path.join("cgroup.kill")).unwrap(), "1");
    }

    #[test]
    fn a_frozen_group_is_thawed_again() {
        let (_dir, cgroup) = fake(Kind::Freezer, &[]);
        cgroup.create().unwrap();
        cgroup.kill();
        assert_eq!(fs::read_to_string(cgroup.folders[0].path.join("freezer.state")).unwrap(), "THAWED");
    }

    #[test]
    fn memory_kills_are_read_in_both_dialects() {
        let (_dir, v2) = fake(Kind::Unified, &[("memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\n")]);
        v2.create().unwrap();
        assert_eq!(v2.oom_kills(), 3);
        let (_dir, v1) = fake(Kind::Memory, &[("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")]);
        v1.create().unwrap();
        assert_eq!(v1.oom_kills(), 2);
        assert_eq!(Cgroup::default().oom_kills(), 0);
    }
}
