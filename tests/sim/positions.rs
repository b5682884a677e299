//! The daemon dies at every single effect (a record, a change on the platform or the router, a push), once before and once after
//! it, in every strategy, with hooks, and on the way back with the revert in Git. It comes to the same end each time.

use trimtab::domain::id::UnitId;
use trimtab::domain::revert::ROLLBACK_ID;

use super::dice::Dice;
use super::documents::{App, common};
use super::judge::unsettled;
use super::machine::Machine;
use super::world::Moment;

/// An app whose release of `g1` is the first that was ever pushed.
pub fn first(app: &App) -> Machine {
    let machine = Machine::new(Dice::new(1));
    let at = machine.now();
    machine.outside().git.push(
        |files| {
            common(files);
            app.write(files);
            app.release("g1", files);
        },
        "first",
        at,
    );
    machine
}

/// An app that runs `g1`, with `next` just pushed.
pub fn pushed(app: &App, next: &str) -> Machine {
    let mut machine = first(app);
    machine.outside().confirm = trimtab::domain::span::Span::from_millis(300);
    machine.run_for(120);
    assert_eq!(settled(&machine, app, "g1"), None);
    let at = machine.now();
    machine.outside().git.push(|files| app.release(next, files), "next", at);
    machine.hint();
    machine
}

fn settled(machine: &Machine, app: &App, version: &str) -> Option<String> {
    let unit = app.unit();
    let told = machine.judge.told.get(&unit)?;
    unsettled(&machine.outside(), told, &unit, version, app.replicas)
}

/// What it has come to, whatever happened on the way.
fn end(machine: &mut Machine, app: &App, next: &str) -> String {
    let good = next.starts_with('g');
    let version = if good { next } else { "g1" };
    let converged = machine.run_to(2_000, |machine| {
        let recorded = good || !machine.outside().git.with_trailer(ROLLBACK_ID).is_empty();
        recorded && settled(machine, app, version).is_none()
    });
    if !converged {
        let why = settled(machine, app, version);
        panic!("{next}: {why:?}\n{:#?}", machine.outside().trace);
    }
    machine.run_for(30);
    let outside = machine.outside.clone();
    machine.judge.reverts(&outside.lock().unwrap());
    let unit: UnitId = app.unit();
    let outside = outside.lock().unwrap();
    let mut runs: Vec<(String, u32)> = Vec::new();
    for (run, count) in &outside.platforms[&unit].started {
        let place = run.as_str().split_once('-').map_or("", |(_, place)| place).to_owned();
        runs.push((place, *count));
    }
    runs.sort();
    let reverts = outside.git.with_trailer(ROLLBACK_ID).len();
    assert_eq!(reverts, usize::from(!good), "{:#?}", outside.trace);
    let quarantined = machine.judge.told[&unit].state.quarantine.len();
    assert_eq!(quarantined, usize::from(!good));
    let held = &machine.judge.told[&unit].state.held;
    assert!(held.is_empty(), "{held:?}");
    format!("{version} verified, hooks {runs:?}, {reverts} reverts")
}

/// Lets the daemon die at every effect of a rollout, on one side of it.
pub fn dies_everywhere(app: App, next: &str, moment: Moment) {
    let mut undisturbed = pushed(&app, next);
    let first = undisturbed.outside().effects;
    let expected = end(&mut undisturbed, &app, next);
    let last = undisturbed.outside().effects;
    assert!(last > first + 20, "nothing happened: {expected}");
    for position in first + 1..=last {
        let mut machine = pushed(&app, next);
        machine.outside().weather.death = Some((position, moment));
        let found = end(&mut machine, &app, next);
        assert_eq!(found, expected, "killed {moment:?} {position}:\n{:#?}", machine.outside().trace);
        assert!(machine.lives == 2 || position + 5 > last, "it did not die at {position}");
    }
}
