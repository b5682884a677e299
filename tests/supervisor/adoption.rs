//! Kills of every party: nothing is lost that lives, and nothing is left behind that does not.

use std::fs;

use trimtab::domain::span::Span;
use trimtab::domain::workload::{Check, Probe};
use trimtab::protocol::supervisor::{ExitHow, GroupStatus, InstanceState};

use super::bed::{Bed, kill, pids_in, until_gone};
use crate::support::{PATIENCE, alive, eventually};

fn running(group: &GroupStatus, count: usize) -> bool {
    group.instances.iter().filter(|i| i.state == InstanceState::Running && i.ready).count() == count
}

#[test]
fn a_killed_supervisor_takes_nothing_with_it() {
    let mut bed = Bed::start();
    let mut spec = bed.demo_app(&[]);
    spec.health.readiness = Some(Probe {
        check: Check::Http { path: "/healthz".into() },
        interval: Span::from_secs(3600),
        timeout: Span::from_secs(10),
        healthy_after: 1,
        unhealthy_after: 1,
    });
    bed.put(&spec, 3);
    let before = bed.until(&spec, "three are ready", |group| running(group, 3));
    let start = bed.groups().start;
    bed.kill_supervisor();
    assert!(before.instances.iter().all(|instance| alive(instance.pid.unwrap())));
    bed.start_again(None);
    // At once and without a new check: the router must not lose backends that serve.
    let list = bed.groups();
    assert_eq!(list.groups, [before]);
    assert_ne!(list.start, start);
}

#[test]
fn an_orderly_stop_of_the_supervisor_leaves_everything_running() {
    let mut bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 2);
    let before = bed.until(&spec, "both run", |group| running(group, 2));
    assert!(bed.stop_supervisor().success());
    bed.start_again(None);
    assert_eq!(bed.status(&spec), before);
}

#[test]
fn the_signals_of_a_terminal_do_not_reach_the_apps() {
    let mut bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 1);
    let before = bed.until_runs(&spec);
    let group_of = |pid: u32| trimtab::supervisor::process::stat(pid as i32).unwrap().session;
    let (app, shim) = (before.pid.unwrap(), bed.shim(&spec, 0));
    let sessions = [group_of(app), group_of(shim), group_of(bed.pid())];
    assert_eq!(sessions[..2], [app as i32, shim as i32], "each leads a session of its own");
    assert!(!sessions[..2].contains(&sessions[2]));
    for signal in [nix::libc::SIGINT, nix::libc::SIGHUP, nix::libc::SIGQUIT] {
        kill(shim, signal);
    }
    assert!(bed.stop_supervisor().success());
    bed.start_again(None);
    assert_eq!(bed.status(&spec).instances, [before]);
}

#[test]
fn the_exit_of_an_app_is_known_though_nobody_was_there() {
    let mut bed = Bed::start();
    let spec =
        bed.group(r#"echo $$ >> "$OUT/pids"; while [ ! -e "$OUT/go" ]; do sleep 0.02; done; rm "$OUT/go"; exit 42"#);
    bed.put(&spec, 1);
    let pid = pids_in(&bed.out("pids"), 1)[0];
    bed.kill_supervisor();
    fs::write(bed.out("go"), "").unwrap();
    until_gone(&[pid]);
    bed.start_again(None);
    let instance = bed.until_first(&spec, "the exit is known", |instance| instance.last_exit.is_some());
    assert_eq!(instance.last_exit.unwrap().how, ExitHow::Code(42));
    assert_eq!(pids_in(&bed.out("pids"), 2).len(), 2, "it was started again");
}

#[test]
fn an_adopted_app_is_watched_on() {
    let mut bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 1);
    let first = bed.until_runs(&spec);
    bed.kill_supervisor();
    bed.start_again(None);
    kill(first.pid.unwrap(), nix::libc::SIGTERM);
    let second = bed.until_first(&spec, "another runs", |i| i.state == InstanceState::Running && i.pid != first.pid);
    assert_eq!(second.last_exit.unwrap().how, ExitHow::Code(0));
    bed.delete(&spec);
    eventually(PATIENCE, "the group is gone", || bed.groups().groups.is_empty());
    until_gone(&[second.pid.unwrap()]);
}

const FAMILY: &str = r#"
setsid sh -c 'trap "" TERM HUP; echo $$ >> "$OUT/pids"; while :; do sleep 1; done' &
echo $$ >> "$OUT/pids"
while :; do sleep 1; done
"#;

#[test]
fn a_killed_shim_leaves_no_orphan_and_a_new_instance_comes() {
    let bed = Bed::start();
    let spec = bed.group(FAMILY);
    bed.put(&spec, 1);
    let first = pids_in(&bed.out("pids"), 2);
    kill(bed.shim(&spec, 0), nix::libc::SIGKILL);
    let instance = bed.until_first(&spec, "the loss is known", |instance| instance.last_exit.is_some());
    let ExitHow::Unknown(reason) = instance.last_exit.unwrap().how else { panic!("nobody saw how it ended") };
    assert!(reason.contains("shim was killed"), "{reason}");
    assert!(first.iter().all(|pid| !alive(*pid)), "{first:?}");
    let all = pids_in(&bed.out("pids"), 4);
    eventually(PATIENCE, "the new one runs", || all[2..].iter().all(|pid| alive(*pid)));
}

#[test]
fn a_shim_killed_while_nobody_was_there_is_noticed() {
    let mut bed = Bed::start();
    let spec = bed.group(FAMILY);
    bed.put(&spec, 1);
    let first = pids_in(&bed.out("pids"), 2);
    let shim = bed.shim(&spec, 0);
    bed.kill_supervisor();
    kill(shim, nix::libc::SIGKILL);
    until_gone(&[shim]);
    bed.start_again(None);
    let instance = bed.until_first(&spec, "the loss is known", |instance| instance.last_exit.is_some());
    assert!(matches!(instance.last_exit.unwrap().how, ExitHow::Unknown(_)));
    until_gone(&first);
    pids_in(&bed.out("pids"), 4);
}

#[test]
fn after_a_restart_of_the_machine_the_last_state_is_made_again() {
    let mut bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 2);
    let before = bed.until(&spec, "both run", |group| running(group, 2));
    let run = bed.run_spec("hook-1", r#"echo $$ > "$OUT/pids"; sleep 1000"#);
    bed.try_run(&run).unwrap();
    pids_in(&bed.out("pids"), 1);
    bed.kill_everything();
    bed.start_again(Some("another-boot"));
    let after = bed.until(&spec, "both run again", |group| running(group, 2));
    for (old, new) in before.instances.iter().zip(&after.instances) {
        assert_eq!((old.port, &old.id), (new.port, &new.id), "routers know these");
        let ExitHow::Unknown(reason) = &new.last_exit.as_ref().unwrap().how else { panic!("nobody saw how it ended") };
        assert!(reason.contains("machine restarted"), "{reason}");
    }
    let run = bed.run_end("hook-1");
    assert!(format!("{:?}", run.state).contains("machine restarted"), "{run:?}");
}

#[test]
fn a_second_supervisor_on_the_same_state_is_refused() {
    let bed = Bed::start();
    let output = bed.command(None).stderr(std::process::Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("another supervisor uses"), "{words}");
    assert!(bed.hello().is_ok(), "the first one serves on");
}

#[test]
fn a_damaged_record_is_told_and_the_rest_goes_on() {
    let mut bed = Bed::start();
    let (one, mut two) = (bed.demo_app(&[]), bed.demo_app(&[]));
    two.key = "hello/staging/default/g2".into();
    two.group = "g2".into();
    bed.put(&one, 1);
    bed.put(&two, 1);
    let pid = bed.until_runs(&one).pid.unwrap();
    bed.until_runs(&two);
    bed.kill_supervisor();
    let record = bed.state().join("groups").join(trimtab::net::client::segment(&one.key)).join("group.json");
    fs::write(&record, "{\"version\":1,\"rec").unwrap();
    bed.start_again(None);
    assert_eq!(bed.groups().groups.iter().map(|group| group.key.as_str()).collect::<Vec<_>>(), [two.key.as_str()]);
    let limitations = bed.hello().unwrap().limitations.join("\n");
    assert!(limitations.contains("group.json is damaged"), "{limitations}");
    assert!(alive(pid), "what is not understood is left alone");
    fs::remove_file(record).unwrap();
}
