//! The way back step by step: which failure of which phase leads to which weight, and for how long each stays.

use trimtab::domain::desired::{DesiredUnit, Gradual, Trigger};
use trimtab::domain::id::GroupId;
use trimtab::domain::plan::{Condition, Plan, Settle};
use trimtab::domain::strategy::{Amount, Promote, Step, Strategy};

use super::phases::rollout;
use crate::saga::bed::*;

/// Version 2 by a strategy, which goes back gradually after a failed analysis.
fn gradual(strategy: Strategy, pause: u64) -> DesiredUnit {
    let mut desired = desired("2", 4, strategy);
    desired.rollback.gradual = Some(Gradual { on: [Trigger::Analysis].into(), pause: secs(pause) });
    desired
}

/// The phases of the way back: weights and how long they stay.
fn back(plan: &Plan) -> Vec<String> {
    let version = |group: &GroupId| plan.groups[group].version.clone();
    let line = |phase: &trimtab::domain::plan::Phase| {
        let backends = &phase.traffic.as_ref().unwrap().backends;
        let mut parts: Vec<_> =
            backends.iter().map(|(g, b)| format!("{}:{}/{}", version(g), b.weight, b.slots)).collect();
        parts.sort();
        assert!(backends.values().all(|backend| !backend.testers), "testers are led away");
        parts.extend(phase.advance.iter().map(|condition| match condition {
            Condition::Delay(span) => span.to_string(),
            other => panic!("{other:?} on the way back"),
        }));
        format!("{}: {}", phase.name, parts.join(" "))
    };
    plan.settle.iter().map(line).collect()
}

/// Where a failed analysis leads from each phase.
fn leads(plan: &Plan) -> Vec<String> {
    let line = |phase: &trimtab::domain::plan::Phase| {
        let Settle::Phase { phase: whole, on, gradually } = &phase.on_failure else { panic!("{:?}", phase.on_failure) };
        assert_eq!(plan.phase(*whole).unwrap().name, "back to 1");
        assert_eq!(on.len(), 3, "every failure goes back");
        let next = gradually.as_ref().map(|gradually| {
            assert_eq!(gradually.on, [Trigger::Analysis]);
            gradually.phase
        });
        format!("{} -> {}", phase.name, plan.phase(next.unwrap_or(*whole)).unwrap().name)
    };
    plan.phases.iter().map(line).collect()
}

fn planned(new: DesiredUnit) -> Plan {
    rollout(|_| {}, new).unwrap()
}

#[test]
fn each_phase_leads_to_the_weight_before_its_own() {
    let plan = planned(gradual(canary(usual_steps()), 10));
    assert_eq!(back(&plan), ["back at 50%: 1:50/4 2:50/2 10s", "back at 10%: 1:90/4 2:10/1 10s", "back to 1: 1:100/4"]);
    assert_eq!(
        leads(&plan),
        [
            "canary at 10%, 1 instance -> back to 1",
            "canary at 50%, 2 instances -> back at 10%",
            "all traffic -> back at 50%",
            "only the new version -> back to 1",
        ]
    );
}

#[test]
fn a_weight_stays_as_long_as_its_step_paused_where_that_is_shorter() {
    let steps = vec![
        Step::Weight(10),
        Step::Pause(Some(secs(3))),
        Step::Weight(20),
        Step::Weight(30),
        Step::Pause(None),
        Step::Weight(40),
        Step::Analysis(name("errors")),
    ];
    assert_eq!(
        back(&planned(gradual(canary(steps), 10))),
        [
            "back at 40%: 1:60/4 2:40/2 10s",
            "back at 30%: 1:70/4 2:30/2 10s",
            "back at 20%: 1:80/4 2:20/1",
            "back at 10%: 1:90/4 2:10/1 3s",
            "back to 1: 1:100/4",
        ]
    );
}

#[test]
fn the_way_back_only_ever_goes_down() {
    let steps = vec![
        Step::Weight(50),
        Step::Weight(0),
        Step::Scale(Amount::Percent(100)),
        Step::Weight(5),
        Step::Weight(20),
        Step::Weight(20),
        Step::Weight(100),
    ];
    let plan = planned(gradual(canary(steps), 10));
    assert_eq!(back(&plan), ["back at 20%: 1:80/4 2:20/4", "back at 5%: 1:95/4 2:5/4", "back to 1: 1:100/4"]);
    assert_eq!(
        leads(&plan),
        [
            "canary at 50%, 2 instances -> back to 1",
            "canary at 0%, 2 instances -> back to 1",
            "canary at 0%, 4 instances -> back to 1",
            "canary at 5%, 4 instances -> back to 1",
            "canary at 20%, 4 instances -> back at 5%",
            "canary at 20%, 4 instances -> back at 5%",
            "canary at 100%, 4 instances -> back at 20%",
            "all traffic -> back at 20%",
            "only the new version -> back to 1",
        ]
    );
}

#[test]
fn only_a_canary_has_steps_to_go_back_by() {
    for strategy in [rolling(), recreate(), blue_green(Promote::Auto)] {
        let plan = planned(gradual(strategy, 10));
        assert_eq!((plan.settle.len(), plan.gradual), (1, 0));
        assert!(leads(&plan).iter().all(|line| line.ends_with("back to 1")), "{:?}", leads(&plan));
    }
    let plan = planned(desired("2", 4, canary(usual_steps())));
    assert_eq!((plan.settle.len(), plan.gradual), (1, 0), "and only one that says so");
}
