//! What is told of a rollout afterwards: each phase with its times, the commit, and when the traffic was back.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use trimtab::api::types::{PhaseView, RolloutView};
use trimtab::app::unit::glance::Glance;
use trimtab::app::view;
use trimtab::domain::analysis::Outcome;
use trimtab::domain::strategy::{Promote, Step, Strategy};

use super::bed::*;

fn told(bed: &Bed) -> RolloutView {
    let mut glance = Glance::of(bed.state.clone());
    glance.plan = Some(Arc::new(bed.plan().clone()));
    glance.plan_digest = Some(bed.plan().digest());
    let unit = "hello/staging/default".parse().unwrap();
    view::status(&unit, &glance, &BTreeMap::new(), false).rollout.unwrap()
}

/// Version 2 after version 1, which fails its analyses.
fn taken_back(strategy: Strategy) -> Bed {
    let mut bed = Bed::running(&desired("1", 2, strategy.clone()));
    bed.measures = Box::new(|_, _| Outcome::Failure);
    bed.want(&desired("2", 2, strategy));
    bed.settle();
    assert_eq!(bed.state.history.len(), 2);
    bed
}

/// Each phase was left when the next one was entered.
fn in_a_row(phases: &[PhaseView]) {
    assert!(phases.len() > 1, "{phases:?}");
    for pair in phases.windows(2) {
        assert!(pair[0].entered.is_some() && pair[0].left == pair[1].entered, "{phases:?}");
    }
}

#[test]
fn a_verified_rollout_has_all_its_times() {
    let mut bed = Bed::running(&desired("1", 2, canary(usual_steps())));
    bed.want(&desired("2", 2, canary(usual_steps())));
    bed.run_to("under way", |bed| bed.waits.contains("pause"));
    let rollout = told(&bed);
    let current = rollout.phases.iter().position(|phase| phase.state == "current").unwrap();
    assert!(rollout.phases[current].entered.is_some() && rollout.phases[current].left.is_none());
    assert!(rollout.phases[current + 1..].iter().all(|phase| phase.state == "pending" && phase.entered.is_none()));
    let all = rollout.phases.len();
    bed.settle();
    let rollout = told(&bed);
    assert_eq!(rollout.phases.len(), all);
    assert!(rollout.phases.iter().all(|phase| phase.state == "done"), "{rollout:?}");
    in_a_row(&rollout.phases);
    assert_eq!(rollout.phases.last().unwrap().left, rollout.summary.ended);
    assert!(rollout.summary.ended.is_some());
    assert_eq!(rollout.summary.revision.as_ref().unwrap().as_str(), format!("{:040}", 2));
    assert_eq!(rollout.summary.traffic_back, None, "it never went back");
    let past = bed.state.history.last().unwrap();
    assert_eq!(view::past(past, Some(bed.plan())).revision, rollout.summary.revision);
}

#[test]
fn a_rollout_that_went_back_tells_when_the_traffic_was_back() {
    for strategy in [canary(usual_steps()), blue_green(Promote::Auto)] {
        // A blue-green rollout has traffic to take back only after its first analysis, of three measurements.
        let successes = Cell::new(if matches!(strategy, Strategy::BlueGreen(_)) { 3 } else { 0 });
        let mut bed = Bed::running(&desired("1", 2, strategy.clone()));
        bed.measures = Box::new(move |_, _| {
            let left: u32 = successes.get();
            successes.set(left.saturating_sub(1));
            if left > 0 { Outcome::Success } else { Outcome::Failure }
        });
        bed.want(&desired("2", 2, strategy));
        bed.settle();
        let rollout = told(&bed);
        assert_eq!(rollout.summary.status, "rolledBack", "{rollout:?}");
        in_a_row(&rollout.phases);
        let back = rollout.summary.traffic_back.expect("the version before had all traffic again");
        let rollback = bed.state.rollback.as_ref().unwrap();
        assert!(rollback.at <= back && Some(back) <= rollout.summary.ended, "{rollout:?}");
        assert_eq!(rollback.traffic_back, Some(back));
        assert_eq!(view::past(bed.state.history.last().unwrap(), Some(bed.plan())).traffic_back, Some(back));
    }
}

#[test]
fn held_requests_are_not_back() {
    let mut bed = Bed::running(&desired("1", 2, recreate()));
    let bad = desired("2", 2, recreate());
    bed.fake.behaviours.insert("2".into(), broken());
    bed.want(&bad);
    let since = bed.fake.now;
    bed.settle();
    let back = told(&bed).summary.traffic_back.expect("the old version serves again");
    assert!(back > since);
    assert_eq!(bed.weight(&desired("1", 2, recreate())), 100, "{:?}", bed.fake.weights());
}

#[test]
fn traffic_that_never_left_is_not_called_back() {
    let bed = taken_back(canary(vec![
        Step::Scale(trimtab::domain::strategy::Amount::Count(1)),
        Step::Analysis(name("errors")),
    ]));
    let rollout = told(&bed);
    assert_eq!(rollout.summary.status, "rolledBack");
    assert_eq!(rollout.summary.traffic_back, None);
    assert_eq!(bed.state.rollback.as_ref().unwrap().traffic_back, None);
}
