//! Lists, and the forms that all looking verbs print in.

use serde_json::{Value, json};
use trimtab::api::handlers::events::EventView;
use trimtab::api::resources::RolloutEntry;

use super::canned::{Canned, ago, canary, serve, unit};
use super::exit_codes::{code, run};
use crate::support::trimtab;

fn canned() -> Canned {
    let units = ["hello/dev/default", "hello/production/first", "hello/production/second", "store/dev/default"];
    let mut canned = Canned::with(units.iter().map(|name| unit(name, "1.4.1")).collect());
    canned.rollouts =
        vec![RolloutEntry { unit: "hello/dev/default".parse().unwrap(), summary: canary("running").summary }];
    canned
}

fn out(served: &super::canned::Served, args: &[&str]) -> String {
    let output = run(served, args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_kind_is_listed_in_every_form() {
    let served = serve(canned());
    for (kind, names) in [
        ("environments", vec!["dev", "production"]),
        ("apps", vec!["hello", "store"]),
        ("releases", vec!["hello/dev", "hello/production", "store/dev"]),
        ("units", vec!["hello/dev/default", "hello/production/first", "hello/production/second", "store/dev/default"]),
        ("rollouts", vec!["ro-1"]),
    ] {
        assert_eq!(out(&served, &["get", kind, "-o", "name"]).lines().collect::<Vec<_>>(), names, "{kind}");
        let json: Value = serde_json::from_str(&out(&served, &["get", kind, "-o", "json"])).unwrap();
        assert_eq!(json.as_array().unwrap().len(), names.len(), "{kind}");
        let (table, wide) = (out(&served, &["get", kind]), out(&served, &["get", kind, "-o", "wide"]));
        assert!(
            table.lines().count() > names.len()
                && wide.lines().next().unwrap().len() >= table.lines().next().unwrap().len()
        );
        assert!(out(&served, &["get", kind, "-o", "yaml"]).starts_with("- "), "{kind}");
    }
    assert_eq!(out(&served, &["get", "units", "-e", "production", "-o", "name"]).lines().count(), 2);
    assert_eq!(out(&served, &["get", "env", "dev", "-o", "name"]), "dev\n");
    assert_eq!(code(&served, &["get", "apps", "nothing"]), 3);
    assert_eq!(code(&served, &["get", "pods"]), 2);
}

#[test]
fn looking_verbs_print_yaml_and_names() {
    let served = serve(canned());
    for verb in
        [&["status"][..], &["why", "store"], &["rollout", "history", "store"], &["quarantine", "list"], &["check"]]
    {
        for form in ["table", "wide", "json", "yaml", "name"] {
            assert_eq!(code(&served, &[verb, &["-o", form]].concat()), 0, "{verb:?} -o {form}");
        }
    }
    assert!(out(&served, &["status", "store", "-o", "yaml"]).contains("unit: store/dev/default\n"));
    // What steers has no names to print.
    assert_eq!(code(&served, &["reconcile", "-o", "name"]), 2);
}

#[test]
fn events_are_listed_in_every_form_the_newest_last() {
    let mut canned = canned();
    let event = |id: u64, unit: Option<&str>, kind: &str, data: Value| EventView {
        id,
        at: ago(60),
        unit: unit.map(|unit| unit.parse().unwrap()),
        kind: kind.into(),
        version: 1,
        data,
    };
    let digest = format!("rd1:{}", "0a".repeat(32));
    canned.events = vec![
        event(3, None, "headSeen", json!({ "revision": "1a".repeat(20) })),
        event(4, Some("hello/dev/default"), "candidateSeen", json!({ "version": "1.4.1", "rendered": digest })),
        event(9, Some("hello/dev/default"), "rollout.actionFailed", json!({ "reason": "no such\u{1b}[31m file" })),
    ];
    let served = serve(canned);
    assert_eq!(out(&served, &["events", "-o", "name"]), "3\n4\n9\n");
    assert_eq!(out(&served, &["events", "-n", "2", "-o", "name"]), "4\n9\n");
    assert_eq!(out(&served, &["events", "hello", "-e", "dev", "-o", "name"]), "4\n9\n");
    let table = out(&served, &["events"]);
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("HAPPENED") && lines.len() == 4, "{table}");
    assert!(lines[2].contains("version=1.4.1") && !lines[2].contains(&digest), "{table}");
    assert!(lines[3].contains("rollout.actionFailed") && !table.contains('\u{1b}'), "{table}");
    assert!(out(&served, &["events", "-o", "wide"]).contains(&digest));
    let json: Value = serde_json::from_str(&out(&served, &["events", "-o", "json"])).unwrap();
    assert_eq!(json[2]["id"], 9);
    assert!(out(&served, &["events", "-o", "yaml"]).starts_with("- "));
    assert_eq!(code(&served, &["events", "nothing"]), 3);
    assert_eq!(code(&served, &["events", "-n", "0"]), 2);
}

#[test]
fn completions_and_manual_pages_name_every_verb() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = trimtab().args(["completions", shell]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("quarantine"), "{shell}");
    }
    let dir = tempfile::tempdir().unwrap();
    let output = trimtab().arg("man").arg(dir.path().join("man1")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for page in ["trimtab", "trimtab-status", "trimtab-rollout-history"] {
        let text = std::fs::read_to_string(dir.path().join("man1").join(format!("{page}.1"))).unwrap();
        assert!(text.contains(".TH") && text.contains("trimtab"), "{page}");
    }
    assert!(!dir.path().join("man1/trimtab-shim.1").exists(), "what is hidden stays so");
    let output = trimtab().args(["man", "/proc/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{output:?}");
}
