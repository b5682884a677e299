//! Runs: once, whatever happens, with a durable outcome.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use http::Method;
use trimtab::domain::span::Span;
use trimtab::protocol::supervisor::{ExitHow, RunState, RunStatus};

use super::bed::{Bed, kill, pids_in, run_path, until_gone};
use crate::support::{alive, read};

#[test]
fn a_run_runs_once_however_often_it_is_asked_for() {
    let mut bed = Bed::start();
    let run = bed.run_spec("hook/1", r#"echo ran >> "$OUT/ran"; echo out; echo err >&2; echo "$TRIMTAB_RUN"; exit 3"#);
    bed.try_run(&run).unwrap();
    bed.try_run(&run).unwrap();
    let end = bed.run_end("hook/1");
    assert_eq!((end.state.clone(), end.output.as_str()), (RunState::Ended(ExitHow::Code(3)), "out\nerr\nhook/1\n"));
    assert_eq!(bed.try_run(&run).unwrap(), end);
    bed.kill_supervisor();
    bed.start_again(None);
    assert_eq!(bed.try_run(&run).unwrap(), end);
    assert_eq!(read(bed.out("ran")).unwrap(), "ran\n");
}

#[test]
fn the_time_of_a_run_goes_on_without_the_supervisor() {
    let mut bed = Bed::start();
    let mut run = bed.run_spec("slow", r#"echo $$ >> "$OUT/pids"; sleep 1000"#);
    run.timeout = Span::from_secs(1);
    bed.try_run(&run).unwrap();
    let pids = pids_in(&bed.out("pids"), 1);
    bed.kill_supervisor();
    until_gone(&pids);
    bed.start_again(None);
    assert_eq!(bed.run_end("slow").state, RunState::TimedOut);
}

#[test]
fn a_run_survives_its_supervisor() {
    let mut bed = Bed::start();
    let run = bed.run_spec(
        "hook",
        r#"echo $$ >> "$OUT/pids"; while [ ! -e "$OUT/go" ]; do sleep 0.02; done; echo done; exit 5"#,
    );
    bed.try_run(&run).unwrap();
    let pids = pids_in(&bed.out("pids"), 1);
    bed.kill_supervisor();
    bed.start_again(None);
    let status: RunStatus = bed.get(&run_path("hook")).unwrap();
    assert_eq!(status.state, RunState::Running);
    fs::write(bed.out("go"), "").unwrap();
    let end = bed.run_end("hook");
    assert_eq!((end.state, end.output.as_str()), (RunState::Ended(ExitHow::Code(5)), "done\n"));
    assert_eq!(pids_in(&bed.out("pids"), 1), pids, "it did not run twice");
}

#[test]
fn a_run_whose_shim_is_killed_has_an_unknown_end_and_leaves_nothing() {
    let bed = Bed::start();
    let run =
        bed.run_spec("hook", r#"setsid sh -c 'echo $$ >> "$OUT/pids"; sleep 1000' & echo $$ >> "$OUT/pids"; wait"#);
    bed.try_run(&run).unwrap();
    let pids = pids_in(&bed.out("pids"), 2);
    let shim = trimtab::supervisor::process::all().into_iter().find(|process| {
        let command = fs::read(format!("/proc/{}/cmdline", process.id.pid)).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        command.contains("\0shim\0") && command.contains(&*bed.state().to_string_lossy())
    });
    kill(shim.unwrap().id.pid as u32, nix::libc::SIGKILL);
    let end = bed.run_end("hook");
    assert!(matches!(end.state, RunState::Ended(ExitHow::Unknown(_))), "{end:?}");
    assert!(pids.iter().all(|pid| !alive(*pid)));
}

#[test]
fn a_run_is_killed_on_request() {
    let bed = Bed::start();
    let run = bed.run_spec("hook", r#"trap '' TERM; echo $$ >> "$OUT/pids"; while :; do sleep 1; done"#);
    bed.try_run(&run).unwrap();
    let pids = pids_in(&bed.out("pids"), 1);
    bed.send::<()>(Method::DELETE, &format!("{}?epoch=1", run_path("hook")), None::<&()>).unwrap();
    assert_eq!(bed.run_end("hook").state, RunState::Killed);
    until_gone(&pids);
}

#[test]
fn a_run_has_its_files_and_a_missing_program_is_told() {
    let bed = Bed::start();
    let artifact = bed.out("artifact");
    fs::create_dir(&artifact).unwrap();
    fs::write(artifact.join("migrate"), "#!/bin/sh\ncat data\n").unwrap();
    fs::set_permissions(artifact.join("migrate"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(artifact.join("data"), "from the artifact\n").unwrap();
    let mut run = bed.run_spec("files", "");
    run.artifact_dir = Some(artifact);
    run.command = vec!["./migrate".into()];
    bed.try_run(&run).unwrap();
    assert_eq!(bed.run_end("files").output, "from the artifact\n");
    run.id.0 = "missing".into();
    run.command = vec!["./nothing".into()];
    bed.try_run(&run).unwrap();
    assert!(matches!(bed.run_end("missing").state, RunState::Ended(ExitHow::NotStarted(_))));
}
