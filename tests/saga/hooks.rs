//! Hooks: once, in their place, undone where they say how, and never again by a guess.

use trimtab::adapters::platform::fake::Script;
use trimtab::domain::hook::OnRollback;
use trimtab::domain::observed::ObservedRun;
use trimtab::domain::rollout::command::Command;
use trimtab::domain::rollout::event::Outcome as End;

use super::bed::*;

fn ends(bed: &mut Bed, at: &str, end: ObservedRun) {
    bed.fake.scripts.insert(at.into(), Script { takes: secs(1), end });
}

fn with_hooks(idempotent: bool, on_rollback: OnRollback) -> (Bed, trimtab::domain::desired::DesiredUnit) {
    let old = desired("1", 2, rolling());
    let mut new = desired("2", 2, rolling());
    new.hooks.before = vec![hook("migrate", idempotent, on_rollback)];
    new.hooks.after = vec![hook("smoke", true, OnRollback::Nothing)];
    (Bed::running(&old), new)
}

#[test]
fn they_run_before_anything_starts_and_after_all_traffic() {
    let (mut bed, new) = with_hooks(false, OnRollback::Nothing);
    bed.want(&new);
    bed.run_to("the first hook", |bed| bed.fake.started.len() == 1);
    assert_eq!(bed.size(&new), 0, "nothing of the new version runs yet");
    bed.run_to("the second hook", |bed| bed.fake.started.len() == 2);
    assert_eq!(bed.weight(&new), 100);
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

#[test]
fn a_failed_hook_takes_the_rollout_back() {
    let (mut bed, new) = with_hooks(false, OnRollback::Script(script()));
    ends(&mut bed, "before-0", ObservedRun::Exited(3));
    bed.want(&new);
    bed.settle();
    match bed.outcome() {
        Some(End::RolledBack(failure)) => assert_eq!(failure.reason, "hook migrate failed: exit code 3"),
        other => panic!("{other:?}"),
    }
    let runs: Vec<_> = bed.fake.started.keys().map(|run| run.as_str().to_owned()).collect();
    assert_eq!(runs.len(), 2, "{runs:?}");
    assert!(runs.iter().any(|run| run.contains("undo-before-0")));
}

#[test]
fn a_failed_smoke_test_switches_back_and_undoes() {
    let (mut bed, new) = with_hooks(false, OnRollback::Script(script()));
    ends(&mut bed, "after-0", ObservedRun::Failed("its timeout".into()));
    bed.want(&new);
    bed.settle();
    assert!(matches!(bed.outcome(), Some(End::RolledBack(_))));
    assert_eq!(bed.size(&new), 0);
    assert_eq!(bed.fake.started.len(), 3);
}

#[test]
fn an_unknown_end_is_stuck_until_somebody_says() {
    let (mut bed, new) = with_hooks(false, OnRollback::Nothing);
    ends(&mut bed, "before-0", ObservedRun::Unknown("the machine was restarted".into()));
    bed.want(&new);
    bed.settle();
    assert_eq!(bed.fake.started.len(), 1);
    assert!(bed.state.running().unwrap().blocked_hook().unwrap().1.contains("restarted"));
    assert_eq!(bed.size(&new), 0);
    bed.resume();
    bed.settle();
    assert_eq!(bed.fake.started.len(), 1, "no guess after a restart either");
    ends(&mut bed, "before-0", ObservedRun::Exited(0));
    bed.command(Command::Retry).unwrap();
    bed.settle();
    assert_eq!(bed.fake.started.len(), 3);
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

#[test]
fn an_unknown_end_can_be_declared_good() {
    let (mut bed, new) = with_hooks(false, OnRollback::Nothing);
    ends(&mut bed, "before-0", ObservedRun::Unknown("the shim was killed".into()));
    bed.want(&new);
    bed.settle();
    bed.command(Command::Promote { full: false }).unwrap();
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
    assert!(bed.fake.started.values().all(|count| *count == 1));
}

#[test]
fn an_idempotent_hook_runs_again_by_itself() {
    let (mut bed, new) = with_hooks(true, OnRollback::Nothing);
    ends(&mut bed, "before-0", ObservedRun::Unknown("the shim was killed".into()));
    bed.want(&new);
    bed.run_to("started", |bed| bed.fake.started.len() == 1);
    bed.fake.pass(secs(1));
    ends(&mut bed, "before-0", ObservedRun::Exited(0));
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
    assert_eq!(bed.fake.started.len(), 3, "two attempts and the smoke test");
}

#[test]
fn past_a_forward_only_hook_there_is_no_way_back() {
    let (mut bed, new) = with_hooks(false, OnRollback::ForwardOnly);
    bed.fake.behaviours.insert("2".into(), crashing());
    bed.want(&new);
    bed.run_for(secs(200));
    let stopped = bed.state.running().expect("no way back").stopped.clone().unwrap();
    assert!(stopped.contains("forward"), "{stopped}");
    let refusal = bed.command(Command::Abort { reason: String::new() }).unwrap_err().to_string();
    assert!(refusal.contains("forward only"), "{refusal}");
    // Forward is the only way: a fix.
    let mut fix = desired("3", 2, rolling());
    fix.hooks = new.hooks.clone();
    bed.want(&fix);
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("3"));
}

#[test]
fn before_it_has_started_there_is() {
    let (mut bed, mut new) = with_hooks(false, OnRollback::ForwardOnly);
    new.hooks.before.insert(0, hook("check", true, OnRollback::Nothing));
    ends(&mut bed, "before-0", ObservedRun::Exited(1));
    bed.want(&new);
    bed.settle();
    assert!(matches!(bed.outcome(), Some(End::RolledBack(_))), "{:?}", bed.outcome());
}

#[test]
fn an_undo_that_fails_waits_for_somebody_with_the_traffic_back() {
    let (mut bed, new) = with_hooks(false, OnRollback::Script(script()));
    bed.fake.behaviours.insert("2".into(), crashing());
    ends(&mut bed, "undo-before-0", ObservedRun::Exited(1));
    bed.want(&new);
    bed.settle();
    assert_eq!((bed.weight(&new), bed.fake.serving()), (0, 2));
    let rollout = bed.state.running().expect("it waits");
    assert_eq!(rollout.blocked_hook(), Some(("undo-before-0", "exit code 1")));
    bed.command(Command::Promote { full: false }).unwrap();
    bed.settle();
    assert!(matches!(bed.outcome(), Some(End::RolledBack(_))));
}
