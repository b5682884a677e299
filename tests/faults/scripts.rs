//! Scripts that never end, take everything, or never stop talking.

use trimtab::api::types::UnitHealth;
use trimtab::domain::span::Span;
use trimtab::domain::workload::Limits;
use trimtab::protocol::supervisor::{ExitHow, RunState};

use crate::e2e::bed::git;
use crate::e2e::documents::{UNIT, app, environment, web};
use crate::supervisor::bed::{Bed, pids_in, until_gone};
use crate::supervisor::limits::{HOG, unenforced};
use crate::support::{PATIENCE, alive, eventually, read};

#[test]
fn fault_38_a_fork_bomb_is_held_and_killed() {
    let bed = Bed::start();
    let limits = Limits { pids: Some(20), ..Limits::default() };
    if unenforced(&bed, &limits) {
        return;
    }
    let mut spec = bed.group(
        r#"echo $$ > "$OUT/main"; n=0; while [ $n -lt 60 ]; do (echo x >> "$OUT/forks"; exec sleep 1000) & n=$((n+1)); done; echo all >> "$OUT/all"; wait"#,
    );
    spec.process.limits = limits;
    spec.process.stop.grace = trimtab::domain::span::Span::from_millis(100);
    bed.put(&spec, 1);
    let main = pids_in(&bed.out("main"), 1)[0];
    bed.until_first(&spec, "the shell gave up", |instance| instance.last_exit.is_some());
    assert!(!alive(main));
    let forks = read(bed.out("forks")).unwrap_or_default().lines().count();
    assert!(forks < 60 && read(bed.out("all")).is_none(), "{forks} forks");
    bed.delete(&spec);
    eventually(PATIENCE, "the group is gone", || bed.groups().groups.is_empty());
}

#[test]
fn fault_38_a_run_beyond_its_memory_is_told_apart_from_a_killed_one() {
    let bed = Bed::start();
    let limits = Limits { memory: Some(24 << 20), ..Limits::default() };
    if unenforced(&bed, &limits) {
        return;
    }
    let mut run = bed.run_spec("hog", HOG);
    run.limits = limits;
    bed.try_run(&run).unwrap();
    assert_eq!(bed.run_end("hog").state, RunState::Ended(ExitHow::OutOfMemory));
    bed.try_run(&bed.run_spec("suicide", "kill -9 $$")).unwrap();
    assert_eq!(bed.run_end("suicide").state, RunState::Ended(ExitHow::Signal(9)));
}

#[test]
fn fault_38_a_run_beyond_its_time_is_killed_with_its_tree() {
    let bed = Bed::start();
    let mut run = bed.run_spec(
        "slow",
        r#"trap '' TERM; setsid sh -c 'echo $$ >> "$OUT/pids"; sleep 1000' & echo $$ >> "$OUT/pids"; echo begun; while :; do sleep 1; done"#,
    );
    run.timeout = Span::from_millis(700);
    bed.try_run(&run).unwrap();
    let pids = pids_in(&bed.out("pids"), 2);
    let end = bed.run_end("slow");
    assert_eq!((end.state, end.output.as_str()), (RunState::TimedOut, "begun\n"));
    assert!(pids.iter().all(|pid| !alive(*pid)));
}

#[test]
fn fault_38_of_much_output_both_ends_are_kept() {
    let bed = Bed::start();
    let mut run = bed
        .run_spec("loud", "echo begin; i=0; while [ $i -lt 20000 ]; do echo \"line $i\"; i=$((i+1)); done; echo end");
    run.output_limit = 1000;
    bed.try_run(&run).unwrap();
    let end = bed.run_end("loud");
    assert!(end.output.starts_with("begin\nline 0\n") && end.output.ends_with("line 19999\nend\n"), "{}", end.output);
    assert!(end.output.contains(" bytes left out ...") && end.output.len() < 1100, "{}", end.output.len());
}

#[test]
fn fault_38_zombies_are_reaped_and_what_was_left_behind_is_killed() {
    let bed = Bed::start();
    // Children that nobody waits for, and one that leaves its parent's session.
    let script = r#"for n in 1 2 3 4 5; do (true & exec true) & done; setsid sh -c 'echo $$ >> "$OUT/pids"; exec sleep 1000' &
        echo $$ >> "$OUT/pids"; while [ ! -e "$OUT/go" ]; do sleep 0.02; done; exit 3"#;
    bed.try_run(&bed.run_spec("careless", script)).unwrap();
    let pids = pids_in(&bed.out("pids"), 2);
    std::fs::write(bed.out("go"), "").unwrap();
    assert_eq!(bed.run_end("careless").state, RunState::Ended(ExitHow::Code(3)));
    until_gone(&pids);
    let zombies = || trimtab::supervisor::process::all().into_iter().filter(|process| process.zombie);
    eventually(PATIENCE, "no zombie is left", || !zombies().any(|process| pids.contains(&(process.id.pid as u32))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_38_a_hook_that_hangs_or_fails_is_killed_and_its_class_is_told() {
    let script = |name: &str, run: &str| {
        format!(
            "apiVersion: trimtab/v1\nkind: Script\nmetadata: {{ name: {name} }}\nspec: {{ run: '{run}', timeout: 1s, outputLimit: 1Ki }}\n"
        )
    };
    let hooked = |name: &str| {
        app("web", "rolling")
            + &format!("  hooks: {{ before: [ {{ script: {name}, idempotent: true, onRollback: nothing }} ] }}\n")
    };
    let (environment, good) = (environment("dev"), hooked("good"));
    let bed = crate::e2e::bed::Bed::new(&[
        ("env.yaml", &environment),
        ("app.yaml", &good),
        ("release.yaml", &web("1.0.0", "")),
        ("good.yaml", &script("good", "true")),
        ("hang.yaml", &script("hang", "sleep 1000 & sleep 1000")),
        ("loud.yaml", &script("loud", "yes | head -c 5000000; exit 7")),
    ])
    .start();
    bed.verified(UNIT, "1.0.0").await;
    for (name, version, class) in [("hang", "2.0.0", "killed for its timeout"), ("loud", "3.0.0", "7")] {
        bed.push(name, &[("app.yaml", &hooked(name)), ("release.yaml", &web(version, ""))]);
        bed.wait(UNIT, "it is taken back", |status| {
            status.health == UnitHealth::InSync
                && status.rollout.as_ref().is_some_and(|rollout| {
                    let summary = &rollout.summary;
                    let reason = summary.reason.clone().unwrap_or_default();
                    summary.status == "rolledBack"
                        && reason.contains(&format!("hook {name} failed"))
                        && reason.contains(class)
                })
        })
        .await;
        let message = git(&bed.repo(), &["log", "-1", "--format=%B", "main"]);
        assert!(message.contains(&format!("hook {name} failed")), "{message}");
        assert_eq!(bed.get("web.dev.localhost").await.unwrap().1, "1.0.0");
    }
}
