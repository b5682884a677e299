//! Which control groups this machine offers to this process, and what of a wish for limits they can hold.
//!
//! Usually the groups are made below the supervisor's own. As a unit of systemd it makes them beside all units instead, and
//! puts the shims there too ([`Hierarchies::shelter`]): `systemctl kill` reaches every process in the unit's group and below,
//! and systemd starts nothing in a group that has limited groups below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Cgroup, Folder, Kind, Setting};
use crate::domain::workload::Limits;

const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];
const CPU_PERIOD: u64 = 100_000;

/// The hierarchies, each by the folder of the group that this process is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hierarchies {
    unified: Option<PathBuf>,
    /// What the unified hierarchy can limit.
    unified_controllers: BTreeSet<String>,
    /// The v1 hierarchies by controller.
    v1: BTreeMap<String, PathBuf>,
    /// What can't be used, and why.
    problems: BTreeMap<String, String>,
    /// The groups that shims are put into, out of the unit's.
    shelter: Vec<PathBuf>,
}

/// The group beside all units that holds everything of a supervisor that is one.
const OUTSIDE: &str = "trimtab";
/// The group of the shims in it.
const SHIMS: &str = "shims";
/// The hierarchy by which systemd knows which process is whose, where it is not the unified one.
const SYSTEMD: &str = "name=systemd";

/// The leaf that the supervisor moves itself into: in v2 a group with limited children may hold no process.
const OWN_LEAF: &str = "supervisor";

impl Hierarchies {
    /// Looks at this machine, and tries whether groups can be made.
    pub fn detect() -> Hierarchies {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (mountinfo, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
        // Only the main process of a unit is told where to say that it is ready.
        let outside = std::env::var_os("NOTIFY_SOCKET").and_then(|_| beside_units(&own));
        let mut found = Hierarchies::parse(&mountinfo, outside.as_ref().unwrap_or(&own), Path::new("/"));
        found.drop_unusable();
        if outside.is_some() {
            found.make_shelter();
        }
        found
    }

    /// The files into which a shim writes `0` to be out of reach of what is done to the supervisor's unit.
    pub fn shelter(&self) -> impl Iterator<Item = PathBuf> {
        self.shelter.iter().map(|folder| folder.join("cgroup.procs"))
    }

    fn make_shelter(&mut self) {
        let folders = self.unified.iter().chain(self.v1.get(SYSTEMD)).map(|folder| folder.join(SHIMS));
        for folder in folders.collect::<Vec<_>>() {
            match fs::create_dir_all(&folder) {
                Ok(()) => self.shelter.push(folder),
                Err(error) => drop(self.problems.insert(SHIMS.into(), format!("{}: {error}", folder.display()))),
            }
        }
    }

    /// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`; mount points are looked for below `root`.
    fn parse(mountinfo: &str, own: &str, root: &Path) -> Hierarchies {
        let mut found = Hierarchies::default();
        for mount in mountinfo.lines().filter_map(parse_mount) {
            let place = |path: &str| {
                let inner = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or("");
                root.join(mount.point.trim_start_matches('/')).join(inner.trim_start_matches('/'))
            };
            if mount.kind == "cgroup2" {
                let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else { continue };
                let own = place(path);
                // After a restart into the leaf (systemd's DelegateSubgroup, too) the groups go beside it.
                let leaf = own.file_name().is_some_and(|name| name == OWN_LEAF);
                let folder = if leaf { own.parent().map(Path::to_owned).unwrap_or(own) } else { own };
                make_outside(&folder);
                let controllers = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
                found.unified_controllers = controllers.split_ascii_whitespace().map(str::to_owned).collect();
                found.unified = Some(folder);
            } else if mount.kind == "cgroup" {
                for controller in mount.options.split(',') {
                    if let Some(path) = own_v1(own, controller) {
                        let folder = place(path);
                        make_outside(&folder);
                        found.v1.insert(controller.to_owned(), folder);
                    }
                }
            }
        }
        found
    }

    /// Tries to make a group in each hierarchy, and forgets those where it fails.
    fn drop_unusable(&mut self) {
        if let Some(problem) = self.unified.as_deref().and_then(|folder| try_group(folder, "cgroup.kill").err()) {
            self.problems.insert("unified".into(), problem);
            self.unified = None;
            self.unified_controllers.clear();
        }
        let needed = |controller: &str| match controller {
            "memory" => "memory.limit_in_bytes",
            "pids" => "pids.max",
            "cpu" => "cpu.cfs_quota_us",
            "freezer" => "freezer.state",
            _ => "cgroup.procs",
        };
        let tried: Vec<_> =
            self.v1.iter().map(|(name, folder)| (name.clone(), try_group(folder, needed(name)))).collect();
        for (name, outcome) in tried {
            if let Err(problem) = outcome {
                self.v1.remove(&name);
                self.problems.insert(name, problem);
            }
        }
    }

    /// The groups for one process tree, named uniquely, and what of its limits can't be held, in words.
    pub fn plan(&self, name: &str, limits: &Limits) -> (Cgroup, Vec<String>) {
        let mut folders = self.tracker(name);
        let mut limitations = Vec::new();
        let wishes = [
            ("memory", limits.memory.map(|bytes| format!("the memory limit of {bytes} bytes"))),
            ("pids", limits.pids.map(|count| format!("the limit of {count} processes"))),
            ("cpu", limits.cpu_millis.map(|millis| format!("the limit of {millis} thousandths of a CPU"))),
        ];
        for (controller, wish) in wishes {
            let Some(wish) = wish else { continue };
            if let (true, Some(folder)) = (self.unified_controllers.contains(controller), &self.unified) {
                // The unified folder is the tracker, hence the first.
                debug_assert_eq!(folders[0].path, folder.join(name));
                folders[0].settings.extend(settings_v2(controller, limits));
            } else if let Some(folder) = self.v1.get(controller) {
                let kind = if controller == "memory" { Kind::Memory } else { Kind::Other };
                folders.push(Folder { path: folder.join(name), kind, settings: settings_v1(controller, limits) });
            } else {
                limitations.push(format!("{wish} is not enforced: {}", self.problem(controller)));
            }
        }
        (Cgroup { folders }, limitations)
    }

    /// Where the tree is found and killed.
    fn tracker(&self, name: &str) -> Vec<Folder> {
        let folder = |parent: &PathBuf, kind| Folder { path: parent.join(name), kind, settings: Vec::new() };
        let unified = self.unified.as_ref().map(|parent| folder(parent, Kind::Unified));
        unified.or_else(|| self.v1.get("freezer").map(|parent| folder(parent, Kind::Freezer))).into_iter().collect()
    }

    /// Makes the unified hierarchy hand its controllers to the groups below the supervisor's, which needs the
    /// supervisor to leave for a leaf of its own first. Done when limits are asked for; repeating it is harmless.
    pub fn hand_down(&self, limits: &Limits) -> io::Result<()> {
        let asked = [limits.memory.is_some(), limits.pids.is_some(), limits.cpu_millis.is_some()];
        let wanted: Vec<&str> = CONTROLLERS
            .into_iter()
            .zip(asked)
            .filter_map(|(name, asked)| (asked && self.unified_controllers.contains(name)).then_some(name))
            .collect();
        let Some(folder) = self.unified.as_ref().filter(|_| !wanted.is_empty()) else { return Ok(()) };
        let active = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
        let missing: Vec<&str> =
            wanted.into_iter().filter(|name| !active.split_ascii_whitespace().any(|there| there == *name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let leaf = folder.join(OWN_LEAF);
        fs::create_dir_all(&leaf)?;
        for pid in fs::read_to_string(folder.join("cgroup.procs"))?.lines() {
            // A process that ended meanwhile needs no place.
            let _ = fs::write(leaf.join("cgroup.procs"), pid);
        }
        let wish: Vec<String> = missing.iter().map(|name| format!("+{name}")).collect();
        fs::write(folder.join("cgroup.subtree_control"), wish.join(" "))
    }

    /// What this machine can't do for any app, in words.
    pub fn limitations(&self) -> Vec<String> {
        let missing = |name: &&&str| !self.unified_controllers.contains(**name) && !self.v1.contains_key(**name);
        let mut words: Vec<String> = CONTROLLERS
            .iter()
            .filter(missing)
            .map(|name| format!("{name} limits are not enforced: {}", self.problem(name)))
            .collect();
        if self.unified.is_none() && !self.v1.contains_key("freezer") {
            words.push("process trees are followed by descent only, without control groups".into());
        }
        if let Some(problem) = self.problems.get(SHIMS) {
            words.push(format!("`systemctl kill` of the supervisor would end the apps too: {problem}"));
        }
        words
    }

    fn problem(&self, controller: &str) -> String {
        let known = self.problems.get(controller).or_else(|| self.problems.get("unified"));
        known.cloned().unwrap_or_else(|| {
            format!("the kernel offers no {controller} controller here; mount it, or delegate it to the supervisor")
        })
    }
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

/// A line of mountinfo: `id parent major:minor root point options... - kind source super-options`.
fn parse_mount(line: &str) -> Option<Mount<'_>> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let mut right = right.split(' ');
    Some(Mount { root: left.next()?, point: left.next()?, kind: right.next()?, options: right.nth(1)? })
}

/// `/proc/self/cgroup` as if this process were in a group beside all units; `None` where it is in none.
fn beside_units(own: &str) -> Option<String> {
    let mut any = false;
    let mut lines = String::new();
    for line in own.lines() {
        let (head, path) = line.rsplit_once(':')?;
        let mut parts: Vec<&str> = path.split('/').collect();
        match parts.iter().rposition(|part| part.ends_with(".service")) {
            Some(unit) => {
                parts.truncate(unit);
                while parts.last().is_some_and(|part| part.ends_with(".slice")) {
                    parts.pop();
                }
                parts.push(OUTSIDE);
                any = true;
                let path = parts.join("/");
                lines.push_str(&format!("{head}:{}{path}\n", if path.starts_with('/') { "" } else { "/" }));
            }
            None => lines.push_str(&format!("{line}\n")),
        }
    }
    any.then_some(lines)
}

/// Makes the group beside all units, if the folder is to be it. One that can't be made is found out when it is tried.
fn make_outside(folder: &Path) {
    if folder.file_name().is_some_and(|name| name == OUTSIDE) {
        let _ = fs::create_dir(folder);
    }
}

/// The own group's path in the v1 hierarchy of a controller.
fn own_v1<'a>(own: &'a str, controller: &str) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let names = parts.next()?;
        names.split(',').any(|name| name == controller).then(|| parts.next()).flatten()
    })
}

fn try_group(folder: &Path, needed: &str) -> Result<(), String> {
    let trial = folder.join(format!("trimtab-trial-{}", std::process::id()));
    let hint = "run the supervisor as root, or delegate a control group to it";
    fs::create_dir(&trial).map_err(|error| format!("no control group can be made in {folder:?} ({error}): {hint}"))?;
    let there = trial.join(needed).exists();
    let _ = fs::remove_dir(&trial);
    if there { Ok(()) } else { Err(format!("the kernel's control groups in {folder:?} lack {needed}")) }
}

fn setting(file: &str, value: impl ToString) -> Setting {
    Setting { file: file.into(), value: value.to_string(), optional: false }
}

fn optional(file: &str, value: impl ToString) -> Setting {
    Setting { optional: true, ..setting(file, value) }
}

fn settings_v2(controller: &str, limits: &Limits) -> Vec<Setting> {
    match controller {
        "memory" => limits.memory.map_or(Vec::new(), |bytes| {
            vec![setting("memory.max", bytes), optional("memory.swap.max", 0), optional("memory.oom.group", 1)]
        }),
        "pids" => limits.pids.map_or(Vec::new(), |count| vec![setting("pids.max", count)]),
        _ => limits
            .cpu_millis
            .map_or(Vec::new(), |millis| vec![setting("cpu.max", format!("{} {CPU_PERIOD}", quota(millis)))]),
    }
}

fn settings_v1(controller: &str, limits: &Limits) -> Vec<Setting> {
    match controller {
        "memory" => limits.memory.map_or(Vec::new(), |bytes| {
            vec![setting("memory.limit_in_bytes", bytes), optional("memory.memsw.limit_in_bytes", bytes)]
        }),
        "pids" => limits.pids.map_or(Vec::new(), |count| vec![setting("pids.max", count)]),
        _ => limits.cpu_millis.map_or(Vec::new(), |millis| {
            vec![setting("cpu.cfs_period_us", CPU_PERIOD), setting("cpu.cfs_quota_us", quota(millis))]
        }),
    }
}

/// Microseconds of CPU time in a period; the kernel takes no less than 1,000.
fn quota(millis: u64) -> u64 {
    (millis.saturating_mul(CPU_PERIOD) / 1000).max(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
";
    const V1_OWN: &str = "8:freezer:/\n4:memory:/a/b\n2:cpu,cpuacct:/\n1:name=systemd:/init\n";
    const LIMITS: Limits = Limits { memory: Some(1 << 20), cpu_millis: Some(250), pids: Some(20) };

    /// A v2 hierarchy as files: the own group is `system.slice/tt.service`.
    fn unified(controllers: &str) -> (tempfile::TempDir, Hierarchies) {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("sys/fs/cgroup/system.slice/tt.service");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("cgroup.controllers"), controllers).unwrap();
        fs::write(own.join("cgroup.subtree_control"), "").unwrap();
        fs::write(own.join("cgroup.procs"), "17\n").unwrap();
        let mountinfo = "24 20 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = Hierarchies::parse(mountinfo, "0::/system.slice/tt.service\n", root.path());
        (root, found)
    }

    #[test]
    fn v2_holds_all_limits_in_one_folder() {
        let (root, found) = unified("cpuset cpu io memory pids\n");
        let (cgroup, limitations) = found.plan("trimtab-1", &LIMITS);
        assert_eq!(limitations, Vec::<String>::new());
        assert_eq!(cgroup.folders.len(), 1);
        let folder = root.path().join("sys/fs/cgroup/system.slice/tt.service/trimtab-1");
        assert_eq!((cgroup.folders[0].path.clone(), cgroup.folders[0].kind), (folder, Kind::Unified));
        let written: Vec<_> = cgroup.folders[0].settings.iter().map(|s| (s.file.as_str(), s.value.as_str())).collect();
        assert_eq!(
            written,
            [
                ("memory.max", "1048576"),
                ("memory.swap.max", "0"),
                ("memory.oom.group", "1"),
                ("pids.max", "20"),
                ("cpu.max", "25000 100000"),
            ]
        );
    }

    #[test]
    fn v2_controllers_are_handed_down_from_a_leaf() {
        let (root, found) = unified("cpu memory pids\n");
        found.hand_down(&Limits { cpu_millis: None, ..LIMITS }).unwrap();
        let own = root.path().join("sys/fs/cgroup/system.slice/tt.service");
        assert_eq!(fs::read_to_string(own.join("supervisor/cgroup.procs")).unwrap(), "17");
        assert_eq!(fs::read_to_string(own.join("cgroup.subtree_control")).unwrap(), "+memory +pids");
    }

    #[test]
    fn without_a_wish_nothing_is_moved() {
        let (root, found) = unified("cpu memory pids\n");
        found.hand_down(&Limits::default()).unwrap();
        assert!(!root.path().join("sys/fs/cgroup/system.slice/tt.service/supervisor").exists());
    }

    #[test]
    fn a_supervisor_in_its_leaf_places_groups_beside_it() {
        let mountinfo = "24 20 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(mountinfo, "0::/system.slice/tt.service/supervisor\n", Path::new("/"));
        assert_eq!(found.unified, Some("/sys/fs/cgroup/system.slice/tt.service".into()));
    }

    #[test]
    fn v1_takes_a_folder_for_each_controller() {
        let found = Hierarchies::parse(V1, V1_OWN, Path::new("/"));
        let (cgroup, limitations) = found.plan("x", &LIMITS);
        let paths: Vec<_> = cgroup.folders.iter().map(|f| (f.path.to_str().unwrap(), f.kind)).collect();
        assert_eq!(
            paths,
            [
                ("/sys/fs/cgroup/freezer/x", Kind::Freezer),
                ("/sys/fs/cgroup/memory/a/b/x", Kind::Memory),
                ("/sys/fs/cgroup/cpu/x", Kind::Other),
            ]
        );
        assert_eq!(limitations.len(), 1, "{limitations:?}");
        assert!(limitations[0].starts_with("the limit of 20 processes is not enforced: the kernel offers no pids"));
    }

    #[test]
    fn both_kinds_together_take_each_controller_from_where_it_is() {
        let mountinfo = format!("{V1}41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let found = Hierarchies::parse(&mountinfo, &format!("{V1_OWN}0::/\n"), Path::new("/"));
        let (cgroup, _) = found.plan("x", &Limits { memory: Some(5), ..Limits::default() });
        let kinds: Vec<_> = cgroup.folders.iter().map(|f| f.kind).collect();
        assert_eq!(kinds, [Kind::Unified, Kind::Memory]);
    }

    #[test]
    fn nothing_mounted_is_said() {
        let found = Hierarchies::parse("", "", Path::new("/"));
        assert_eq!(found.plan("x", &Limits::default()), (Cgroup::default(), Vec::new()));
        assert_eq!(found.plan("x", &LIMITS).1.len(), 3);
        assert_eq!(found.limitations().len(), 4);
    }

    #[test]
    fn a_container_sees_its_group_as_the_root() {
        let mountinfo = "24 20 0:22 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(mountinfo, "0::/docker/abc/sub\n", Path::new("/"));
        assert_eq!(found.unified, Some("/sys/fs/cgroup/sub".into()));
    }

    #[test]
    fn a_unit_has_its_groups_beside_all_units() {
        for (own, outside) in [
            ("0::/system.slice/trimtab-supervisor.service", "0::/trimtab\n"),
            ("0::/system.slice/trimtab-supervisor.service/supervisor", "0::/trimtab\n"),
            (
                "1:name=systemd:/docker/a/system.slice/tt.service\n0::/docker/a",
                "1:name=systemd:/docker/a/trimtab\n0::/docker/a\n",
            ),
            (
                "0::/user.slice/user-7.slice/user@7.service/app.slice/tt.service",
                "0::/user.slice/user-7.slice/user@7.service/trimtab\n",
            ),
        ] {
            assert_eq!(beside_units(own).as_deref(), Some(outside));
        }
        assert_eq!(beside_units("0::/user.slice/user-0.slice/session-3.scope"), None);
    }

    #[test]
    fn shims_have_a_leaf_of_their_own() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/fs/cgroup")).unwrap();
        let mountinfo = "24 20 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let own = beside_units("0::/system.slice/tt.service\n").unwrap();
        let mut found = Hierarchies::parse(mountinfo, &own, root.path());
        found.make_shelter();
        let expected = root.path().join("sys/fs/cgroup/trimtab/shims/cgroup.procs");
        assert_eq!(found.shelter().collect::<Vec<_>>(), [expected]);
        assert_eq!(found.plan("x", &LIMITS).0.folders[0].path, root.path().join("sys/fs/cgroup/trimtab/x"));
    }
}
