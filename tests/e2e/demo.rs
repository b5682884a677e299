//! The demo as a newcomer runs it, played and by hand.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Running, eventually, trimtab};

/// The play itself fails after a minute where nothing moves on; this is for a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(240);

/// Demos choose their ports by chance; one at a time can't meet another.
static ONE: Mutex<()> = Mutex::new(());

#[test]
fn every_part_of_the_story_happens() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let output = trimtab().args(["demo", "--play", "-o", "json"]).current_dir("/").output().unwrap();
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let told = serde_json::to_string_pretty(&outcome).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(outcome["ok"], true, "{told}");
    let checks = outcome["checks"].as_array().unwrap();
    assert!(checks.len() >= 15 && checks.iter().all(|check| check["ok"] == true), "{told}");
    assert!(outcome["trafficBackMs"].is_u64() && outcome["firstAnswerMs"].is_u64(), "{told}");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The processes whose command line or working directory names a folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let text = folder.to_str().unwrap();
    let of = |entry: fs::DirEntry| {
        let commands = fs::read(entry.path().join("cmdline")).ok()?;
        let commands = String::from_utf8_lossy(&commands).replace('\0', " ");
        let works_in = fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        (commands.contains(text) || works_in.starts_with(folder)).then_some(commands)
    };
    fs::read_dir("/proc").unwrap().filter_map(Result::ok).filter_map(of).collect()
}

#[test]
fn by_hand_it_survives_kills_and_leaves_nothing_behind() {
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let parent = tempfile::Builder::new().prefix("tt-").tempdir_in("/tmp").unwrap();
    let dir = parent.path().join("demo");
    let mut command = trimtab();
    command.args(["demo", "--dir"]).arg(&dir).current_dir("/").stdin(Stdio::null());
    let mut running = Running::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut output = BufReader::new(running.0.stdout.take().unwrap());
    let mut told = String::new();
    while !told.contains("What happens") {
        assert!(output.read_line(&mut told).unwrap() > 0, "it ended before it said what to do: {told}");
    }
    let socket = dir.join("run/daemon.sock");
    let health = |unit: &str| -> Result<String, String> {
        let output = trimtab().args(["status", "-o", "json", "--socket"]).arg(&socket).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let found = status["units"].as_array().and_then(|units| units.iter().find(|it| it["unit"] == unit).cloned());
        found.map(|unit| unit["health"].to_string()).ok_or_else(|| status.to_string())
    };
    let in_sync = |unit: &str| match health(unit)?.as_str() {
        "\"inSync\"" => Ok(()),
        other => Err(other.to_owned()),
    };
    eventually(LIMIT, "hello in staging in sync", || in_sync("hello/staging/default"));
    // Each of the three is started again by the demo and finds what it had.
    for part in ["daemon", "supervisor", "router"] {
        let needle = format!("trimtab {part} ");
        let pids = Command::new("pgrep").args(["-f", &format!("{needle}.*{}", dir.display())]).output().unwrap();
        let before = String::from_utf8(pids.stdout).unwrap();
        assert_eq!(before.lines().count(), 1, "{part}: {before}");
        assert!(Command::new("kill").args(["-9", before.trim()]).status().unwrap().success());
        eventually(LIMIT, &format!("{part} is back"), || {
            let pids = Command::new("pgrep").args(["-f", &format!("{needle}.*{}", dir.display())]).output().unwrap();
            let now = String::from_utf8(pids.stdout).unwrap();
            if now.lines().count() == 1 && now != before { Ok(()) } else { Err(now) }
        });
        eventually(LIMIT, "hello in dev in sync", || in_sync("hello/dev/default"));
    }
    // Ctrl-C ends everything, the apps included, and removes the folder.
    let interrupt = Command::new("kill").args(["-INT", &running.pid().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let ended = eventually(LIMIT, "the end of the demo", || running.0.try_wait().ok().flatten());
    output.read_to_string(&mut told).unwrap();
    running.0.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(ended.success(), "{told}");
    assert!(!dir.exists(), "{told}");
    assert!(processes_of(&dir).is_empty(), "{:?}", processes_of(&dir));
    assert!(told.contains("curl -H 'Host: hello.localhost'") && !told.contains('\u{1b}'), "{told}");
    for part in ["daemon", "supervisor", "router"] {
        assert!(told.contains(&format!("{part} (pid ")), "{part}: {told}");
    }
}
