//! Stops: a signal, a time to leave, then the whole tree.

use trimtab::domain::span::Span;
use trimtab::protocol::supervisor::InstanceState;
use trimtab::supervisor::shim::records::{StopCause, StopRequest};
use trimtab::supervisor::store;

use super::bed::{Bed, pids_in, starts, until_gone};
use crate::support::{PATIENCE, alive, eventually, read};

#[test]
fn an_app_may_leave_in_its_own_time() {
    let bed = Bed::start();
    let spec =
        bed.group(r#"trap 'echo bye > "$OUT/bye"; exit 0' TERM; echo $$ > "$OUT/pid"; while :; do sleep 0.1; done"#);
    bed.put(&spec, 1);
    pids_in(&bed.out("pid"), 1);
    bed.delete(&spec);
    eventually(PATIENCE, "the group is gone", || bed.groups().groups.is_empty());
    assert_eq!(read(bed.out("bye")).unwrap(), "bye\n");
}

#[test]
fn the_signal_is_the_one_that_is_asked_for() {
    let bed = Bed::start();
    let mut spec = bed.group(
        r#"trap 'echo usr1 > "$OUT/bye"; exit 0' USR1; trap '' TERM; echo $$ > "$OUT/pid"; while :; do sleep 0.1; done"#,
    );
    spec.process.stop.signal = "USR1".into();
    bed.put(&spec, 1);
    pids_in(&bed.out("pid"), 1);
    bed.delete(&spec);
    eventually(PATIENCE, "the group is gone", || bed.groups().groups.is_empty());
    assert_eq!(read(bed.out("bye")).unwrap(), "usr1\n");
}

/// Tells its own process id and those of a child, a child in another session, and an orphan of one; none heeds TERM.
const FAMILY: &str = r#"
trap '' TERM
echo $$ >> "$OUT/pids"
sh -c 'trap "" TERM; echo $$ >> "$OUT/pids"; while :; do sleep 1; done' &
setsid sh -c 'trap "" TERM HUP; echo $$ >> "$OUT/pids"; while :; do sleep 1; done' &
sh -c 'setsid sh -c "trap \"\" TERM HUP; echo \$\$ >> \"$OUT/pids\"; while :; do sleep 1; done" & exit 0'
while :; do sleep 1; done
"#;

#[test]
fn after_the_grace_the_whole_tree_is_killed() {
    let bed = Bed::start();
    let mut spec = bed.group(FAMILY);
    spec.process.stop.grace = Span::from_millis(300);
    bed.put(&spec, 1);
    let pids = pids_in(&bed.out("pids"), 4);
    bed.delete(&spec);
    eventually(PATIENCE, "the group is gone", || bed.groups().groups.is_empty());
    // Recorded as gone means gone: whoever held the port holds it no more.
    assert!(pids.iter().all(|pid| !alive(*pid)), "{pids:?}");
}

#[test]
fn what_an_app_leaves_behind_goes_with_it() {
    let bed = Bed::start();
    let spec = bed.group(r#"setsid sh -c 'echo $$ >> "$OUT/pids"; sleep 1000' & while [ ! -s "$OUT/pids" ]; do sleep 0.01; done; exit 3"#);
    bed.put(&spec, 1);
    let first = pids_in(&bed.out("pids"), 1)[0];
    bed.until_first(&spec, "it ended", |instance| instance.last_exit.is_some());
    until_gone(&[first]);
}

#[test]
fn a_stop_goes_on_without_the_supervisor() {
    let mut bed = Bed::start();
    let mut spec = bed.group(FAMILY);
    spec.process.stop.grace = Span::from_secs(1);
    bed.put(&spec, 1);
    let pids = pids_in(&bed.out("pids"), 4);
    bed.delete(&spec);
    eventually(PATIENCE, "it is being stopped", || {
        bed.groups()
            .groups
            .first()
            .is_none_or(|group| group.instances.iter().all(|i| i.state == InstanceState::Stopping))
    });
    bed.kill_supervisor();
    until_gone(&pids);
    bed.start_again(None);
    eventually(PATIENCE, "the group is gone", || bed.groups().groups.is_empty());
}

#[test]
fn a_stop_that_was_recorded_but_never_sent_is_sent_by_the_next_supervisor() {
    let mut bed = Bed::start();
    let spec = bed.group("exec sleep 1000");
    bed.put(&spec, 1);
    let pid = bed.until_runs(&spec).pid.unwrap();
    bed.kill_supervisor();
    // As if it had died between the two.
    let start = starts(&bed.state()).remove(0);
    let grace = Span::from_secs(1);
    store::write(&start, &StopRequest { signal: nix::libc::SIGTERM, grace, cause: StopCause::Requested }).unwrap();
    assert!(alive(pid));
    bed.start_again(None);
    until_gone(&[pid]);
    bed.until_first(&spec, "it is wanted, and so it runs again", |i| i.pid.is_some_and(|new| new != pid));
}
