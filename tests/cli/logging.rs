//! The logs of the long-running verbs, as JSON where that is asked for.

use std::fs::File;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{PATIENCE, Running, eventually, read, trimtab};

#[test]
fn supervisor_and_router_write_objects_where_they_are_asked_to() {
    for (verb, flag) in [("supervisor", true), ("router", true), ("router", false)] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut command = trimtab();
        command.arg(verb).arg("--state-dir").arg(dir.path().join("state"));
        command.arg("--socket").arg(dir.path().join("socket")).env_remove("TRIMTAB_LOG");
        if flag {
            command.args(["--log-format", "json"]);
        } else {
            command.env("TRIMTAB_LOG_FORMAT", "json");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let _running = Running::spawn(&mut command);
        let text = eventually(PATIENCE, "it serves", || read(&log).filter(|text| text.contains("serves")));
        for line in text.lines() {
            let told: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{verb}: {error}: {line}"));
            assert!(told["level"].is_string() && told["message"].is_string(), "{verb}: {line}");
        }
    }
    let wrong =
        trimtab().args(["router", "--state-dir", "x", "--socket", "y", "--log-format", "xml"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
