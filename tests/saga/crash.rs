//! The process dies at every position of the journal, before and after each effect; what is left is the journal and the
//! platform. The end is the same, no phase is skipped or entered twice, and a hook that must not is not run twice.

use std::collections::BTreeMap;

use trimtab::domain::analysis::Outcome;
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::hook::OnRollback;
use trimtab::domain::id::GroupId;
use trimtab::domain::rollout::event::RolloutEvent;
use trimtab::domain::strategy::{Promote, Strategy};
use trimtab::domain::unit::event::{Entry, UnitEvent, upcast};

use super::bed::*;

/// What a rollout came to.
#[derive(Debug, PartialEq)]
struct End {
    outcome: Option<String>,
    verified: Option<String>,
    sizes: BTreeMap<GroupId, (u32, u32)>,
    weights: BTreeMap<GroupId, u32>,
    phases: Vec<u32>,
    weights_set: Vec<BTreeMap<GroupId, u32>>,
    runs: usize,
}

fn end(bed: &Bed) -> End {
    let mut phases = Vec::new();
    let mut weights_set: Vec<BTreeMap<GroupId, u32>> = Vec::new();
    for line in &bed.journal {
        let entry: Entry = serde_json::from_str(line).unwrap();
        if let UnitEvent::Rollout(RolloutEvent::PhaseEntered { phase, .. } | RolloutEvent::SettleBegun { phase, .. }) =
            upcast(entry.version, entry.event).unwrap()
        {
            phases.push(phase.0);
        }
    }
    for action in &bed.fake.effects {
        if let trimtab::domain::action::Action::SetTraffic { traffic, .. } = action {
            let weights = traffic.backends.iter().map(|(group, backend)| (group.clone(), backend.weight)).collect();
            if weights_set.last() != Some(&weights) {
                weights_set.push(weights);
            }
        }
    }
    End {
        outcome: bed.outcome().map(|outcome| format!("{outcome:?}")),
        verified: bed.verified(),
        sizes: bed.fake.sizes(),
        weights: bed.fake.weights(),
        phases,
        weights_set,
        runs: bed.fake.started.len(),
    }
}

/// Runs a rollout once undisturbed, then once for each position and each moment.
fn dies_everywhere(what: &str, setup: impl Fn() -> Bed) {
    let mut undisturbed = setup();
    let before = undisturbed.appends;
    undisturbed.settle();
    let expected = end(&undisturbed);
    let positions = undisturbed.appends;
    assert!(positions > before + 10, "{what}: nothing happened");
    for position in before + 1..=positions {
        for when in [When::BeforeAppend, When::AfterAppend, When::AfterEffect] {
            let mut bed = setup();
            bed.crash = Some((position, when));
            bed.settle();
            assert!(bed.crash.is_none() || when == When::AfterEffect, "{what}: it never got to {position}");
            assert_eq!(end(&bed), expected, "{what}: killed {when:?} {position}");
            assert!(bed.fake.started.values().all(|count| *count == 1), "{what}: {:?}", bed.fake.started);
        }
    }
}

fn hooked(mut desired: DesiredUnit) -> DesiredUnit {
    desired.hooks.before = vec![hook("migrate", false, OnRollback::Script(script()))];
    desired.hooks.after = vec![hook("smoke", true, OnRollback::Nothing)];
    desired
}

fn rollout_of(next: DesiredUnit) -> impl Fn() -> Bed {
    move || {
        let mut bed = Bed::running(&desired("1", 3, next.strategy.clone()));
        bed.fake.drain = secs(3);
        bed.fake.confirm = trimtab::domain::span::Span::from_millis(300);
        bed.want(&next);
        bed
    }
}

#[test]
fn rolling() {
    dies_everywhere("rolling", rollout_of(hooked(desired("2", 3, super::bed::rolling()))));
}

#[test]
fn recreate() {
    dies_everywhere("recreate", rollout_of(hooked(desired("2", 3, super::bed::recreate()))));
}

#[test]
fn blue_green() {
    dies_everywhere(
        "blue-green",
        rollout_of(hooked(desired("2", 3, super::bed::blue_green(Promote::After(secs(20)))))),
    );
}

#[test]
fn canary() {
    dies_everywhere("canary", rollout_of(hooked(desired("2", 3, super::bed::canary(usual_steps())))));
}

#[test]
fn a_failed_canary() {
    let setup = rollout_of(hooked(desired("2", 3, super::bed::canary(usual_steps()))));
    dies_everywhere("failed canary", || {
        let mut bed = setup();
        bed.measures = Box::new(|_, _| Outcome::Failure);
        bed
    });
}

#[test]
fn a_crashing_rolling() {
    let setup = rollout_of(hooked(desired("2", 4, super::bed::rolling())));
    dies_everywhere("crashing rolling", || {
        let mut bed = setup();
        bed.fake.behaviours.insert("2".into(), crashing());
        bed
    });
}

#[test]
fn a_recreate_that_never_gets_ready() {
    let setup = rollout_of(hooked(desired("2", 2, super::bed::recreate())));
    dies_everywhere("broken recreate", || {
        let mut bed = setup();
        bed.fake.behaviours.insert("2".into(), broken());
        bed
    });
}

#[test]
fn effects_that_fail_first() {
    let setup = rollout_of(desired("2", 3, super::bed::canary(usual_steps())));
    let mut bed = setup();
    bed.fake.failures = 5;
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

fn strategies() -> [Strategy; 4] {
    use super::bed::{blue_green, canary, recreate, rolling};
    [rolling(), recreate(), blue_green(Promote::Auto), canary(usual_steps())]
}

/// One step; what it did is done once more, and changes nothing.
fn step_and_repeat(bed: &mut Bed) {
    let before = bed.fake.effects.len();
    if let Some(next) = bed.step().unwrap() {
        bed.fake.pass_to(next);
    }
    if let Some(action) = bed.fake.effects.get(before).cloned() {
        let (kept, seen) = (bed.fake.effects.len(), bed.fake.observe());
        bed.fake.perform(&action).unwrap();
        bed.fake.effects.truncate(kept);
        assert_eq!(bed.fake.observe(), seen, "{action}");
    }
}

/// Every effect, repeated at once, is harmless.
#[test]
fn every_effect_repeated() {
    for strategy in strategies() {
        let setup = rollout_of(desired("2", 3, strategy));
        let mut once = setup();
        once.settle();
        let mut twice = setup();
        while twice.verified().as_deref() != Some("2") {
            step_and_repeat(&mut twice);
        }
        twice.settle();
        assert_eq!(end(&once), end(&twice));
    }
}

/// The same on the way back: every effect of a rollout that fails, the undoing ones included, repeated at once.
#[test]
fn every_effect_repeated_on_the_way_back() {
    for strategy in strategies() {
        let setup = || {
            let mut bed = rollout_of(hooked(desired("2", 3, strategy.clone())))();
            bed.fake.behaviours.insert("2".into(), crashing());
            bed
        };
        let mut once = setup();
        once.settle();
        assert!(matches!(once.outcome(), Some(trimtab::domain::rollout::event::Outcome::RolledBack(_))));
        let mut twice = setup();
        for _ in 0..5_000 {
            step_and_repeat(&mut twice);
            if twice.is_idle() {
                break;
            }
        }
        twice.settle();
        assert_eq!(end(&once), end(&twice));
    }
}

/// An abort at every position unwinds to the stable version alone.
#[test]
fn an_abort_at_every_position() {
    use trimtab::domain::rollout::command::Command;
    for strategy in strategies() {
        let (old, new) = (desired("1", 3, strategy.clone()), hooked(desired("2", 3, strategy)));
        for position in 0.. {
            let mut bed = Bed::running(&old);
            bed.want(&new);
            let last = bed.appends + position;
            while bed.appends < last && bed.verified().as_deref() != Some("2") {
                if let Some(next) = bed.step().unwrap() {
                    bed.fake.pass_to(next);
                }
            }
            if bed.verified().as_deref() == Some("2") {
                assert!(position > 10);
                break;
            }
            let started = bed.state.running().is_some_and(|rollout| !rollout.hooks.is_empty());
            if bed.command(Command::Abort { reason: String::new() }).is_err() {
                continue;
            }
            bed.settle();
            assert_eq!(bed.fake.sizes(), BTreeMap::from([(old.group_id(0), (3, 3))]), "aborted at {position}");
            assert_eq!(bed.fake.weights(), BTreeMap::from([(old.group_id(0), 100)]));
            let undone = bed.fake.started.keys().filter(|run| run.as_str().contains("undo")).count();
            assert_eq!(undone, usize::from(started), "what started is undone, once");
            assert_eq!(bed.verified().as_deref(), Some("1"));
        }
    }
}
