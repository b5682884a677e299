//! The cases that broke others, by their issue. `#n` alone is one of argo-rollouts.

use std::collections::BTreeMap;

use trimtab::domain::action::Action;
use trimtab::domain::analysis::Outcome;
use trimtab::domain::desired::{DesiredUnit, Gradual, Trigger};
use trimtab::domain::rollout::command::Command;
use trimtab::domain::rollout::event::{Outcome as End, RolloutEvent};
use trimtab::domain::strategy::{Canary, Promote, Step, Strategy};
use trimtab::domain::unit::event::{Entry, UnitEvent, upcast};

use super::bed::*;

const PROMOTE: Command = Command::Promote { full: false };

fn abort() -> Command {
    Command::Abort { reason: "on a whim".into() }
}

fn manual() -> Strategy {
    canary(vec![Step::Weight(20), Step::Pause(None), Step::Weight(50), Step::Pause(None)])
}

/// Version 2 as a canary that waits at its first pause.
fn paused() -> Bed {
    let mut bed = Bed::running(&desired("1", 3, manual()));
    bed.want(&desired("2", 3, manual()));
    bed.run_to("paused", |bed| bed.waits.contains("waits until promoted"));
    assert_eq!(bed.weight(&desired("2", 3, manual())), 20);
    bed
}

fn promote_all(bed: &mut Bed) {
    for _ in 0..10 {
        bed.settle();
        if bed.command(PROMOTE).is_err() {
            break;
        }
    }
    bed.settle();
}

fn events(bed: &Bed) -> Vec<RolloutEvent> {
    let entries = bed.journal.iter().map(|line| serde_json::from_str::<Entry>(line).unwrap());
    entries
        .filter_map(|entry| match upcast(entry.version, entry.event).unwrap() {
            UnitEvent::Rollout(event) => Some(event),
            _ => None,
        })
        .collect()
}

/// #3372: a new commit while the stable group is small sent all traffic to nothing.
#[test]
fn a_new_commit_with_a_scaled_down_stable() {
    let mut bed = Bed::running(&desired("1", 4, rolling()));
    bed.want(&desired("2", 4, rolling()));
    bed.run_to("half way", |bed| bed.size(&desired("1", 4, rolling())) == 2);
    bed.want(&desired("3", 4, rolling()));
    bed.run_to("done", |bed| {
        assert!(bed.fake.serving() >= 3, "{}", bed.waits);
        bed.verified().as_deref() == Some("3")
    });
    bed.settle();
}

/// #4390: an overwritten canary was scaled down while it was still routed.
#[test]
fn an_overwritten_canary_loses_its_traffic_first() {
    let mut bed = paused();
    bed.fake.drain = secs(20);
    bed.fake.effects.clear();
    bed.want(&desired("3", 3, manual()));
    bed.settle();
    let canary = bed.group(&desired("2", 3, manual()));
    let place = |wanted: &dyn Fn(&Action) -> bool| bed.fake.effects.iter().position(wanted).unwrap();
    let left = place(
        &|action| matches!(action, Action::SetTraffic { traffic, .. } if !traffic.backends.contains_key(&canary)),
    );
    let retired = place(&|action| matches!(action, Action::RetireGroup { group } if *group == canary));
    assert!(left < retired);
    assert_eq!(bed.weight(&desired("3", 3, manual())), 20);
    bed.check();
}

/// #1690: an update during a paused canary was never deployed.
#[test]
fn an_update_during_a_paused_canary() {
    let mut bed = paused();
    bed.want(&desired("3", 3, manual()));
    promote_all(&mut bed);
    assert_eq!(bed.verified().as_deref(), Some("3"));
    assert_eq!(bed.state.history.iter().filter(|past| past.outcome == End::Superseded).count(), 1);
}

/// #4694: a promotion was missed and the rollout paused until the controller was restarted.
#[test]
fn a_promotion_survives_a_restart() {
    let mut bed = paused();
    bed.command(PROMOTE).unwrap();
    bed.resume();
    bed.run_to("at the second step", |bed| bed.weight(&desired("2", 3, manual())) == 50);
}

/// #720: the same pause was entered twice.
#[test]
fn each_pause_is_passed_once() {
    let steps = canary(vec![Step::Weight(20), Step::Pause(None), Step::Pause(Some(secs(60))), Step::Pause(None)]);
    let mut bed = Bed::running(&desired("1", 3, steps.clone()));
    bed.want(&desired("2", 3, steps));
    bed.settle();
    bed.command(PROMOTE).unwrap();
    bed.settle();
    assert!(bed.waits.contains("waits until promoted") && bed.phase().contains("20%"), "the third pause waits");
    bed.command(PROMOTE).unwrap();
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
    let met: Vec<_> =
        events(&bed).into_iter().filter(|event| matches!(event, RolloutEvent::ConditionMet { .. })).collect();
    let mut once = met.clone();
    once.dedup();
    assert_eq!(met, once);
}

/// #4461: an abort was ignored after a full promotion.
#[test]
fn an_abort_after_a_full_promotion() {
    let mut bed = paused();
    bed.command(Command::Promote { full: true }).unwrap();
    bed.run_to("all traffic", |bed| bed.weight(&desired("2", 3, manual())) == 100);
    bed.command(abort()).unwrap();
    bed.settle();
    assert!(matches!(bed.state.history.last().unwrap().outcome, End::Aborted { .. }));
    assert_eq!(bed.weight(&desired("1", 3, manual())), 100);
    assert_eq!(bed.size(&desired("2", 3, manual())), 0);
}

/// #3120: a retry after an abort never scaled the canary up.
#[test]
fn a_retry_after_an_abort() {
    let mut bed = paused();
    bed.command(abort()).unwrap();
    bed.settle();
    assert_eq!(bed.size(&desired("2", 3, manual())), 0);
    bed.settle();
    assert!(bed.state.running().is_none(), "what was called off stays off");
    bed.event(UnitEvent::Retried { by: "ada".into() });
    bed.settle();
    assert_eq!((bed.weight(&desired("2", 3, manual())), bed.size(&desired("2", 3, manual()))), (20, 1));
    promote_all(&mut bed);
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

/// #4898: an abort with a stable group that shrank deadlocked. It is raised first, and traffic follows as it can serve.
#[test]
fn an_abort_raises_the_stable_group_first() {
    let (old, new) = (desired("1", 4, rolling()), desired("2", 4, rolling()));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("half way", |bed| bed.size(&old) == 2);
    bed.command(abort()).unwrap();
    bed.run_to("back", |bed| {
        assert!(bed.fake.serving() >= 3, "too few serve: {}", bed.waits);
        bed.weight(&new) == 0
    });
    bed.settle();
    assert_eq!(bed.fake.sizes(), BTreeMap::from([(old.group_id(0), (4, 4))]));
}

/// #3926, #3333: the stable group was scaled down before the load balancer had confirmed the weight.
#[test]
fn nothing_is_lowered_before_the_planes_confirm() {
    let (old, new) = (desired("1", 2, rolling()), desired("2", 2, rolling()));
    let mut bed = Bed::running(&old);
    bed.fake.confirm = secs(40);
    bed.want(&new);
    bed.run_to("traffic moved", |bed| bed.weight(&new) > 0);
    let moved = bed.fake.now;
    bed.run_to("lowered", |bed| bed.size(&old) < 2);
    assert!(bed.fake.now.duration_since(moved).as_secs() >= 40);
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

/// #2235: weight 0 before the selector switched was a four-minute outage.
#[test]
fn a_switch_never_leaves_all_weights_at_zero() {
    let strategy = blue_green(Promote::Auto);
    let mut bed = Bed::running(&desired("1", 3, strategy.clone()));
    bed.want(&desired("2", 3, strategy));
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
    for action in &bed.fake.effects {
        if let Action::SetTraffic { traffic, .. } = action {
            assert!(traffic.backends.values().any(|backend| backend.weight > 0 && !backend.endpoints.is_empty()));
        }
    }
}

/// #4926: a shrinking stable group had no time to drain.
#[test]
fn what_shrinks_drains_first() {
    let (old, new) = (desired("1", 3, rolling()), desired("2", 3, rolling()));
    let mut bed = Bed::running(&old);
    bed.fake.drain = secs(25);
    bed.want(&new);
    bed.run_to("traffic moved", |bed| bed.weight(&new) > 0);
    let moved = bed.fake.now;
    bed.run_to("lowered", |bed| bed.size(&old) < 3);
    assert!(bed.fake.now.duration_since(moved).as_secs() >= 25);
    bed.settle();
}

/// #1774: a broken stable instance blocked a healthy canary.
#[test]
fn a_broken_stable_does_not_block_a_healthy_canary() {
    for strategy in [canary(usual_steps()), rolling(), blue_green(Promote::Auto)] {
        let (old, new) = (desired("1", 3, strategy.clone()), desired("2", 3, strategy));
        let mut bed = Bed::running(&old);
        bed.fake.behaviours.insert("1".into(), broken());
        bed.fake.crash(&old.group_id(0), 0);
        bed.want(&new);
        bed.settle();
        assert_eq!(bed.verified().as_deref(), Some("2"), "{}", bed.waits);
    }
}

/// The other way round: a bad canary is left although a stable instance is broken.
#[test]
fn a_broken_stable_does_not_block_leaving_a_bad_canary() {
    let (old, new) = (desired("1", 3, canary(usual_steps())), desired("2", 3, canary(usual_steps())));
    let mut bed = Bed::running(&old);
    bed.fake.behaviours.insert("1".into(), broken());
    bed.fake.crash(&old.group_id(0), 0);
    bed.measures = Box::new(|_, _| Outcome::Failure);
    bed.want(&new);
    bed.run_to("weighted", |bed| bed.weight(&new) > 0);
    bed.run_to("left", |bed| bed.weight(&new) == 0);
    bed.settle();
    assert_eq!(bed.size(&new), 0);
}

/// #4696, #88, #1356: a library's new version changed the hash, and everything was deployed again.
#[test]
fn what_makes_a_group_is_pinned() {
    let unit = desired("1", 3, rolling());
    assert_eq!(unit.group_id(0).as_str(), "7214417913d3");
    let mut other = desired("1", 7, canary(usual_steps()));
    other.rollback.window = secs(1);
    other.hooks.before = vec![hook("migrate", true, trimtab::domain::hook::OnRollback::Nothing)];
    assert_eq!(other.group_id(0), unit.group_id(0), "strategy, size and hooks restart nothing");
    assert_ne!(other.digest(), unit.digest());
}

/// #3850: an inconclusive background analysis promoted anyway.
#[test]
fn an_inconclusive_gate_never_promotes() {
    let strategy = Strategy::Canary(Canary {
        steps: vec![Step::Weight(20), Step::Pause(Some(secs(5)))],
        gate: vec![name("errors")],
        scale_down_delay: secs(30),
    });
    let (old, new) = (desired("1", 3, strategy.clone()), desired("2", 3, strategy));
    let mut bed = Bed::running(&old);
    bed.measures = Box::new(|_, _| Outcome::Inconclusive);
    bed.want(&new);
    bed.settle();
    assert_eq!(bed.weight(&new), 20, "it stays where it is");
    assert!(bed.state.running().unwrap().stopped.as_ref().unwrap().contains("nothing could be concluded"));
    bed.measures = Box::new(|_, _| Outcome::Success);
    bed.command(Command::Retry).unwrap();
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

/// A gate that has not yet succeeded is waited for, and one that fails aborts at once.
#[test]
fn a_gate_is_waited_for_and_aborts_at_once() {
    let strategy = Strategy::Canary(Canary {
        steps: vec![Step::Weight(20), Step::Pause(None)],
        gate: vec![name("errors")],
        scale_down_delay: secs(0),
    });
    let (old, new) = (desired("1", 3, strategy.clone()), desired("2", 3, strategy));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("paused", |bed| bed.waits.contains("waits until promoted"));
    bed.command(PROMOTE).unwrap();
    let promoted = bed.fake.now;
    bed.run_to("promoted", |bed| bed.weight(&new) == 100);
    assert!(bed.fake.now.duration_since(promoted).as_secs() >= 25, "three measurements, ten seconds apart");
    bed.settle();

    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("paused", |bed| bed.waits.contains("waits until promoted"));
    bed.run_for(secs(500));
    assert!(bed.state.running().is_some());
    bed.measures = Box::new(|_, _| Outcome::Failure);
    bed.run_to("left", |bed| bed.weight(&new) == 0);
    bed.settle();
    assert!(matches!(bed.outcome(), Some(End::RolledBack(_))), "{:?}", bed.outcome());
}

/// #3304 and the rollback window: going back to a version that still runs takes no steps and no pause.
#[test]
fn going_back_to_a_running_version_skips_the_steps() {
    let mut bed = paused();
    bed.command(Command::Promote { full: true }).unwrap();
    bed.run_to("all traffic", |bed| bed.weight(&desired("2", 3, manual())) == 100);
    let before = bed.fake.now;
    bed.want(&desired("1", 3, manual()));
    bed.run_to("back", |bed| bed.weight(&desired("1", 3, manual())) == 100);
    assert!(bed.fake.now.duration_since(before).as_secs() <= 1);
    bed.settle();
    assert!(bed.state.running().is_none());
    assert_eq!(bed.fake.sizes().len(), 1);
}

/// pipecd#4710: a promotion deleted the canary with the old groups.
#[test]
fn a_promotion_keeps_the_canarys_instances() {
    let mut bed = paused();
    let group = bed.group(&desired("2", 3, manual()));
    promote_all(&mut bed);
    assert_eq!(bed.verified().as_deref(), Some("2"));
    assert!(!bed.fake.effects.contains(&Action::RetireGroup { group }));
}

/// pipecd#4329: a rollback that was called off left canary instances behind. A rollback is not called off; it ends.
#[test]
fn a_rollback_ends_whatever_is_said() {
    let mut bed = paused();
    bed.command(abort()).unwrap();
    bed.run_to("turning back", |bed| bed.state.running().is_some_and(|rollout| !rollout.is_forward()));
    assert!(bed.command(abort()).is_err());
    assert!(bed.command(Command::Pause).is_err());
    bed.settle();
    assert_eq!(bed.fake.sizes().len(), 1);
}

/// nomad#14200, #10882: the revert went through the canary's steps itself.
#[test]
fn a_rollback_takes_no_steps() {
    let (old, new) = (desired("1", 3, manual()), desired("2", 3, manual()));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.run_to("paused", |bed| bed.waits.contains("waits until promoted"));
    bed.command(Command::Promote { full: true }).unwrap();
    bed.run_to("the old group is gone", |bed| bed.size(&old) == 0);
    bed.run_for(secs(20));
    // Broken for good while it is watched: the old group is raised again, and no pause is waited for.
    bed.fake.behaviours.insert("2".into(), crashing());
    (0..3).for_each(|slot| bed.fake.crash(&new.group_id(0), slot));
    bed.run_to("back", |bed| bed.weight(&old) == 100 && bed.weight(&new) == 0);
    bed.settle();
    assert!(matches!(bed.outcome(), Some(End::RolledBack(_))));
    assert_eq!(bed.verified().as_deref(), Some("1"));
    assert!(bed.state.quarantine.contains_key(&new.digest()));
    assert!(bed.state.running().is_none(), "what is quarantined is not rolled out again");
}

/// flagger: if the stable version fails while the new one takes over, the new one is the only healthy copy and stays.
#[test]
fn a_stable_version_that_dies_leaves_the_canary_serving() {
    let mut bed = paused();
    bed.fake.behaviours.insert("1".into(), broken());
    (0..3).for_each(|slot| bed.fake.crash(&desired("1", 3, manual()).group_id(0), slot));
    bed.run_for(secs(600));
    assert_eq!(bed.fake.serving(), 1, "the canary still serves");
    promote_all(&mut bed);
    assert_eq!(bed.verified().as_deref(), Some("2"));
}

/// #4973, #1415: events from outside revived an aborted canary or scaled the stable group to nothing: whatever is looked at
/// again leads to the same.
#[test]
fn nothing_revives_what_was_called_off() {
    let mut bed = paused();
    bed.command(abort()).unwrap();
    bed.settle();
    bed.fake.effects.clear();
    for _ in 0..5 {
        bed.want(&desired("2", 3, manual()));
        bed.settle();
    }
    assert!(bed.fake.effects.is_empty(), "{:?}", bed.fake.effects);
}

/// #4073: a stale view was written back. A partial or missing view decides nothing.
#[test]
fn what_cannot_be_seen_decides_nothing() {
    let mut bed = paused();
    bed.fake.blind = Some("the supervisor does not answer".into());
    bed.command(PROMOTE).unwrap();
    let effects = bed.fake.effects.len();
    bed.settle();
    assert_eq!(bed.fake.effects.len(), effects);
    bed.fake.blind = None;
    bed.run_to("at the second step", |bed| bed.weight(&desired("2", 3, manual())) == 50);
}

/// A canary of three weights whose failed analyses take it back step by step.
fn walking(version: &str) -> DesiredUnit {
    let steps = [(10, Some(secs(60))), (30, None), (60, None)];
    let steps = steps.into_iter().flat_map(|(weight, pause)| [Step::Weight(weight), Step::Pause(pause)]);
    let mut desired = desired(version, 4, canary(steps.collect()));
    if let Strategy::Canary(settings) = &mut desired.strategy {
        settings.gate = vec![name("errors")];
    }
    desired.rollback.gradual = Some(Gradual { on: [Trigger::Analysis].into(), pause: secs(5) });
    desired
}

/// Version 2 of it with 60% of the traffic.
fn at_sixty() -> Bed {
    let mut bed = Bed::running(&walking("1"));
    bed.want(&walking("2"));
    bed.run_to("at 30%", |bed| bed.waits.contains("waits until promoted"));
    bed.command(PROMOTE).unwrap();
    bed.run_to("at 60%", |bed| bed.weight(&walking("2")) == 60 && bed.waits.contains("waits until promoted"));
    bed
}

/// The weights that the new version had, one after the other.
fn weights(bed: &Bed, desired: &DesiredUnit) -> Vec<u32> {
    let group = bed.group(desired);
    let effects = bed.fake.effects.iter().filter_map(|action| match action {
        Action::SetTraffic { traffic, .. } => Some(traffic.backends.get(&group).map_or(0, |backend| backend.weight)),
        _ => None,
    });
    let mut weights: Vec<u32> = effects.collect();
    weights.dedup();
    weights
}

#[test]
fn weights_walk_back_through_the_steps() {
    let mut bed = at_sixty();
    bed.fake.effects.clear();
    bed.measures = Box::new(|_, _| Outcome::Failure);
    bed.settle();
    assert_eq!(weights(&bed, &walking("2")), [30, 10, 0]);
    assert!(matches!(bed.state.history.last().unwrap().outcome, End::RolledBack(_)));
    assert_eq!(bed.size(&walking("2")), 0);
    bed.check();
}

#[test]
fn what_breaks_on_the_way_back_goes_back_at_once() {
    let mut bed = at_sixty();
    bed.fake.effects.clear();
    bed.measures = Box::new(|_, _| Outcome::Failure);
    bed.run_to("on the way back", |bed| bed.weight(&walking("2")) == 30);
    bed.fake.crash(&bed.group(&walking("2")), 0);
    bed.settle();
    assert_eq!(weights(&bed, &walking("2")), [30, 0]);
    bed.check();
}

#[test]
fn an_abort_and_a_critical_failure_never_walk() {
    let mut bed = at_sixty();
    bed.fake.effects.clear();
    bed.command(abort()).unwrap();
    bed.settle();
    assert_eq!(weights(&bed, &walking("2")), [0]);

    let mut bed = at_sixty();
    bed.fake.effects.clear();
    bed.fake.behaviours.insert("2".into(), broken());
    for slot in 0..3 {
        bed.fake.crash(&bed.group(&walking("2")), slot);
    }
    bed.settle();
    assert_eq!(weights(&bed, &walking("2")), [0]);
}
