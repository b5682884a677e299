//! The phases of each strategy, word for word.

use trimtab::domain::capabilities::Split;
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::hook::OnRollback;
use trimtab::domain::plan::{Condition, Phase, Plan, Settle};
use trimtab::domain::planner::Blocked;
use trimtab::domain::strategy::{Amount, Canary, Promote, Rolling, Step, Strategy};

use crate::saga::bed::*;

/// A phase in a line: instances, weights, hooks, what it waits for. Old and new by their version.
fn line(plan: &Plan, phase: &Phase) -> String {
    let version = |group| plan.groups[group].version.as_str();
    let mut parts = vec![phase.name.clone()];
    parts.extend(phase.groups.iter().map(|(group, size)| format!("{}x{size}", version(group))));
    parts.sort_by_key(|part| (part != &phase.name, part.clone()));
    if let Some(goal) = &phase.traffic {
        let mut shares: Vec<_> =
            goal.backends.iter().map(|(g, b)| format!("{}:{}/{}", version(g), b.weight, b.slots)).collect();
        shares.sort();
        parts.push(format!("traffic {}", shares.join(" ")));
    }
    if let Some(goal) = &phase.preview {
        parts.push(format!("preview {}", goal.backends.keys().map(version).collect::<Vec<_>>().join(" ")));
    }
    parts.extend(phase.enter.iter().map(|call| format!("runs {}", call.at)));
    parts.extend(phase.stop_first.map(|hold| format!("stops first, holds {hold}")));
    parts.extend(phase.gate.iter().map(|name| format!("gate {name}")));
    parts.extend(phase.advance.iter().map(|condition| match condition {
        Condition::Delay(span) => format!("delay {span}"),
        Condition::Pause(Some(span)) => format!("pause {span}"),
        Condition::Pause(None) => "pause".into(),
        Condition::Analysis(name) => format!("analysis {name}"),
        Condition::Watch(span) => format!("watch {span}"),
    }));
    if phase.on_failure == Settle::ForwardOnly {
        parts.push("forward only".into());
    }
    parts.join(" | ")
}

fn lines(plan: &Plan) -> Vec<String> {
    plan.phases.iter().chain(&plan.settle).map(|phase| line(plan, phase)).collect()
}

/// The plan from version 1, which differs in nothing else, to this one.
pub(super) fn rollout(change: impl Fn(&mut Bed), new: DesiredUnit) -> Result<Plan, Blocked> {
    let mut old = desired("1", new.replicas, new.strategy.clone());
    old.route = new.route.clone();
    let mut bed = Bed::running(&old);
    change(&mut bed);
    bed.want(&new);
    bed.step().unwrap();
    bed.make_plan(&bed.fake.observe())
}

fn planned(new: DesiredUnit) -> Vec<String> {
    lines(&rollout(|_| {}, new).unwrap())
}

#[test]
fn canary_phases() {
    let mut new = desired("2", 3, canary(usual_steps()));
    new.hooks.before = vec![hook("migrate", false, OnRollback::Script(script()))];
    new.hooks.after = vec![hook("smoke", true, OnRollback::Nothing)];
    assert_eq!(
        planned(new),
        [
            "canary at 10%, 1 instance | 1x3 | 2x1 | traffic 1:90/3 2:10/1 | runs before-0 | pause 30s | analysis errors",
            "canary at 50%, 2 instances | 1x3 | 2x2 | traffic 1:50/3 2:50/2 | pause 1m",
            "all traffic | 1x3 | 2x3 | traffic 2:100/3",
            "hooks after full traffic | 1x3 | 2x3 | traffic 2:100/3 | runs after-0 | delay 30s",
            "only the new version | 2x3 | traffic 2:100/3 | watch 4m30s",
            "back to 1 | 1x3 | traffic 1:100/3",
            "undo hooks | 1x3 | traffic 1:100/3 | runs undo-before-0",
        ]
    );
}

#[test]
fn canary_with_scale_gate_and_a_pause_at_the_beginning() {
    let strategy = Strategy::Canary(Canary {
        steps: vec![
            Step::Pause(None),
            Step::Scale(Amount::Percent(50)),
            Step::Weight(5),
            Step::Weight(0),
            Step::Weight(100),
            Step::Pause(Some(secs(10))),
        ],
        gate: vec![name("errors")],
        scale_down_delay: secs(0),
    });
    assert_eq!(
        planned(desired("2", 4, strategy)),
        [
            "before the canary | 1x4 | traffic 1:100/4 | gate errors | pause",
            "canary at 0%, 2 instances | 1x4 | 2x2 | traffic 1:100/4 | gate errors",
            "canary at 5%, 2 instances | 1x4 | 2x2 | traffic 1:95/4 2:5/2 | gate errors",
            "canary at 0%, 2 instances | 1x4 | 2x2 | traffic 1:100/4 | gate errors",
            "canary at 100%, 2 instances | 1x4 | 2x2 | traffic 2:100/2 | gate errors | pause 10s",
            "only the new version | 2x4 | traffic 2:100/4 | watch 5m",
            "back to 1 | 1x4 | traffic 1:100/4",
        ]
    );
}

#[test]
fn canary_by_the_number_of_instances() {
    let plan = rollout(|bed| bed.capabilities.split = Split::Replicas, desired("2", 4, canary(usual_steps()))).unwrap();
    assert_eq!(
        lines(&plan)[..3],
        [
            "canary at 10%, 1 instance | 1x3 | 2x1 | traffic 1:3/3 2:1/1 | pause 30s | analysis errors",
            "canary at 50%, 2 instances | 1x2 | 2x2 | traffic 1:2/2 2:2/2 | pause 1m",
            "all traffic | 1x2 | 2x4 | traffic 2:100/4 | delay 30s",
        ]
    );
    assert_eq!(
        plan.approximations,
        [
            "10% is approximated by the number of instances: 1 new beside 3 old",
            "50% is approximated by the number of instances: 2 new beside 2 old",
        ]
    );
}

#[test]
fn canary_of_a_worker() {
    let mut new = desired("2", 4, canary(usual_steps()));
    new.route = None;
    let plan = rollout(|_| {}, new).unwrap();
    assert_eq!(lines(&plan)[1], "canary at 50%, 2 instances | 1x2 | 2x2 | pause 1m");
    assert!(plan.approximations[0].contains("no route to split"));
}

#[test]
fn canary_on_a_coarse_data_plane() {
    let plan =
        rollout(|bed| bed.capabilities.split = Split::Weights(16), desired("2", 4, canary(usual_steps()))).unwrap();
    assert!(lines(&plan)[0].contains("traffic 1:14/4 2:2/1"));
    assert_eq!(plan.approximations, ["10% can be 2 of 16 only"]);
}

#[test]
fn rolling_phases() {
    assert_eq!(
        planned(desired("2", 3, rolling())),
        [
            "batch 1 of 3: 1 new, 2 old | 1x2 | 2x1 | traffic 1:2/2 2:1/1",
            "batch 2 of 3: 2 new, 1 old | 1x1 | 2x2 | traffic 1:1/1 2:2/2",
            "batch 3 of 3: all new | 2x3 | traffic 2:100/3 | watch 5m",
            "back to 1 | 1x3 | traffic 1:100/3",
        ]
    );
}

#[test]
fn rolling_without_surge_makes_room_first() {
    let strategy = Strategy::Rolling(Rolling { max_surge: Amount::Count(0), max_unavailable: Amount::Count(1) });
    let lines = planned(desired("2", 2, strategy));
    assert!(lines[0].contains("1x1 | traffic 1:1/1"), "{lines:?}");
    assert!(lines[1].contains("2x1 | traffic 2:1/1"), "{lines:?}");
}

#[test]
fn rolling_with_neither_surge_nor_unavailable_is_refused() {
    let strategy = Strategy::Rolling(Rolling { max_surge: Amount::Count(0), max_unavailable: Amount::Percent(0) });
    let refusal = rollout(|_| {}, desired("2", 2, strategy)).unwrap_err().to_string();
    assert!(refusal.contains("can never begin"), "{refusal}");
}

#[test]
fn blue_green_phases() {
    assert_eq!(
        planned(desired("2", 3, blue_green(Promote::After(secs(600))))),
        [
            "preview with 1 new | 1x3 | 2x1 | traffic 1:100/3 | preview 2 | analysis errors | pause 10m",
            "3 new beside 3 old | 1x3 | 2x3 | traffic 1:100/3 | preview 2",
            "the switch | 1x3 | 2x3 | traffic 2:100/3 | analysis errors | delay 30s",
            "only the new version | 2x3 | traffic 2:100/3 | watch 4m30s",
            "back to 1 | 1x3 | traffic 1:100/3",
        ]
    );
}

#[test]
fn recreate_phases() {
    assert_eq!(
        planned(desired("2", 3, recreate())),
        [
            "the old version ends, the new one starts | 2x3 | traffic 2:100/3 | stops first, holds 30s | watch 5m",
            "back to 1 | 1x3 | traffic 1:100/3 | stops first, holds 30s",
        ]
    );
    let plan = rollout(|bed| bed.capabilities.hold = false, desired("2", 3, recreate())).unwrap();
    assert!(plan.approximations[0].contains("refused until the new version is ready"));
}

#[test]
fn a_forward_only_hook_closes_the_way_back_behind_the_first_phase() {
    let mut new = desired("2", 3, rolling());
    new.hooks.before = vec![hook("migrate", false, OnRollback::ForwardOnly)];
    let lines = planned(new);
    assert!(!lines[0].contains("forward only"));
    assert!(lines[1].ends_with("forward only") && lines[2].ends_with("forward only"), "{lines:?}");
}

#[test]
fn what_the_surroundings_cannot_do_is_refused_before_anything_runs() {
    type Change = fn(&mut Bed);
    let mut hooked = desired("2", 3, rolling());
    hooked.hooks.before = vec![hook("migrate", false, OnRollback::Nothing)];
    let cases: [(Change, DesiredUnit, &str); 5] = [
        (|bed| bed.capabilities.versioned_groups = false, desired("2", 3, rolling()), "use recreate"),
        (|bed| bed.capabilities.surge = false, desired("2", 3, canary(usual_steps())), "more instances for a while"),
        (
            |bed| bed.capabilities.surge = false,
            desired("2", 3, blue_green(Promote::Auto)),
            "more instances for a while",
        ),
        (|bed| bed.capabilities.runs = false, hooked, "can't run scripts"),
        (|bed| bed.capabilities.measures = false, desired("2", 3, canary(usual_steps())), "router's measurements"),
    ];
    for (change, new, words) in cases {
        let refusal = rollout(change, new).unwrap_err().to_string();
        assert!(refusal.contains(words), "{refusal}");
    }
}

#[test]
fn what_is_brought_along_and_not_made_is_no_approximation() {
    let test = "Pod web-test (helm.sh/hook: test)";
    let place = serde_json::json!({ "cluster": "eu", "namespace": "shop" });
    let objects = serde_json::json!({ "kubernetes": { "place": place, "objects": [], "leftOut": [test] } });
    let new = DesiredUnit { workload: serde_json::from_value(objects).unwrap(), ..desired("2", 3, rolling()) };
    let plan = rollout(|_| {}, new).unwrap();
    assert_eq!(plan.left_out, [test]);
    assert!(!plan.approximations.iter().any(|told| told.contains("web-test")), "{:?}", plan.approximations);
}
