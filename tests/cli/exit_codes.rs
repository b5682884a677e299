//! The exit code and the error of every way to end.

use std::process::Output;

use clap::CommandFactory;
use serde_json::Value;
use trimtab::api::types::{CheckResult, UnitHealth};

use super::canned::{Canned, Served, canary, serve, unit};
use super::golden::plans;
use crate::support::trimtab;

pub fn run(served: &Served, args: &[&str]) -> Output {
    trimtab()
        .args(args)
        .env_clear()
        .env("TRIMTAB_SOCKET", &served.socket)
        .output()
        .expect("the binary could not be started")
}

pub fn code(served: &Served, args: &[&str]) -> i32 {
    let output = run(served, args);
    output.status.code().unwrap_or_else(|| panic!("{args:?} was killed: {output:?}"))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn two_environments() -> Canned {
    let mut canned = Canned::with(vec![
        unit("hello/dev/default", "1.4.1"),
        unit("hello/production/first", "1.4.1"),
        unit("hello/production/second", "1.4.1"),
        unit("worker/dev/default", "2.0.0"),
    ]);
    canned.refuse.insert("hello/production/second".into(), (409, "illegal"));
    canned.refuse.insert("worker/dev/default".into(), (503, "unavailable"));
    canned
}

#[test]
fn what_is_asked_for_decides_the_code() {
    let served = serve(two_environments());
    let cases: [(&[&str], i32); 17] = [
        (&["status"], 0),
        (&["status", "hello", "-e", "dev"], 0),
        (&["status", "nothing"], 3),
        (&["status", "Not A Name"], 2),
        (&["why", "worker"], 0),
        (&["rollout", "status", "worker"], 0),
        (&["rollout", "status", "hello"], 2),
        (&["rollout", "status", "hello", "-e", "staging"], 3),
        (&["rollout", "pause", "hello", "-e", "production"], 2),
        (&["rollout", "pause", "hello", "-e", "production", "--target", "first"], 0),
        (&["rollout", "pause", "hello", "-e", "production", "--target", "second"], 5),
        (&["rollout", "abort", "worker"], 6),
        (&["rollback", "hello"], 2),
        (&["rollback", "hello", "-e", "dev", "--to", "HEAD~1"], 2),
        (&["suspend"], 2),
        (&["help", "nothing"], 2),
        (&["nothing"], 2),
    ];
    for (args, expected) in cases {
        let output = run(&served, args);
        assert_eq!(output.status.code(), Some(expected), "{args:?}: {output:?}");
        assert_eq!(output.stderr.is_empty(), expected == 0, "{args:?}: {output:?}");
    }
}

#[test]
fn an_environments_targets_are_commanded_together() {
    let served = serve(two_environments());
    // The second target refuses: that does not undo what the first does, and it is told.
    let output = run(&served, &["rollback", "hello", "-e", "production"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("hello/production/first") && text.contains("not now, because of illegal"), "{text}");
    assert_eq!(served.canned.commands.lock().unwrap().len(), 1);
    assert_eq!(code(&served, &["suspend", "-e", "production"]), 0);
    assert_eq!(
        served.canned.commands.lock().unwrap().last().unwrap(),
        r#"environment production {"command":"suspend"}"#
    );
}

#[test]
fn a_difference_is_told_apart_from_an_error() {
    let mut canned = Canned::with(Vec::new());
    canned.plans = plans();
    // What the platform would refuse is an error too.
    assert_eq!(code(&serve(canned), &["plan", "hello"]), 6);
    let mut canned = Canned::with(Vec::new());
    canned.plans = plans();
    canned.plans.iter_mut().filter_map(|unit| unit.plan.as_mut()).for_each(|plan| plan.predicted = Default::default());
    let served = serve(canned);
    for verb in ["plan", "diff"] {
        assert_eq!(code(&served, &[verb, "same"]), 0);
        assert_eq!(code(&served, &[verb, "hello"]), 1);
        assert_eq!(code(&served, &[verb, "blocked"]), 6);
        assert_eq!(code(&served, &[verb, "nothing"]), 3);
        // One that can't be planned is an error, whatever the others are.
        assert_eq!(code(&served, &[verb]), 6);
    }
}

#[test]
fn a_failed_check_fails() {
    let part = |part: &str, ok| CheckResult { part: part.into(), ok, message: "seen".into(), limitations: Vec::new() };
    let mut canned = Canned::with(Vec::new());
    canned.checks = vec![part("git", true), part("router", true)];
    assert_eq!(code(&serve(canned), &["check"]), 0);
    let mut canned = Canned::with(Vec::new());
    canned.checks = vec![part("git", true), part("router", false)];
    assert_eq!(code(&serve(canned), &["check"]), 6);
}

#[test]
fn without_a_daemon_the_error_says_where_it_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("none.sock");
    let verbs: [&[&str]; 11] = [
        &["status"],
        &["why", "hello"],
        &["plan"],
        &["diff"],
        &["rollout", "promote", "hello"],
        &["rollback", "hello", "-e", "dev"],
        &["reconcile"],
        &["restart", "hello"],
        &["suspend", "hello"],
        &["quarantine", "list"],
        &["logs", "hello"],
    ];
    for verb in verbs {
        let output = trimtab().args(verb).arg("--socket").arg(&socket).env_clear().output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{verb:?}: {output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("none.sock") && text.contains("try:"), "{verb:?}: {text}");
    }
}

#[test]
fn errors_are_json_where_json_was_asked_for() {
    let served = serve(two_environments());
    let output = run(&served, &["rollout", "status", "hello", "-o", "json"]);
    let error = &json(&output)["error"];
    assert_eq!(error["exitCode"], 2);
    assert_eq!(error["code"], "invalid");
    assert_eq!(error["choices"].as_array().unwrap().len(), 3);
    assert!(output.stderr.is_empty(), "{output:?}");

    let output = run(&served, &["rollout", "abort", "worker", "-o", "json"]);
    assert_eq!(json(&output)["error"]["code"], "unavailable");
    assert_eq!(output.status.code(), Some(6));

    for args in [&["status", "--nothing", "-o", "json"], &["status", "--nothing", "-ojson", "x"]] {
        let output = run(&served, args);
        assert_eq!(json(&output)["error"]["code"], "usage");
        assert_eq!(output.status.code(), Some(2));
    }
}

#[test]
fn a_name_that_was_mistyped_is_guessed() {
    let served = serve(two_environments());
    let output = run(&served, &["why", "helo"]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("did you mean hello?"), "{text}");
}

#[test]
fn a_watch_that_has_nothing_to_wait_for_ends() {
    let mut verified = unit("hello/dev/default", "1.4.2");
    let mut rollout = canary("verified");
    rollout.summary.ended = Some(super::canned::ago(1));
    verified.rollout = Some(rollout.clone());
    assert_eq!(code(&serve(Canned::with(vec![verified])), &["rollout", "status", "hello", "-w"]), 0);
    let mut stuck = unit("hello/dev/default", "1.4.1");
    stuck.health = UnitHealth::Stuck;
    rollout.summary.status = "stuck".into();
    stuck.rollout = Some(rollout);
    assert_eq!(code(&serve(Canned::with(vec![stuck])), &["rollout", "status", "hello", "-w"]), 6);
}

/// All verbs that do something, with what leads to them.
fn leaves(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
    for verb in command.get_subcommands() {
        let path = [path, &[verb.get_name().to_owned()]].concat();
        if verb.get_name() == "help" {
            continue;
        }
        leaves(verb, &path, found);
        if !verb.has_subcommands() {
            found.push(path);
        }
    }
}

#[test]
fn one_is_only_a_difference() {
    let mut verbs = Vec::new();
    leaves(&trimtab::cli::Cli::command(), &[], &mut verbs);
    assert!(verbs.len() > 25, "{verbs:?}");
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = trimtab().args(args).env_clear().current_dir(dir.path()).output().unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{args:?} was killed: {output:?}"));
        assert!(code >= 2, "{args:?}: {output:?}");
        assert!(!output.stderr.is_empty() || !output.stdout.is_empty(), "{args:?} says nothing");
        code
    };
    for verb in &verbs {
        let verb: Vec<&str> = verb.iter().map(String::as_str).collect();
        assert_eq!(run(&[&verb[..], &["--no-such-flag"]].concat()), 2, "{verb:?}");
    }
    std::fs::write(dir.path().join("bad.toml"), "[api").unwrap();
    std::fs::write(dir.path().join("bad.yaml"), "apiVersion: trimtab/v1\nkind: Nothing\n").unwrap();
    let cases: [&[&str]; 16] = [
        &["router", "--state-dir", "/proc/nowhere", "--socket", "router.sock"],
        &["supervisor", "--state-dir", "/proc/nowhere", "--socket", "supervisor.sock"],
        &["shim", "none"],
        &["demo-app", "--address", "192.0.2.1", "--port", "1", "--version", "1"],
        &["status", "--config", "none.toml"],
        &["status", "--config", "bad.toml"],
        &["get", "units", "--socket", "none.sock"],
        &["why", "hello", "--socket", "none.sock"],
        &["logs", "hello", "--follow", "--socket", "none.sock"],
        &["check", "--socket", "none.sock"],
        &["daemon", "--config", "none.toml"],
        &["daemon", "--config", "bad.toml"],
        &["validate", "none"],
        &["validate", "."],
        &["render", "--dir", "none"],
        &["man", "/proc/nowhere"],
    ];
    for args in cases {
        run(args);
    }
}

#[test]
fn what_can_not_be_written_is_a_failure() {
    let served = serve(two_environments());
    let verbs: [&[&str]; 7] = [
        &["status"],
        &["status", "-o", "json"],
        &["schema"],
        &["completions", "bash"],
        &["help", "exit-codes"],
        &["--version"],
        &["plan", "--help"],
    ];
    for args in verbs {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = trimtab();
        command.args(args).env_clear().env("TRIMTAB_SOCKET", &served.socket).stdout(full);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{args:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{args:?} says nothing");
    }
    // Nobody reads the error's document: it is an error all the same.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = trimtab();
    command.args(["status", "nothing", "-o", "json"]).env_clear().env("TRIMTAB_SOCKET", &served.socket).stdout(writer);
    assert_eq!(command.status().unwrap().code(), Some(3));
}
