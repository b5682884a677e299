//! Following a rollout where nothing can be redrawn: a line a change, and the outcome as the exit code.

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;

use nix::pty::{OpenptyResult, Winsize, openpty};
use trimtab::api::types::{UnitHealth, UnitStatus};
use trimtab::cli::exit::Exit;
use trimtab::cli::rollout::watch::{Followed, Goal, ended};

use super::canned::{Canned, Served, ago, canary, rolled_back, serve, unit};
use super::exit_codes::run;
use crate::support::{Running, trimtab};

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

/// How wide the terminal is.
const COLUMNS: usize = 100;

/// What a verb draws on a terminal, and how it ended.
fn on_terminal(served: &Served, args: &[&str], vars: &[(&str, &str)]) -> (Option<i32>, String) {
    let size = Winsize { ws_row: 40, ws_col: COLUMNS as u16, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
    let side = || Stdio::from(slave.try_clone().unwrap());
    let mut command = trimtab();
    command.args(args).env_clear().env("TRIMTAB_SOCKET", &served.socket).env("TERM", "xterm-256color");
    command.envs(vars.iter().copied()).stdin(side()).stdout(side()).stderr(side());
    let mut child = Running::spawn(&mut command);
    // The last ends of the terminal but the child's: its end is the end of what is read.
    drop((command, slave));
    let (mut drawn, mut master, mut part) = (Vec::new(), File::from(master), [0; 4_096]);
    while let Ok(read @ 1..) = master.read(&mut part) {
        drawn.extend_from_slice(&part[..read]);
    }
    (child.0.wait().unwrap().code(), String::from_utf8(drawn).unwrap())
}

/// The lines that stay on a terminal: whoever redraws moves the cursor up, clears and writes again.
fn screen(drawn: &str) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![String::new()], 0_usize, 0);
    let mut chars = drawn.chars();
    while let Some(c) = chars.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(chars.next(), Some('['), "{drawn:?}");
                let mut sequence = String::new();
                while !sequence.ends_with(|c: char| c.is_ascii_alphabetic()) {
                    sequence.push(chars.next().expect("a sequence has an end"));
                }
                let number = sequence[..sequence.len() - 1].parse::<usize>();
                match sequence.chars().last() {
                    Some('A') => row = row.saturating_sub(number.unwrap_or(1)),
                    Some('B') => row += number.unwrap_or(1),
                    Some('K') => lines[row].clear(),
                    Some('J') => lines.truncate(row + 1),
                    Some('m' | 'h' | 'l') => {}
                    _ => panic!("{sequence:?} in {drawn:?}"),
                }
            }
            c => {
                if column == COLUMNS {
                    (row, column) = (row + 1, 0);
                    lines.resize(lines.len().max(row + 1), String::new());
                }
                let mut line: Vec<char> = lines[row].chars().collect();
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                lines[row] = line.into_iter().collect();
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), String::new());
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn a_terminal_is_redrawn_with_a_bar_a_phase_until_the_end() {
    for (vars, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let mut canned = Canned::with(vec![at(0, "running")]);
        let states = [at(1, "running"), at(2, "running"), at(3, "verified")];
        canned.next = states.into_iter().map(|unit| vec![unit]).collect::<Vec<_>>().into();
        let (code, drawn) = on_terminal(&serve(canned), &["rollout", "status", "hello", "-w"], vars);
        assert_eq!(code, Some(0), "{drawn:?}");
        assert!(drawn.contains("\u{1b}[1A") || drawn.contains("\u{1b}[2A"), "it is redrawn: {drawn:?}");
        assert_eq!(drawn.contains("\u{1b}[32m"), coloured, "{drawn:?}");
        let lines = screen(&drawn);
        println!("{drawn:?}\n{}", lines.join("\n"));
        let bars: Vec<_> = lines.iter().filter(|line| line.contains('[')).collect();
        assert_eq!(bars.len(), 4, "one frame stays, with a bar for each phase: {lines:#?}");
        assert!(bars[0].contains("prepare") && bars[1].contains("canary at 10%"), "{lines:#?}");
        assert!(bars.iter().all(|bar| bar.contains(&format!("[{}]", "=".repeat(28)))), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("verified")), "{lines:#?}");
    }
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
