//! What can be said about the unit files without running them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn unit(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)
}

/// The value of the last setting of that name.
fn setting(name: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(unit(name)).unwrap();
    text.lines().rev().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned)
}

#[test]
fn exposure_of_daemon_and_router_is_at_most_two() {
    for name in ["trimtab-daemon.service", "trimtab-router.service"] {
        let Ok(output) = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=20"])
            .arg(unit(name))
            .output()
        else {
            eprintln!("skipped: systemd-analyze is not installed");
            return;
        };
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("Overall exposure level") || output.status.success(), "no verdict on {name}: {said}");
        assert!(output.status.success(), "{name} is open wider than 2.0: {said}");
    }
}

#[test]
fn no_unit_takes_another_down() {
    for name in ["trimtab-daemon.service", "trimtab-router.service", "trimtab-supervisor.service"] {
        for key in ["Requires", "BindsTo", "PartOf", "Requisite", "Conflicts", "PropagatesStopTo", "RuntimeDirectory"] {
            assert_eq!(setting(name, key), None, "{key}= in {name} ties it to the others' lives");
        }
        assert_eq!(setting(name, "Restart").as_deref(), Some("always"), "{name}");
        assert_eq!(setting(name, "StartLimitIntervalSec").as_deref(), Some("0"), "{name} must never stay down");
    }
}

#[test]
fn apps_outlive_the_supervisor_and_inherit_no_sandbox() {
    let name = "trimtab-supervisor.service";
    assert_eq!(setting(name, "KillMode").as_deref(), Some("process"));
    assert_eq!(setting(name, "OOMPolicy").as_deref(), Some("continue"));
    let text = fs::read_to_string(unit(name)).unwrap();
    let sandbox = [
        "Private",
        "Protect",
        "Restrict",
        "SystemCall",
        "NoNewPrivileges",
        "Capability",
        "Ambient",
        "ReadOnly",
        "ReadWrite",
        "Inaccessible",
        "Lock",
        "MemoryDeny",
        "DynamicUser",
        "RootDirectory",
        "Memory",
        "CPU",
        "Environment",
    ];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(!sandbox.iter().any(|prefix| line.starts_with(prefix)), "apps would inherit {line}");
    }
}

#[test]
fn documented_programs_are_what_the_binary_has() {
    for verb in ["daemon", "router", "supervisor"] {
        let start = setting(&format!("trimtab-{verb}.service"), "ExecStart").unwrap();
        let mut words = start.split_whitespace();
        assert_eq!(words.next(), Some("/usr/local/bin/trimtab"));
        assert_eq!(words.next(), Some(verb));
        let help = Command::new(crate::support::TRIMTAB).args([verb, "--help"]).output().unwrap();
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        for option in words.filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "trimtab {verb} knows no {option}: {help}");
        }
    }
}
