//! Groups that are made one part after the other.

use std::collections::BTreeMap;

use serde_json::json;
use trimtab::domain::capabilities::Capabilities;
use trimtab::domain::converge::{Converge, next_action};
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::observed::{ObservedGroup, ObservedInstance, ObservedUnit, Seen};
use trimtab::domain::plan::{Plan, PlanKind, Settle};
use trimtab::domain::planner::{Intent, PlanInput, Rendered, Stable, plan};
use trimtab::domain::prediction::Prediction;
use trimtab::domain::workload::Workload;

use crate::saga::bed::{desired, rolling};

/// ConfigMaps, one in each of these waves.
pub fn unit(version: &str, waves: &[i32]) -> DesiredUnit {
    let object = |(number, wave): (usize, &i32)| {
        let annotations = json!({ "argocd.argoproj.io/sync-wave": wave.to_string() });
        let metadata = json!({ "name": format!("c{number}"), "annotations": annotations });
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "version": version } })
    };
    let objects: Vec<_> = waves.iter().enumerate().map(object).collect();
    let spec = json!({ "place": { "cluster": "default", "namespace": "shop" }, "objects": objects });
    let mut unit = desired(version, u32::try_from(waves.len()).unwrap(), rolling());
    unit.route = None;
    unit.analyses.clear();
    unit.workload = Workload::Kubernetes(serde_json::from_value(spec).unwrap());
    unit
}

pub fn observed(groups: Vec<ObservedGroup>) -> ObservedUnit {
    ObservedUnit {
        groups: Seen::Known(groups),
        traffic: Seen::Known(None),
        preview: Seen::Known(None),
        runs: BTreeMap::new(),
    }
}

/// A group of which so many are there, and all but the last of them ready.
fn group(unit: &DesiredUnit, there: u32) -> ObservedGroup {
    let instance = |slot: u32| ObservedInstance {
        id: format!("ConfigMap/c{slot}"),
        slot,
        running: true,
        stopping: false,
        ready: slot + 1 < there,
        address: None,
        started: None,
        restarts: 0,
        given_up: false,
        message: Some("it is not there".into()),
    };
    ObservedGroup {
        group: unit.group_id(0),
        rendered: unit.digest(),
        version: unit.version.clone(),
        replicas: there,
        retiring: false,
        in_place: false,
        found: false,
        leaving: Vec::new(),
        instances: (0..there).map(instance).collect(),
    }
}

pub fn planned(unit: &DesiredUnit, stable: Option<&DesiredUnit>, observed: &ObservedUnit) -> Plan {
    let (digest, before) = (unit.digest(), stable.map(DesiredUnit::digest));
    let stable = stable.zip(before.as_ref()).map(|(desired, digest)| Rendered { desired, digest });
    let input = PlanInput {
        unit: &unit.unit,
        desired: Some(Rendered { desired: unit, digest: &digest }),
        restarts: 0,
        stable: stable.map(|rendered| Stable { rendered, restarts: 0 }),
        observed,
        capabilities: &Capabilities::IN_PLACE,
        prediction: &Prediction::default(),
        intent: Intent::Forward,
    };
    plan(&input).unwrap()
}

fn sizes(plan: &Plan) -> Vec<(u32, Option<&str>)> {
    let target = plan.target.as_ref().unwrap();
    plan.phases.iter().map(|phase| (phase.groups[target], phase.stage.as_deref())).collect()
}

#[test]
fn each_wave_is_a_phase_that_has_all_before_it() {
    let (old, new) = (unit("1", &[5, -1, 0, -1]), unit("2", &[5, -1, 0, -1]));
    let expected = [(2, Some("wave -1")), (3, Some("wave 0")), (4, Some("wave 5"))];
    let install = planned(&old, None, &observed(Vec::new()));
    assert_eq!((install.kind, sizes(&install)), (PlanKind::Install, expected.into()));
    let rollout = planned(&new, Some(&old), &observed(vec![group(&old, 4)]));
    assert_eq!((rollout.kind, sizes(&rollout)), (PlanKind::Rollout, expected.into()));
    // The way back is one step.
    let base = rollout.stable.as_ref().unwrap();
    assert_eq!((rollout.settle.len(), rollout.settle[0].groups[base]), (1, 4));
    assert!(rollout.phases.iter().all(|phase| matches!(phase.on_failure, Settle::Phase { .. })));
}

#[test]
fn objects_of_one_wave_are_one_phase() {
    for waves in [&[0, 0, 0][..], &[3, 3]] {
        let plan = planned(&unit("1", waves), None, &observed(Vec::new()));
        assert_eq!(sizes(&plan), [(u32::try_from(waves.len()).unwrap(), None)]);
    }
}

#[test]
fn what_was_made_of_it_is_gone_on_from() {
    let unit = unit("1", &[0, 1, 1, 2, 3]);
    let plan = planned(&unit, None, &observed(vec![group(&unit, 3)]));
    assert_eq!((plan.kind, sizes(&plan)), (PlanKind::Heal, vec![(4, Some("wave 2")), (5, Some("wave 3"))]));
}

#[test]
fn what_a_wave_waits_for_is_told() {
    let unit = unit("1", &[0, 0, 1]);
    let plan = planned(&unit, None, &observed(Vec::new()));
    let Converge::Wait(waiting) = next_action(&plan, &plan.phases[0], &observed(vec![group(&unit, 2)]), false) else {
        panic!("the second object is not there yet");
    };
    assert_eq!(waiting.reason, "wave 0 waits for ConfigMap/c1: it is not there");
}

/// A unit with hooks: name, moment, wave.
fn with_hooks(mut unit: DesiredUnit, hooks: &[(&str, &str, i32)]) -> DesiredUnit {
    let Workload::Kubernetes(spec) = &mut unit.workload else { panic!("it is one of objects") };
    let hook = |(name, moment, wave): &(&str, &str, i32)| {
        let object = json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name } });
        serde_json::from_value(json!({ "object": object, "at": [moment], "wave": wave })).unwrap()
    };
    spec.hooks = hooks.iter().map(hook).collect();
    unit
}

/// Name, size of the target and hooks of each phase.
fn phases(plan: &Plan) -> Vec<(&str, u32, String)> {
    let target = plan.target.as_ref().unwrap();
    let calls = |phase: &trimtab::domain::plan::Phase| {
        phase.enter.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    plan.phases.iter().map(|phase| (phase.name.as_str(), phase.groups[target], calls(phase))).collect()
}

#[test]
fn hooks_run_at_their_moments_in_the_order_of_their_waves() {
    let hooks = [
        ("last", "preSync", 5),
        ("first", "preSync", -5),
        ("early", "sync", -1),
        ("beside", "sync", 1),
        ("smoke", "postSync", 0),
        ("clean", "syncFail", 0),
    ];
    let (old, new) = (unit("1", &[0, 1, 1]), with_hooks(unit("2", &[0, 1, 1]), &hooks));
    assert_eq!(old.group_id(0), with_hooks(old.clone(), &hooks).group_id(0), "hooks are no part of the group");
    let plan = planned(&new, Some(&old), &observed(vec![group(&old, 3)]));
    let first = "Job first (PreSync), Job last (PreSync), Job early (Sync)";
    let name = "the platform replaces what runs by 2";
    assert_eq!(
        phases(&plan),
        [
            ("wave 0", 1, first.into()),
            ("wave 1 is applied", 3, String::new()),
            (name, 3, "Job beside (Sync)".into()),
            ("hooks after full traffic", 3, "Job smoke (PostSync)".into()),
        ]
    );
    let unready: Vec<bool> = plan.phases.iter().map(|phase| phase.unready).collect();
    assert_eq!(unready, [false, true, false, false]);
    let settle: Vec<_> = plan.settle.iter().map(|phase| (phase.name.as_str(), phase.enter.len())).collect();
    assert_eq!(settle, [("back to 1", 0), ("hooks after a failure", 1)]);
    // The same by an install; nothing of it where the same version is healed, restarted or only its hooks are others.
    assert_eq!(phases(&planned(&new, None, &observed(Vec::new())))[0].2, first);
    for plan in [
        planned(&new, Some(&new), &observed(vec![group(&new, 1)])),
        planned(&with_hooks(old.clone(), &hooks), Some(&old), &observed(vec![group(&old, 3)])),
    ] {
        assert!(phases(&plan).iter().all(|(_, _, hooks)| hooks.is_empty()), "{:?}", phases(&plan));
    }
}

#[test]
fn what_is_known_by_its_name_alone_is_installed_with_its_hooks() {
    let unit = with_hooks(unit("1", &[0]), &[("migrate", "preSync", 0)]);
    let first = planned(&unit, None, &observed(vec![group(&unit, 0)]));
    assert_eq!(first.kind, PlanKind::Install);
    assert!(phases(&first)[0].2.contains("migrate"), "{:?}", phases(&first));
}

#[test]
fn what_is_applied_need_not_be_ready_before_its_hook_has_run() {
    let unit = with_hooks(unit("1", &[0, 0]), &[("beside", "sync", 0)]);
    let plan = planned(&unit, None, &observed(Vec::new()));
    let seen = observed(vec![group(&unit, 2)]);
    assert_eq!(phases(&plan).len(), 2);
    assert_eq!(next_action(&plan, &plan.phases[0], &seen, false), Converge::True);
    assert!(matches!(next_action(&plan, &plan.phases[1], &seen, false), Converge::Wait(_)));
}
