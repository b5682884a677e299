//! Kills at moments that nobody chose: whatever is cut short, the outcome is what was asked for, once.

use std::collections::BTreeSet;
use std::time::Duration;

use trimtab::protocol::supervisor::{ExitHow, GroupSpec, InstanceState, RunState};

use super::bed::{Bed, kill, pids_in};
use crate::support::{PATIENCE, alive, eventually};

/// Moments from right away to well after everything has begun, in an order without a pattern.
fn moments() -> impl Iterator<Item = Duration> {
    (1..=12_u64).map(|number| Duration::from_micros(number * 7919 * 7919 % 60_013))
}

/// The living processes of the bed's apps: those that carry its folder in their environment.
fn apps(bed: &Bed) -> BTreeSet<u32> {
    let out = bed.out("").display().to_string();
    let out = out.trim_end_matches('/');
    let processes = trimtab::supervisor::process::all().into_iter().filter(|process| !process.zombie);
    let ours = processes.filter(|process| trimtab::supervisor::process::carries(process.id.pid, "OUT", out));
    ours.map(|process| process.id.pid as u32).collect()
}

/// Waits until the group is exactly as asked for: so many processes, each known, none beside them.
fn until_exactly(bed: &Bed, spec: &GroupSpec, replicas: usize) {
    eventually(PATIENCE, "exactly what was asked for runs", || {
        let group = bed.status(spec);
        let known: BTreeSet<u32> = group.instances.iter().filter_map(|instance| instance.pid).collect();
        let ports: BTreeSet<u16> = group.instances.iter().filter_map(|instance| instance.port).collect();
        let living = apps(bed);
        let settled = group.instances.iter().all(|instance| instance.state == InstanceState::Running);
        let counts = [group.instances.len(), known.len(), ports.len()];
        if settled && counts == [replicas; 3] && living == known {
            Ok(())
        } else {
            Err(format!("{group:#?}\nliving: {living:?}\n{}", bed.log_text()))
        }
    });
}

#[test]
fn a_supervisor_killed_at_any_moment_starts_nothing_twice_and_forgets_nothing() {
    let mut bed = Bed::start();
    let mut spec = bed.group("exec sleep 1000");
    spec.process.port = true;
    bed.put(&spec, 1);
    for (round, moment) in moments().enumerate() {
        let replicas = [3, 1, 4, 0, 2][round % 5];
        // The answer, if there is one, comes before the kill or is cut off by it; what was answered holds.
        bed.put(&spec, replicas);
        std::thread::sleep(moment);
        bed.kill_supervisor();
        bed.start_again(None);
        if round % 3 == 2 {
            until_exactly(&bed, &spec, replicas as usize);
        } else {
            assert_eq!(bed.status(&spec).replicas, replicas);
        }
    }
    bed.put(&spec, 3);
    until_exactly(&bed, &spec, 3);
    bed.delete(&spec);
    bed.kill_supervisor();
    bed.start_again(None);
    eventually(PATIENCE, "the group is gone", || bed.groups().groups.is_empty());
    assert_eq!(apps(&bed), BTreeSet::new());
}

#[test]
fn shims_killed_at_any_moment_leave_nothing_behind() {
    let bed = Bed::start();
    let mut spec = bed.group(r#"sleep 1000 & echo $$ >> "$OUT/pids"; wait"#);
    spec.process.port = true;
    bed.put(&spec, 1);
    let mut seen = 0;
    for moment in moments().take(4) {
        let instance = bed.until_runs(&spec);
        std::thread::sleep(moment);
        kill(bed.shim(&spec, 0), nix::libc::SIGKILL);
        let pid = instance.pid.unwrap();
        eventually(PATIENCE, "its process is gone", || !alive(pid));
        bed.until_first(&spec, "another comes", |new| new.pid.is_some() && new.pid != instance.pid);
        seen += 1;
    }
    let told = pids_in(&bed.out("pids"), seen + 1);
    eventually(PATIENCE, "one tree is left", || {
        let living = apps(&bed);
        // The shell, and its sleep.
        if living.len() == 2 && told.iter().any(|pid| living.contains(pid)) {
            Ok(())
        } else {
            Err(format!("{living:?}"))
        }
    });
}

#[test]
fn a_run_is_never_run_twice_whenever_the_supervisor_is_killed() {
    let mut bed = Bed::start();
    for (number, moment) in moments().enumerate() {
        let id = format!("hook-{number}");
        let run = bed.run_spec(&id, &format!(r#"echo ran >> "$OUT/{id}""#));
        bed.try_run(&run).unwrap();
        std::thread::sleep(moment / 4);
        bed.kill_supervisor();
        bed.start_again(None);
        bed.try_run(&run).unwrap();
        let end = bed.run_end(&id);
        assert_eq!(end.state, RunState::Ended(ExitHow::Code(0)), "{end:?}");
        assert_eq!(crate::support::read(bed.out(&id)).as_deref(), Some("ran\n"), "{end:?}");
    }
}
