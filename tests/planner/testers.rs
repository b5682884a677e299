//! Testers: who gets to the new version whatever its share, and for how long.

use trimtab::domain::capabilities::Split;
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::id::GroupId;
use trimtab::domain::plan::Plan;
use trimtab::domain::route::{RouteSettings, Tester};
use trimtab::domain::strategy::{Amount, Promote, Step, Strategy};

use super::phases::rollout;
use crate::saga::bed::*;

/// Version 2 by a strategy, with testers told by a header.
fn tested(replicas: u32, strategy: Strategy) -> DesiredUnit {
    let mut desired = desired("2", replicas, strategy);
    let tester = Tester::Header { name: "x-version".into(), value: "next".into() };
    desired.route.as_mut().unwrap().testers = vec![tester];
    desired
}

/// Each phase with its weights, old and new by their version; testers go where a star is.
fn stars(plan: &Plan) -> Vec<String> {
    let version = |group: &GroupId| plan.groups[group].version.clone();
    let phases = plan.phases.iter().chain(&plan.settle);
    let line = |phase: &trimtab::domain::plan::Phase| {
        let backends = &phase.traffic.as_ref().unwrap().backends;
        let star = |testers| if testers { "*" } else { "" };
        let mut shares: Vec<_> =
            backends.iter().map(|(g, b)| format!("{}:{}{}", version(g), b.weight, star(b.testers))).collect();
        shares.sort();
        format!("{} | {}", phase.name, shares.join(" "))
    };
    phases.map(line).collect()
}

#[test]
fn a_canary_shows_itself_to_testers_from_weight_0_on_until_it_has_all() {
    let steps = vec![
        Step::Scale(Amount::Percent(50)),
        Step::Pause(None),
        Step::Weight(10),
        Step::Pause(Some(secs(30))),
        Step::Weight(100),
        Step::Pause(Some(secs(30))),
    ];
    let plan = rollout(|_| {}, tested(4, canary(steps))).unwrap();
    assert_eq!(
        stars(&plan),
        [
            "canary at 0%, 2 instances | 1:100 2:0*",
            "canary at 10%, 2 instances | 1:90 2:10*",
            "canary at 100%, 2 instances | 2:100",
            "all traffic | 2:100",
            "only the new version | 2:100",
            "back to 1 | 1:100",
        ]
    );
    assert!(plan.approximations.is_empty(), "{:?}", plan.approximations);
}

#[test]
fn there_is_nothing_to_show_before_the_canary_has_instances() {
    let plan = rollout(|_| {}, tested(4, canary(vec![Step::Pause(None), Step::Weight(10)]))).unwrap();
    assert_eq!(
        stars(&plan)[..2],
        ["before the canary | 1:100".to_owned(), "canary at 10%, 1 instance | 1:90 2:10*".to_owned()]
    );
}

#[test]
fn blue_green_shows_the_new_version_to_testers_before_the_switch() {
    let plan = rollout(|_| {}, tested(3, blue_green(Promote::Manual))).unwrap();
    assert_eq!(
        stars(&plan),
        [
            "preview with 1 new | 1:100 2:0*",
            "3 new beside 3 old | 1:100 2:0*",
            "the switch | 2:100",
            "only the new version | 2:100",
            "back to 1 | 1:100",
        ]
    );
}

#[test]
fn a_rolling_update_shows_its_first_instance_to_testers() {
    let plan = rollout(|_| {}, tested(3, rolling())).unwrap();
    assert_eq!(
        stars(&plan),
        [
            "batch 1 of 3: 1 new, 2 old | 1:2 2:1*",
            "batch 2 of 3: 2 new, 1 old | 1:1 2:2*",
            "batch 3 of 3: all new | 2:100",
            "back to 1 | 1:100",
        ]
    );
}

#[test]
fn without_testers_nobody_is_told_from_the_others() {
    for strategy in [canary(usual_steps()), blue_green(Promote::Auto), rolling(), recreate()] {
        let plan = rollout(|_| {}, desired("2", 3, strategy)).unwrap();
        assert!(!stars(&plan).concat().contains('*'), "{:#?}", stars(&plan));
    }
    let plan = rollout(|_| {}, tested(3, recreate())).unwrap();
    assert!(!stars(&plan).concat().contains('*'), "never two versions at once");
}

#[test]
fn where_requests_can_not_be_told_apart_that_is_said() {
    for strategy in [canary(usual_steps()), blue_green(Promote::Auto), rolling()] {
        let plan = rollout(|bed| bed.capabilities.split = Split::Replicas, tested(4, strategy)).unwrap();
        assert!(!stars(&plan).concat().contains('*'), "{:#?}", stars(&plan));
        assert!(plan.approximations.iter().any(|text| text.contains("testers meet")), "{:?}", plan.approximations);
    }
    let plan = rollout(|bed| bed.capabilities.split = Split::Replicas, tested(4, recreate())).unwrap();
    assert!(plan.approximations.is_empty(), "nothing is shown to anybody anyway: {:?}", plan.approximations);
}

#[test]
fn the_version_that_serves_says_who_is_a_tester() {
    use trimtab::domain::action::Which;
    let (mut old, mut new) = (tested(3, canary(usual_steps())), tested(3, canary(usual_steps())));
    old.version = "1".into();
    new.route.as_mut().unwrap().testers = vec![Tester::Cookie { name: "tester".into(), value: "1".into() }];
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.step().unwrap();
    let plan = bed.make_plan(&bed.fake.observe()).unwrap();
    let settings = |desired| Some(RouteSettings::of(desired, Which::Main).unwrap().digest());
    let in_force = |phase: usize| plan.phases[phase].traffic.as_ref().map(|goal| goal.settings.clone());
    assert_eq!(in_force(0), settings(&old));
    assert_eq!(in_force(plan.phases.len() - 1), settings(&new));
}
