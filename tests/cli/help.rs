//! Every verb explains itself.

use clap::CommandFactory;
use trimtab::cli::Cli;
use trimtab::cli::exit::Exit;

use crate::support::trimtab;

const VERBS: [&str; 27] = [
    "ack",
    "check",
    "completions",
    "daemon",
    "demo",
    "diff",
    "get",
    "help",
    "init",
    "logs",
    "man",
    "plan",
    "quarantine",
    "reconcile",
    "render",
    "restart",
    "rollback",
    "rollout",
    "router",
    "schema",
    "secrets",
    "status",
    "supervisor",
    "suspend",
    "unsuspend",
    "validate",
    "why",
];

fn walk(command: &clap::Command, path: &str, seen: &mut Vec<String>) {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let path = format!("{path} {}", verb.get_name());
        assert!(verb.get_about().is_some_and(|about| !about.to_string().is_empty()), "{path} explains nothing");
        for arg in verb.get_arguments().filter(|arg| !arg.is_hide_set()) {
            assert!(arg.get_help().is_some(), "{path}: {} explains nothing", arg.get_id());
        }
        walk(verb, &path, seen);
        seen.push(path);
    }
}

#[test]
fn every_verb_and_every_argument_is_explained() {
    let mut command = Cli::command();
    command.build();
    let mut seen = Vec::new();
    walk(&command, "trimtab", &mut seen);
    for verb in VERBS {
        assert!(seen.contains(&format!("trimtab {verb}")), "{verb} is missing in {seen:?}");
    }
}

#[test]
fn the_exit_codes_are_listed() {
    let output = trimtab().args(["help", "exit-codes"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for exit in Exit::ALL {
        assert!(text.contains(&format!("  {}  {}", exit.code(), exit.meaning())), "{text}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for args in [&["--help"][..], &["--version"], &["help"], &["help", "rollout", "promote"], &["plan", "--help"]] {
        let output = trimtab().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
