//! Following a rollout where nothing can be redrawn: a line a change, and the outcome as the exit code.

use trimtab::api::types::{UnitHealth, UnitStatus};
use trimtab::cli::exit::Exit;
use trimtab::cli::rollout::watch::{Followed, Goal, ended};

use super::canned::{Canned, ago, canary, rolled_back, serve, unit};
use super::exit_codes::run;

/// A unit whose canary stands at a phase, by number, or has ended.
fn at(phase: usize, status: &str) -> UnitStatus {
    let mut unit = unit("hello/dev/default", "1.4.1");
    let mut rollout = canary(status);
    for (number, view) in rollout.phases.iter_mut().enumerate() {
        view.state = if number < phase {
            "done"
        } else if number == phase {
            "current"
        } else {
            "pending"
        }
        .into();
    }
    let ends = !matches!(status, "running" | "paused" | "settling");
    rollout.summary.ended = ends.then(|| ago(0));
    unit.health = if ends { UnitHealth::InSync } else { UnitHealth::Progressing };
    unit.rollout = Some(rollout);
    unit
}

#[test]
fn a_line_a_change_and_the_outcome() {
    let mut canned = Canned::with(vec![at(0, "running")]);
    let states = [at(1, "running"), at(1, "running"), at(2, "running"), at(3, "verified")];
    canned.next = states.into_iter().map(|unit| vec![unit]).collect::<Vec<_>>().into();
    let output = run(&serve(canned), &["rollout", "status", "hello", "-w"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[0].contains("phase 1/4 prepare"), "{text}");
    assert!(lines[1].contains("phase 2/4 canary at 10%"), "{text}");
    assert!(lines[3].contains("verified"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn a_program_reads_a_document_a_line() {
    let mut canned = Canned::with(vec![at(0, "running")]);
    canned.next = vec![vec![at(1, "running")], vec![at(1, "rolledBack")]].into();
    let output = run(&serve(canned), &["rollout", "status", "hello", "-w", "-o", "json"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let read = |line| serde_json::from_str::<UnitStatus>(line).unwrap();
    let statuses: Vec<_> = text.lines().map(|line| read(line).rollout.unwrap().summary.status).collect();
    assert_eq!(statuses, ["running", "running", "rolledBack"]);
}

/// The end of a unit's rollout as it is told, with the rollout itself as the newest that has ended.
fn end(unit: &UnitStatus, followed: &Followed) -> Option<Exit> {
    let last = unit.rollout.as_ref().map(|rollout| &rollout.summary).filter(|summary| summary.ended.is_some());
    ended(unit, last, followed)
}

#[test]
fn the_end_is_told_by_what_is_followed() {
    let present = Followed::present();
    for (status, exit) in [
        ("running", None),
        ("paused", None),
        ("settling", None),
        ("superseded", None),
        ("verified", Some(Exit::Ok)),
        ("rolledBack", Some(Exit::Failed)),
        ("aborted", Some(Exit::Failed)),
        ("stopped", Some(Exit::Failed)),
        ("stuck", Some(Exit::Failed)),
    ] {
        assert_eq!(end(&at(1, status), &present), exit, "{status}");
    }
    // An abort that was asked for has succeeded when it is done, and failed when the rollout was faster.
    let abort = Followed::after(None, Goal::Aborted);
    assert_eq!(end(&at(1, "aborted"), &abort), Some(Exit::Ok));
    assert_eq!(end(&at(1, "verified"), &abort), Some(Exit::Failed));
    // What had ended before a retry is not its end.
    let before = at(1, "stuck");
    let retry = Followed::after(before.rollout.as_ref().map(|rollout| &rollout.summary), Goal::Verified);
    assert_eq!(end(&before, &retry), None);
    let mut next = at(3, "verified");
    next.rollout.as_mut().unwrap().summary.id = "ro-2".into();
    assert_eq!(end(&next, &retry), Some(Exit::Ok));
}

#[test]
fn a_unit_without_a_rollout_ends_by_its_health() {
    for (health, exit) in [
        (UnitHealth::InSync, Some(Exit::Ok)),
        (UnitHealth::Held, Some(Exit::Refused)),
        (UnitHealth::Stuck, Some(Exit::Failed)),
        (UnitHealth::Unknown, None),
        (UnitHealth::Progressing, None),
    ] {
        let mut unit = unit("hello/dev/default", "1.4.1");
        unit.health = health;
        assert_eq!(ended(&unit, None, &Followed::present()), exit, "{health:?}");
    }
}

#[test]
fn a_rollback_ends_when_git_and_the_machines_agree() {
    let mut unit = at(1, "rolledBack");
    let mut rollback = rolled_back();
    let followed = Followed::after(None, Goal::RolledBack);
    for status in ["decided", "committed", "pushed"] {
        rollback.status = status.into();
        unit.rollback = Some(rollback.clone());
        assert_eq!(end(&unit, &followed), None, "{status}");
    }
    for (status, exit) in [("settled", Exit::Ok), ("superseded", Exit::Ok), ("held", Exit::Failed)] {
        rollback.status = status.into();
        unit.rollback = Some(rollback.clone());
        assert_eq!(end(&unit, &followed), Some(exit), "{status}");
    }
    // A daemon that no longer shows it has settled it.
    unit.rollback = None;
    assert_eq!(end(&unit, &followed), Some(Exit::Ok));
}
