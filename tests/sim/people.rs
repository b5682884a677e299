//! What people decided stays decided: it is not undone by what happens by itself afterwards.

use trimtab::api::types::UnitCommand;
use trimtab::domain::digest::Digest;
use trimtab::domain::id::Revision;
use trimtab::domain::unit::held::HeldReason;
use trimtab::domain::unit::state::UnitState;

use super::documents::{App, CANARY, ROLLING};
use super::judge::unsettled;
use super::machine::Machine;
use super::positions::{first, pushed};

fn state<'a>(machine: &'a Machine, app: &App) -> &'a UnitState {
    &machine.judge.told[&app.unit()].state
}

fn verified(machine: &Machine, app: &App) -> Option<Digest> {
    state(machine, app).last_verified.as_ref().map(|verified| verified.rendered.clone())
}

fn push(machine: &Machine, app: &App, version: &str) {
    let at = machine.now();
    machine.outside().git.push(|files| app.release(version, files), version, at);
    machine.hint();
}

fn settles(machine: &mut Machine, app: &App, version: &str) {
    let unit = app.unit();
    let settled = |machine: &Machine| {
        let told = machine.judge.told.get(&unit)?;
        unsettled(&machine.outside(), told, &unit, version, app.replicas)
    };
    let there = machine.run_to(600, |machine| machine.judge.told.contains_key(&unit) && settled(machine).is_none());
    assert!(there, "{:?}\n{:#?}", settled(machine), machine.outside().trace);
}

fn is_held(machine: &Machine, app: &App) -> bool {
    state(machine, app).held.iter().any(|held| held.reason == HeldReason::Aborted)
}

/// An operator goes back from what was verified; something else is pushed before that has ended, takes over, and gives way to
/// something that fails. It goes back to where the operator was going, in Git too.
#[test]
fn a_failure_leads_past_what_an_operator_went_back_from() {
    let app = App::new("a", ROLLING, 2);
    let mut machine = pushed(&app, "g2");
    let first = verified(&machine, &app).unwrap();
    settles(&mut machine, &app, "g2");
    let second = verified(&machine, &app).unwrap();
    machine.command(&app.unit(), UnitCommand::Rollback { to: None }).unwrap().unwrap();
    push(&machine, &app, "g3");
    let taken_over = |machine: &Machine| {
        let running = state(machine, &app).running();
        running.is_some_and(|rollout| rollout.is_forward() && rollout.full_traffic)
    };
    assert!(machine.run_to(60, taken_over), "{:#?}", machine.outside().trace);
    assert_eq!(verified(&machine, &app), Some(second.clone()));
    push(&machine, &app, "c4");
    settles(&mut machine, &app, "g1");
    assert_eq!(verified(&machine, &app), Some(first));
    assert!(state(&machine, &app).quarantine.contains_key(&second));
    assert_eq!(app.asked(&machine.outside().git.head_files()), "g1");
}

/// Somebody goes back twice: what was left the first time is not where the second leads, unless it is named.
#[test]
fn who_goes_back_again_is_not_led_to_what_was_left() {
    let app = App::new("a", ROLLING, 2);
    let mut machine = pushed(&app, "g2");
    settles(&mut machine, &app, "g2");
    let second = machine.outside().git.branches["main"].clone();
    let back = |machine: &mut Machine, to: Option<Revision>| {
        machine.command(&app.unit(), UnitCommand::Rollback { to }).unwrap()
    };
    back(&mut machine, None).unwrap();
    assert!(machine.run_to(60, |machine| state(machine, &app).running().is_some()));
    let twice = back(&mut machine, None).unwrap_err();
    assert!(twice.message.contains("goes back to g1 already"), "{twice:?}");
    settles(&mut machine, &app, "g1");
    assert_eq!(verified(&machine, &app).as_ref(), state(&machine, &app).verified().next().map(|one| &one.rendered));
    let refused = back(&mut machine, None).unwrap_err();
    assert!(refused.message.contains("is quarantined") && refused.message.contains("--to"), "{refused:?}");
    back(&mut machine, Some(second)).unwrap();
    settles(&mut machine, &app, "g2");
}

/// What ran before is lost and comes back; what was called off does not.
#[test]
fn what_was_called_off_stays_so_while_what_was_before_is_healed() {
    let app = App::new("a", CANARY, 2);
    let mut machine = pushed(&app, "g2");
    assert!(machine.run_to(60, |machine| machine.outside().platforms[&app.unit()].weights().len() == 2));
    machine.command(&app.unit(), UnitCommand::Abort {}).unwrap().unwrap();
    assert!(machine.run_to(60, |machine| is_held(machine, &app) && state(machine, &app).running().is_none()));
    let before = state(&machine, &app).history.len();
    {
        let mut outside = machine.outside();
        let platform = outside.platform(&app.unit());
        let group = platform.sizes().into_keys().next().unwrap();
        platform.lose(&group);
        outside.changes += 1;
    }
    machine.judge.rough = true;
    assert!(machine.run_to(60, |machine| state(machine, &app).history.len() > before));
    machine.run_for(60);
    assert!(is_held(&machine, &app), "{:#?}", machine.outside().trace);
    assert_eq!(machine.outside().platforms[&app.unit()].serving(), 2);
    machine.command(&app.unit(), UnitCommand::Retry {}).unwrap().unwrap();
    settles(&mut machine, &app, "g2");
}

#[test]
fn a_first_rollout_that_is_called_off_does_not_begin_anew() {
    let app = App::new("a", ROLLING, 2);
    let mut machine = first(&app);
    let begun =
        |machine: &Machine| machine.judge.told.get(&app.unit()).is_some_and(|told| told.state.running().is_some());
    assert!(machine.run_to(60, begun));
    machine.command(&app.unit(), UnitCommand::Abort {}).unwrap().unwrap();
    machine.run_for(60);
    assert!(is_held(&machine, &app), "{:#?}", machine.outside().trace);
    assert_eq!(machine.outside().platforms[&app.unit()].sizes().len(), 0);
    machine.command(&app.unit(), UnitCommand::Retry {}).unwrap().unwrap();
    settles(&mut machine, &app, "g1");
}
