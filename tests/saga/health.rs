//! What counts as unhealthy, what is only healed, and what is no bad release.

use trimtab::adapters::platform::fake::Behaviour;
use trimtab::domain::analysis::Outcome;
use trimtab::domain::desired::Trigger;
use trimtab::domain::rollout::command::Command;
use trimtab::domain::rollout::event::Outcome as End;
use trimtab::domain::strategy::Step;
use trimtab::domain::unit::event::UnitEvent;

use super::bed::*;

fn versions() -> (trimtab::domain::desired::DesiredUnit, trimtab::domain::desired::DesiredUnit) {
    (desired("1", 3, canary(usual_steps())), desired("2", 3, canary(usual_steps())))
}

fn failure(bed: &Bed) -> (Trigger, String) {
    match bed.outcome() {
        Some(End::RolledBack(failure)) => (failure.trigger, failure.reason.clone()),
        other => panic!("not rolled back: {other:?}, {}", bed.waits),
    }
}

#[test]
fn a_crash_loop_is_known_long_before_the_deadline() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.fake.behaviours.insert("2".into(), crashing());
    bed.want(&new);
    let before = bed.fake.now;
    bed.settle();
    let (trigger, reason) = failure(&bed);
    assert_eq!(trigger, Trigger::Unhealthy);
    assert!(reason.contains("restarted 3 times: exit code 1"), "{reason}");
    let ended = bed.state.history.last().unwrap().ended;
    assert!(ended.duration_since(before).as_secs() < 15);
}

#[test]
fn an_instance_that_is_never_ready_has_its_deadline() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.fake.behaviours.insert("2".into(), broken());
    bed.want(&new);
    let before = bed.fake.now;
    bed.settle();
    assert!(failure(&bed).1.contains("not ready within 1m"));
    let took = bed.state.history.last().unwrap().ended.duration_since(before).as_secs();
    assert!((60..70).contains(&took), "{took}");
}

#[test]
fn a_pause_by_an_operator_does_not_count_and_the_deadline_survives_a_restart() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.fake.behaviours.insert("2".into(), broken());
    bed.want(&new);
    bed.run_for(secs(30));
    bed.command(Command::Pause).unwrap();
    bed.run_for(secs(10_000));
    assert!(bed.state.running().is_some());
    bed.command(Command::Resume).unwrap();
    bed.run_for(secs(15));
    bed.resume();
    assert!(bed.state.running().is_some_and(trimtab::domain::rollout::state::RolloutState::is_forward));
    let before = bed.fake.now;
    bed.settle();
    failure(&bed);
    assert!(bed.state.history.last().unwrap().ended.duration_since(before).as_secs() < 20);
}

#[test]
fn one_crash_while_watched_is_healed_and_the_watch_begins_anew() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("watched", |bed| bed.waits.contains("watched"));
    bed.run_for(secs(200));
    bed.fake.crash(&new.group_id(0), 1);
    let crashed = bed.fake.now;
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
    let ended = bed.state.history.last().unwrap().ended;
    let rest = ended.duration_since(crashed).as_secs();
    assert!(rest >= 270, "the window is counted without interruption: {rest}");
}

#[test]
fn what_stops_being_ready_while_watched_goes_back_without_the_whole_deadline() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    let behaviour = Behaviour { unready_after: Some(secs(300)), ..Behaviour::default() };
    bed.fake.behaviours.insert("2".into(), behaviour);
    bed.want(&new);
    bed.settle();
    assert!(failure(&bed).1.contains("was ready and is not any more"));
    assert_eq!(bed.weight(&old), 100);
}

#[test]
fn probes_that_begin_anew_are_no_failure() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("weighted", |bed| bed.weight(&new) == 10 && bed.waits.contains("pauses"));
    bed.fake.doubt(secs(4));
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

#[test]
fn a_reboot_leaves_phase_and_weights() {
    let steps = canary(vec![Step::Weight(20), Step::Pause(None)]);
    let (old, new) = (desired("1", 3, steps.clone()), desired("2", 3, steps));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("paused", |bed| bed.waits.contains("waits until promoted"));
    let (phase, weights) = (bed.phase(), bed.fake.weights());
    for behaviour in ["1", "2"] {
        let slow = Behaviour { restart_after: secs(50), ready_after: Some(secs(45)), ..Behaviour::default() };
        bed.fake.behaviours.insert(behaviour.into(), slow);
    }
    bed.fake.reboot();
    bed.resume();
    bed.settle();
    assert_eq!((bed.phase(), bed.fake.weights()), (phase, weights));
    assert!(bed.state.running().is_some_and(|rollout| rollout.stopped.is_none()));
}

#[test]
fn a_dead_database_is_no_bad_release() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("weighted", |bed| bed.weight(&new) == 10 && bed.waits.contains("pauses"));
    bed.fake.doubt(secs(1_000_000));
    bed.run_for(secs(600));
    let rollout = bed.state.running().expect("it stops where it is");
    let stopped = rollout.stopped.as_ref().unwrap();
    assert!(stopped.contains("the stable version does not pass the same check either"), "{stopped}");
    assert_eq!(bed.weight(&new), 10);
}

#[test]
fn a_stable_version_that_fails_the_same_analysis_is_not_gone_back_to() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.measures = Box::new(|_, _| Outcome::Failure);
    bed.stable_passes = false;
    bed.want(&new);
    bed.settle();
    assert!(bed.state.running().unwrap().stopped.as_ref().unwrap().contains("as it was told"));
    bed.stable_passes = true;
    bed.command(Command::Retry).unwrap();
    bed.settle();
    assert_eq!(failure(&bed).0, Trigger::Analysis);
}

#[test]
fn a_storm_of_rollbacks_stops() {
    let (old, _) = versions();
    let mut bed = Bed::running(&old);
    bed.measures = Box::new(|_, _| Outcome::Failure);
    for version in 2..=4 {
        bed.want(&desired(&version.to_string(), 3, canary(usual_steps())));
        bed.settle();
        failure(&bed);
    }
    bed.want(&desired("5", 3, canary(usual_steps())));
    bed.settle();
    let stopped = bed.state.running().expect("it stops").stopped.clone().unwrap();
    assert!(stopped.contains("rolled back automatically 3 times"), "{stopped}");
    bed.fake.pass(secs(4_000));
    bed.command(Command::Retry).unwrap();
    bed.settle();
    failure(&bed);
}

#[test]
fn a_failure_that_the_rules_do_not_name_stops_and_tells() {
    let (old, mut new) = versions();
    new.rollback.on.clear();
    let mut bed = Bed::running(&old);
    bed.fake.behaviours.insert("2".into(), crashing());
    bed.want(&new);
    bed.run_for(secs(300));
    let rollout = bed.state.running().unwrap();
    assert!(rollout.stopped.as_ref().unwrap().contains("the rollback rules leave it at that"));
    bed.command(Command::Abort { reason: String::new() }).unwrap();
    bed.fake.behaviours.clear();
    bed.settle();
    assert_eq!(bed.size(&new), 0);
}

#[test]
fn what_is_refused_for_good_is_not_tried_until_the_deadline() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.fake.refusals.insert("2".into(), u32::MAX);
    bed.want(&new);
    let before = bed.fake.now;
    bed.settle();
    let (trigger, reason) = failure(&bed);
    assert_eq!(trigger, Trigger::Unhealthy);
    assert!(reason.contains("told to refuse it; tried 3 times"), "{reason}");
    let took = bed.state.history.last().unwrap().ended.duration_since(before).as_secs();
    assert!(took < 10, "{took}");
}

#[test]
fn what_is_refused_twice_and_taken_then_goes_on() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.fake.refusals.insert("2".into(), 2);
    bed.want(&new);
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

#[test]
fn a_first_install_that_is_refused_stops_and_goes_on_when_it_is_taken() {
    let (new, _) = versions();
    let mut bed = Bed::new();
    bed.fake.refusals.insert("1".into(), 8);
    bed.want(&new);
    bed.run_to("stopped", |bed| bed.state.running().is_some_and(|rollout| rollout.stopped.is_some()));
    let stopped = bed.state.running().unwrap().stopped.clone().unwrap();
    assert!(stopped.contains("told to refuse it"), "{stopped}");
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("1"));
}

/// A first install that crashes, stopped for that reason.
fn failed_install(reason: &str) -> Bed {
    let (new, _) = versions();
    let mut bed = Bed::new();
    bed.fake.behaviours.insert("1".into(), crashing());
    bed.want(&new);
    bed.run_for(secs(300));
    let stopped = bed.state.running().unwrap().stopped.clone().unwrap();
    assert!(stopped.contains(reason), "{stopped}");
    bed
}

#[test]
fn a_first_install_that_fails_has_nothing_to_go_back_to() {
    let mut bed = failed_install("nothing to go back to");
    bed.fake.behaviours.clear();
    bed.want(&desired("2", 3, canary(usual_steps())));
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"), "a newer one takes its place");
}

/// Level-triggered: a database that comes back needs no push and no word from anybody.
#[test]
fn a_first_install_goes_on_when_it_is_healthy_by_itself() {
    let mut bed = failed_install("goes on by itself once it is healthy");
    let entries = bed.journal.len();
    bed.run_for(secs(7_200));
    assert_eq!(bed.journal.len(), entries, "nothing is written while nothing changes");
    bed.fake.behaviours.clear();
    bed.run_to("healthy", |bed| bed.waits.contains("healthy again"));
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("1"));
}

#[test]
fn what_comes_and_goes_does_not_flap() {
    let (old, mut new) = versions();
    new.rollback.on.clear();
    new.strategy = canary(vec![Step::Weight(20), Step::Pause(None)]);
    let mut bed = Bed::running(&old);
    let sometimes = Behaviour { crash_after: Some(secs(45)), ..Behaviour::default() };
    bed.fake.behaviours.insert("2".into(), sometimes);
    bed.want(&new);
    bed.run_for(secs(86_400));
    let recovered = bed.journal.iter().filter(|line| line.contains("recovered")).count();
    assert!((1..=3).contains(&recovered), "{recovered}");
    assert_eq!((bed.weight(&new), bed.weight(&old)), (20, 80), "traffic did not move all day");
    let stopped = bed.state.running().unwrap().stopped.clone().unwrap();
    assert!(stopped.contains("restarted 3 times"), "{stopped}");
    bed.fake.behaviours.clear();
    bed.run_to("waits for a promotion again", |bed| bed.waits.contains("waits until promoted"));
}

#[test]
fn a_database_that_comes_back_lets_the_rollout_go_on() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("weighted", |bed| bed.weight(&new) == 10 && bed.waits.contains("pauses"));
    bed.fake.doubt(secs(3_600));
    bed.run_for(secs(1_800));
    assert!(bed.state.running().unwrap().stopped.is_some());
    assert_eq!(bed.weight(&new), 10);
    bed.run_for(secs(1_700));
    assert_eq!(bed.weight(&new), 10);
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

#[test]
fn a_suspended_unit_is_left_alone_and_its_deadlines_stand_still() {
    let (old, new) = versions();
    let mut bed = Bed::running(&old);
    bed.fake.behaviours.insert("2".into(), broken());
    bed.want(&new);
    bed.run_for(secs(30));
    bed.event(UnitEvent::Suspended { by: "ada".into(), reason: String::new() });
    let effects = bed.fake.effects.len();
    bed.fake.lose(&old.group_id(0));
    bed.run_for(secs(10_000));
    assert_eq!(bed.fake.effects.len(), effects, "healing stops too");
    bed.fake.behaviours.clear();
    bed.event(UnitEvent::Unsuspended { by: "ada".into() });
    bed.run_for(secs(10));
    assert!(bed.state.running().is_some_and(trimtab::domain::rollout::state::RolloutState::is_forward));
    assert_eq!(bed.size(&old), 3, "what was lost meanwhile is raised again");
}

#[test]
fn a_weight_that_nobody_confirms_is_waited_for_and_nothing_of_it_goes_before_its_end_is() {
    let (old, new) = (desired("1", 4, canary(usual_steps())), desired("2", 4, canary(usual_steps())));
    let mut bed = Bed::running(&old);
    bed.fake.unconfirmed = Some("the gateway has yet to take it over".into());
    bed.want(&new);
    bed.run_for(secs(20));
    assert_eq!((bed.weight(&new), bed.weight(&old)), (10, 90), "its pause has not begun: {}", bed.waits);
    assert!(bed.waits.contains("the gateway has yet to take it over"), "{}", bed.waits);
    bed.run_to("it is taken back", |bed| bed.weight(&new) == 0);
    bed.run_for(secs(5_000));
    assert!(bed.size(&new) > 0, "requests may still come to it");
    bed.fake.unconfirmed = None;
    bed.settle();
    assert_eq!((bed.size(&new), bed.weight(&old)), (0, 100));
}

#[test]
fn what_waits_for_its_next_try_is_tried_at_once_when_somebody_asks() {
    let (new, _) = versions();
    let mut bed = Bed::new();
    bed.fake.refusals.insert("1".into(), u32::MAX);
    bed.want(&new);
    let attempts =
        |bed: &Bed| bed.state.running().and_then(|rollout| rollout.action.as_ref()).map_or(0, |one| one.attempts);
    bed.run_to("it was tried often", |bed| attempts(bed) == 8);
    let asked = bed.fake.now;
    bed.asked = Some(asked);
    bed.run_to("it is tried again", |bed| attempts(bed) == 9);
    assert!(bed.fake.now.duration_since(asked).as_secs() <= 1);
    // Once: the next try after that is due as before.
    bed.run_to("it is tried once more", |bed| attempts(bed) == 10);
    assert!(bed.fake.now.duration_since(asked).as_secs() >= 30);
}

#[test]
fn something_newer_does_not_wait_for_what_can_not_be_gone_back_to() {
    let of = |version: &str| desired(version, 3, super::bed::recreate());
    let mut bed = Bed::running(&of("1"));
    bed.fake.refusals.extend([("1".to_owned(), u32::MAX), ("2".to_owned(), u32::MAX)]);
    bed.want(&of("2"));
    let tried = |bed: &Bed| {
        bed.state.running().and_then(|rollout| rollout.action.as_ref()).is_some_and(|last| last.attempts == 2)
    };
    bed.run_to("the second can't be made", tried);
    bed.want(&of("3"));
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("3"));
}
