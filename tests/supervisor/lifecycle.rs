//! Instances start, are started again, become fewer, and go.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use trimtab::protocol::supervisor::{ExitHow, InstanceState};

use super::bed::{Bed, kill, until_gone};
use crate::support::{PATIENCE, alive, eventually, read};

#[test]
fn each_instance_gets_its_own_port_and_identity() {
    let bed = Bed::start();
    let mut spec = bed
        .group(r#"echo "$TRIMTAB_INSTANCE $PORT {{ port }} {{ slot }} $URL" > "$OUT/$TRIMTAB_INSTANCE"; sleep 1000"#);
    spec.process.port = true;
    spec.process.env.insert("URL".into(), "http://127.0.0.1:{{ port }}/".into());
    bed.put(&spec, 3);
    let group = bed.until(&spec, "three run", |group| group.instances.iter().filter(|i| i.pid.is_some()).count() == 3);
    let ports: BTreeSet<u16> = group.instances.iter().map(|instance| instance.port.unwrap()).collect();
    assert_eq!(ports.len(), 3, "{ports:?}");
    for instance in &group.instances {
        let port = instance.port.unwrap();
        let text = eventually(PATIENCE, "it wrote", || read(bed.out(&instance.id)).filter(|text| text.ends_with('\n')));
        assert_eq!(text, format!("{} {port} {port} {} http://127.0.0.1:{port}/\n", instance.id, instance.slot));
        assert!(instance.ready, "without a check it is ready as soon as it runs");
    }
}

#[test]
fn an_instance_that_ends_is_started_again_after_a_pause_on_the_same_port() {
    let bed = Bed::start();
    let mut spec = bed.group(r#"echo up >> "$OUT/starts"; echo one; echo two >&2; echo three >&2; exit 7"#);
    spec.process.port = true;
    bed.put(&spec, 1);
    let waiting = bed.until_first(&spec, "it waits", |instance| instance.state == InstanceState::BackOff);
    assert_eq!(waiting.last_exit.as_ref().unwrap().how, ExitHow::Code(7));
    let message = waiting.message.unwrap();
    assert!(message.contains("exited with code 7") && message.ends_with("its last words: two | three"), "{message}");
    let again = bed.until_first(&spec, "it was started again", |instance| instance.restarts >= 2);
    assert_eq!(again.port, waiting.port);
    // The pauses: one second, then two.
    let metrics = bed.text("/metrics");
    assert!(metrics.contains("trimtab_supervisor_restarts_total"), "{metrics}");
    assert!(read(bed.out("starts")).unwrap().lines().count() >= 2);
}

#[test]
fn a_killed_app_comes_back() {
    let bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 1);
    let first = bed.until_runs(&spec);
    kill(first.pid.unwrap(), nix::libc::SIGKILL);
    let second = bed.until_first(&spec, "another runs", |i| i.state == InstanceState::Running && i.pid != first.pid);
    assert_eq!(second.last_exit.unwrap().how, ExitHow::Signal(9));
    assert_eq!((second.restarts, second.port), (1, first.port));
}

#[test]
fn a_missing_program_is_told_with_a_remedy() {
    let bed = Bed::start();
    for (command, words) in
        [("bin/nothing", "not in the working directory"), ("no-such-program", "none of the folders of PATH")]
    {
        let mut spec = bed.group("");
        spec.process.command = vec![command.into()];
        bed.put(&spec, 1);
        let instance = bed.until_first(&spec, "it failed", |instance| instance.last_exit.is_some());
        let ExitHow::NotStarted(reason) = instance.last_exit.unwrap().how else { panic!("it started") };
        assert!(reason.contains(words), "{reason}");
        assert!(!instance.ready);
        bed.delete(&spec);
        eventually(PATIENCE, "it is gone", || bed.groups().groups.is_empty());
    }
}

#[test]
fn an_app_runs_in_a_private_copy_of_its_artifact() {
    let bed = Bed::start();
    let artifact = bed.out("artifact");
    fs::create_dir_all(artifact.join("bin")).unwrap();
    let program = artifact.join("bin/app");
    fs::write(
        &program,
        "#!/bin/sh\necho mine-$TRIMTAB_INSTANCE > data\npwd > \"$OUT/$TRIMTAB_INSTANCE\"\nexec sleep 1000\n",
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(artifact.join("data"), "original\n").unwrap();
    let mut spec = bed.group("");
    spec.process.command = vec!["bin/app".into()];
    spec.artifact_dir = Some(artifact.clone());
    bed.put(&spec, 2);
    // The supervisor's copy is its own: the source may go as soon as it has answered.
    fs::remove_dir_all(&artifact).unwrap();
    for id in ["g1-0", "g1-1"] {
        let dir = eventually(PATIENCE, "it runs", || read(bed.out(id)).filter(|text| text.ends_with('\n')));
        assert_eq!(read(format!("{}/data", dir.trim())).unwrap(), format!("mine-{id}\n"));
    }
    bed.put(&spec, 2);
}

#[test]
fn fewer_replicas_stop_the_highest_slots_and_more_bring_them_back() {
    let bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 3);
    let three = bed.until(&spec, "three run", |group| group.instances.iter().filter(|i| i.pid.is_some()).count() == 3);
    bed.put(&spec, 1);
    let one = bed.until(&spec, "one is left", |group| group.instances.len() == 1);
    assert_eq!(
        (one.instances[0].slot, one.instances[0].pid),
        (0, three.instances[0].pid),
        "the lowest slot stays as it is"
    );
    assert_eq!(one.instances[0].restarts, 0);
    until_gone(&[three.instances[1].pid.unwrap(), three.instances[2].pid.unwrap()]);
    bed.put(&spec, 2);
    let two = bed.until(&spec, "two run", |group| group.instances.iter().filter(|i| i.pid.is_some()).count() == 2);
    assert_eq!((two.instances[1].slot, two.instances[1].restarts), (1, 0));
}

#[test]
fn a_deleted_group_is_stopped_and_its_files_go() {
    let bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 2);
    let group = bed.until(&spec, "both run", |group| group.instances.iter().filter(|i| i.pid.is_some()).count() == 2);
    let pids: Vec<u32> = group.instances.iter().map(|instance| instance.pid.unwrap()).collect();
    bed.delete(&spec);
    eventually(PATIENCE, "the group is gone", || bed.groups().groups.is_empty());
    assert!(pids.iter().all(|pid| !alive(*pid)));
    eventually(PATIENCE, "its files are gone", || fs::read_dir(bed.state().join("groups")).unwrap().count() == 0);
    bed.delete(&spec);
    // The same key may come back as another group.
    bed.put(&bed.group("sleep 1000"), 1);
}

#[test]
fn a_group_that_is_asked_for_again_while_it_goes_stays() {
    let bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 1);
    bed.until_runs(&spec);
    bed.delete(&spec);
    bed.put(&spec, 1);
    // The process that was stopped may be told of until its end is noticed.
    bed.until_first(&spec, "it runs", |i| i.state == InstanceState::Running && i.ready && i.pid.is_some_and(alive));
    assert!(!bed.status(&spec).retiring);
}

#[test]
fn a_port_that_a_stranger_uses_is_passed_over() {
    let bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 1);
    let first = bed.until_runs(&spec).port.unwrap();
    let stranger = TcpListener::bind(("127.0.0.1", first + 1)).unwrap();
    bed.put(&spec, 2);
    let two = bed.until(&spec, "two run", |group| group.instances.iter().filter(|i| i.pid.is_some()).count() == 2);
    assert_eq!(two.instances[1].port, Some(first + 2));
    drop(stranger);
}

#[test]
fn setting_a_group_twice_changes_nothing() {
    let bed = Bed::start();
    let spec = bed.demo_app(&[]);
    bed.put(&spec, 1);
    let before = bed.until_first(&spec, "it is ready", |instance| instance.ready);
    let seq = bed.groups().seq;
    bed.put(&spec, 1);
    assert_eq!(bed.groups().seq, seq);
    assert_eq!(bed.status(&spec).instances, [before]);
}
