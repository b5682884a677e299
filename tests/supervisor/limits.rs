//! Limits, where the kernel lets it; a clear word where not.

use trimtab::domain::workload::Limits;
use trimtab::protocol::supervisor::ExitHow;

use super::bed::Bed;
use crate::support::{PATIENCE, eventually, read};

/// Skips a test where this machine can't enforce the limits, with the supervisor's own words; there the words are the test.
pub fn unenforced(bed: &Bed, limits: &Limits) -> bool {
    let mut spec = bed.group("sleep 1000");
    spec.process.limits = limits.clone();
    let limitations = bed.put(&spec, 0).limitations;
    if limitations.is_empty() {
        bed.delete(&spec);
        eventually(PATIENCE, "it is gone", || bed.groups().groups.is_empty());
        return false;
    }
    eprintln!("skipped: {}", limitations.join("; "));
    assert!(limitations.iter().all(|words| words.contains("is not enforced: ")), "{limitations:?}");
    true
}

/// A script that takes 64 MiB of memory.
pub const HOG: &str = "a=x; while [ ${#a} -lt 67108864 ]; do a=$a$a; done; echo ${#a} > \"$OUT/size\"";

#[test]
fn an_app_beyond_its_memory_is_killed_and_the_reason_told() {
    let bed = Bed::start();
    let limits = Limits { memory: Some(24 << 20), ..Limits::default() };
    if unenforced(&bed, &limits) {
        return;
    }
    let mut spec = bed.group(HOG);
    spec.process.limits = limits;
    bed.put(&spec, 1);
    let instance = bed.until_first(&spec, "it was killed", |instance| instance.last_exit.is_some());
    assert_eq!(instance.last_exit.unwrap().how, ExitHow::OutOfMemory);
    assert!(instance.message.unwrap().contains("memory limit"));
    assert_eq!(read(bed.out("size")), None);
}

#[test]
fn control_groups_go_with_their_instance() {
    let bed = Bed::start();
    let mut spec = bed.group("sleep 1000");
    spec.process.limits = Limits { memory: Some(64 << 20), pids: Some(50), cpu_millis: Some(500) };
    bed.put(&spec, 1);
    let instance = bed.until_runs(&spec);
    let own = read(format!("/proc/{}/cgroup", instance.pid.unwrap())).unwrap();
    let hierarchies = bed.hello().unwrap().limitations;
    if !own.contains("trimtab-") {
        eprintln!("skipped: no control groups here: {hierarchies:?}");
        return;
    }
    let folders = || {
        let mounts = read("/proc/self/mountinfo").unwrap();
        let points = mounts.lines().filter(|line| line.contains(" - cgroup")).filter_map(|line| line.split(' ').nth(4));
        let groups = own.lines().filter_map(|line| line.rsplit_once(':')).filter(|(_, path)| path.contains("trimtab-"));
        let paths: Vec<String> = groups.map(|(_, path)| path.to_owned()).collect();
        points.flat_map(|point| paths.iter().map(move |path| format!("{point}{path}"))).collect::<Vec<_>>()
    };
    assert!(folders().iter().any(|folder| std::path::Path::new(folder).exists()), "{own}");
    bed.delete(&spec);
    eventually(PATIENCE, "the group is gone", || bed.groups().groups.is_empty());
    let left: Vec<_> = folders().into_iter().filter(|folder| std::path::Path::new(folder).exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}
