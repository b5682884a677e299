//! What is planned when what runs.

use trimtab::domain::action::Action;
use trimtab::domain::observed::Seen;
use trimtab::domain::plan::{Called, GroupSource, HookCall, PlanKind};
use trimtab::domain::planner::{Blocked, Intent, PlanInput, Rendered, Stable, plan};
use trimtab::domain::strategy::Step;
use trimtab::domain::unit::event::UnitEvent;

use crate::saga::bed::*;

fn kind(bed: &mut Bed) -> Option<PlanKind> {
    bed.step().unwrap();
    let plan = bed.make_plan(&bed.fake.observe()).unwrap();
    (!plan.is_empty()).then_some(plan.kind)
}

#[test]
fn nothing_runs() {
    let mut bed = Bed::new();
    bed.want(&desired("1", 3, canary(usual_steps())));
    assert_eq!(kind(&mut bed), Some(PlanKind::Install));
    bed.settle();
    assert_eq!(bed.plan().phases.len(), 1, "an install takes no steps");
    assert_eq!(bed.verified().as_deref(), Some("1"));
    assert_eq!(kind(&mut bed), None, "converged");
}

#[test]
fn the_same_instances_with_other_numbers_or_another_route() {
    let old = desired("1", 3, canary(usual_steps()));
    for (replicas, path) in [(5, "/"), (2, "/"), (3, "/api")] {
        let mut new = desired("1", replicas, canary(usual_steps()));
        new.route.as_mut().unwrap().path = path.into();
        let mut bed = Bed::running(&old);
        bed.want(&new);
        assert_eq!(kind(&mut bed), Some(PlanKind::Adjust));
        bed.settle();
        assert_eq!(bed.size(&new), replicas);
        assert_eq!(bed.fake.sizes().len(), 1, "no other instances are started");
        assert_eq!(kind(&mut bed), None);
    }
}

#[test]
fn more_instances_that_do_not_start_are_taken_back() {
    let (old, new) = (desired("1", 2, rolling()), desired("1", 4, rolling()));
    let mut bed = Bed::running(&old);
    bed.fake.behaviours.insert("1".into(), broken());
    bed.want(&new);
    bed.settle();
    assert_eq!(bed.size(&new), 2);
    assert_eq!(bed.fake.serving(), 2);
}

#[test]
fn a_route_that_goes_and_comes() {
    let with = desired("1", 2, rolling());
    let mut without = with.clone();
    without.route = None;
    let mut bed = Bed::running(&with);
    bed.want(&without);
    bed.settle();
    assert_eq!(bed.fake.observe().traffic, Seen::Known(None));
    bed.want(&with);
    bed.settle();
    assert_eq!((bed.weight(&with), bed.fake.sizes().len()), (100, 1));
}

#[test]
fn what_is_lost_is_healed() {
    let unit = desired("1", 3, canary(usual_steps()));
    let mut bed = Bed::running(&unit);
    bed.fake.crash(&unit.group_id(0), 1);
    assert_eq!(kind(&mut bed), None, "a crash is healed by the platform itself");
    bed.fake.lose(&unit.group_id(0));
    assert_eq!(kind(&mut bed), Some(PlanKind::Heal));
    bed.settle();
    bed.fake.perform(&Action::RemoveTraffic { which: trimtab::domain::action::Which::Main }).unwrap();
    assert_eq!(kind(&mut bed), Some(PlanKind::Heal));
    bed.settle();
    let source = GroupSource { rendered: unit.digest(), restarts: 0, version: "stray".into() };
    bed.fake.perform(&Action::EnsureGroup { group: "stray".into(), source, replicas: 2 }).unwrap();
    assert_eq!(kind(&mut bed), Some(PlanKind::Heal));
    bed.settle();
    assert_eq!(bed.fake.sizes().len(), 1);
    assert_eq!(kind(&mut bed), None);
}

#[test]
fn a_removal_takes_the_requests_first() {
    let unit = desired("1", 2, rolling());
    let mut bed = Bed::running(&unit);
    bed.fake.drain = secs(10);
    bed.want_nothing();
    bed.settle();
    let kinds: Vec<_> = bed.fake.effects.iter().map(ToString::to_string).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    assert!(kinds[0].contains("refuse") && kinds[1].contains("remove") && kinds[2].contains("stop"), "{kinds:?}");
    assert!(bed.fake.sizes().is_empty() && bed.state.last_verified.is_none());
    assert_eq!(kind(&mut bed), None);
}

#[test]
fn not_knowing_is_never_nothing() {
    let mut bed = Bed::running(&desired("1", 2, rolling()));
    bed.want(&desired("2", 2, rolling()));
    bed.fake.blind = Some("the supervisor does not answer".into());
    bed.step().unwrap();
    match bed.make_plan(&bed.fake.observe()) {
        Err(Blocked::Unknown(reason)) => assert!(reason.contains("does not answer")),
        other => panic!("{other:?}"),
    }
}

/// The daemon's state is lost while the workload lives.
#[test]
fn what_runs_is_adopted_by_its_markers() {
    let unit = desired("1", 3, canary(usual_steps()));
    let mut bed = Bed::running(&unit);
    bed.journal.clear();
    bed.resume();
    bed.want(&unit);
    assert_eq!(kind(&mut bed), None, "no rollout");
    assert!(bed.fake.effects.is_empty());
}

#[test]
fn a_state_lost_in_the_middle_of_a_canary_begins_its_steps_anew() {
    let steps = canary(vec![Step::Weight(20), Step::Pause(None), Step::Weight(60), Step::Pause(None)]);
    let (old, new) = (desired("1", 4, steps.clone()), desired("2", 4, steps));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.settle();
    bed.command(trimtab::domain::rollout::command::Command::Promote { full: false }).unwrap();
    bed.settle();
    bed.journal.clear();
    bed.resume();
    bed.want(&new);
    bed.run_to("paused", |bed| bed.waits.contains("waits until promoted"));
    assert_eq!((bed.weight(&old), bed.weight(&new)), (80, 20));
    assert_eq!(bed.plan().stable, Some(old.group_id(0)));
    bed.check();
}

#[test]
fn a_restart_replaces_instances_without_steps_or_hooks() {
    let mut unit = desired("1", 4, canary(usual_steps()));
    unit.hooks.before = vec![hook("migrate", true, trimtab::domain::hook::OnRollback::Nothing)];
    let mut bed = Bed::running(&unit);
    bed.fake.started.clear();
    bed.event(UnitEvent::RestartRequested { by: "ada".into() });
    bed.run_to("restarted", |bed| {
        assert!(bed.fake.serving() >= 3);
        bed.fake.weights().contains_key(&unit.group_id(1))
    });
    bed.settle();
    assert_eq!(bed.fake.weights().keys().collect::<Vec<_>>(), [&unit.group_id(1)]);
    assert!(bed.fake.started.is_empty());
    assert_eq!(kind(&mut bed), None);
}

#[test]
fn an_explicit_rollback_goes_at_once() {
    let (old, new) = (desired("1", 3, canary(usual_steps())), desired("2", 3, canary(usual_steps())));
    let mut bed = Bed::running(&old);
    bed.want(&new);
    bed.settle();
    let unit = "hello/staging/default".parse().unwrap();
    let observed = bed.fake.observe();
    let undo = vec![HookCall {
        at: "undo-before-0".into(),
        what: Called::Hook(hook("migrate", true, trimtab::domain::hook::OnRollback::Nothing)),
    }];
    let (old_digest, new_digest) = (old.digest(), new.digest());
    let input = PlanInput {
        unit: &unit,
        desired: Some(Rendered { desired: &old, digest: &old_digest }),
        restarts: 0,
        stable: Some(Stable { rendered: Rendered { desired: &new, digest: &new_digest }, restarts: 0 }),
        observed: &observed,
        capabilities: &bed.capabilities,
        prediction: &Default::default(),
        intent: Intent::Rollback { undo },
    };
    let back = plan(&input).unwrap();
    assert_eq!(back.kind, PlanKind::Rollback);
    assert_eq!(back.phases.iter().map(|phase| phase.name.as_str()).collect::<Vec<_>>(), ["back to 1", "undo hooks"]);
    assert!(back.phases.iter().all(|phase| phase.advance.is_empty() && phase.as_available));
    assert_eq!(back.phases[1].enter.len(), 1);
    assert_eq!(plan(&input).unwrap().digest(), back.digest());
}

#[test]
fn no_instances_at_all() {
    let (old, none) = (desired("1", 2, rolling()), desired("2", 0, rolling()));
    let mut bed = Bed::running(&old);
    bed.want(&none);
    bed.settle();
    assert!(bed.fake.sizes().is_empty());
    assert_eq!(bed.verified().as_deref(), Some("2"));
    bed.want(&desired("3", 2, canary(usual_steps())));
    bed.settle();
    assert_eq!(bed.verified().as_deref(), Some("3"));
}

#[test]
fn differences_say_what_comes_of_them() {
    let old = desired("1", 3, rolling());
    let mut new = desired("2", 5, rolling());
    new.rollback.window = secs(60);
    let trimtab::domain::workload::Workload::Process(process) = &mut new.workload else { panic!("it is a process") };
    process.env.insert("LOG_LEVEL".into(), "debug".into());
    let all = trimtab::domain::difference::differences(Some(&old), Some(&new));
    let told: Vec<_> =
        all.iter().map(|one| format!("{}: {:?} -> {:?}, {}", one.path, one.before, one.after, one.effect)).collect();
    assert_eq!(
        told,
        [
            r#"replicas: Some("3") -> Some("5"), changes the number of instances"#,
            r#"rollback.window: Some("5m") -> Some("1m"), changes the next rollout only"#,
            r#"version: Some("1") -> Some("2"), starts new instances"#,
            r#"workload.process.env.LOG_LEVEL: None -> Some("debug"), starts new instances"#,
        ]
    );
    assert!(trimtab::domain::difference::differences(Some(&old), Some(&old)).is_empty());
}
