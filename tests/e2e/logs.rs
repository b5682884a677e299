//! Following logs through a rollout, over a restart of the daemon and of the supervisor.

use std::fs;
use std::process::Stdio;

use super::bed::Bed;
use super::documents::{UNIT, bed, web};
use crate::support::{PATIENCE, Running, eventually, trimtab};

fn follow(bed: &Bed, file: &str, more: &[&str]) -> Running {
    let out = fs::File::create(bed.path(file)).unwrap();
    let mut command = trimtab();
    command.args(["logs", "web", "-e", "dev", "--follow"]).args(more).env("TRIMTAB_SOCKET", bed.path("daemon.sock"));
    Running::spawn(command.stdin(Stdio::null()).stdout(out))
}

fn lines(bed: &Bed, file: &str, text: &str) -> Vec<String> {
    let all = fs::read_to_string(bed.path(file)).unwrap();
    all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_of_every_instance_that_comes_are_followed() {
    let mut bed = bed("rolling");
    let before = bed.verified(UNIT, "1.0.0").await;
    let mut all = follow(&bed, "all", &[]);
    let instance = before.groups[0].instances[0].id.clone();
    let mut one = follow(&bed, "one", &["--instance", &instance, "-o", "json"]);
    eventually(PATIENCE, "both instances are told", || lines(&bed, "all", "demo-app 1.0.0 listens").len() == 2);
    eventually(PATIENCE, "the one is told", || lines(&bed, "one", "demo-app 1.0.0 listens").len() == 1);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    eventually(PATIENCE, "those that replace them, too", || lines(&bed, "all", "demo-app 1.1.0 listens").len() == 2);
    eventually(PATIENCE, "the one that is gone ends", || one.0.try_wait().unwrap().is_some_and(|it| it.success()));
    bed.kill_supervisor();
    bed.kill_daemon();
    bed.start_supervisor();
    bed.start_daemon();
    bed.push("third", &[("release.yaml", &web("1.2.0", ""))]);
    bed.verified(UNIT, "1.2.0").await;
    eventually(PATIENCE, "it goes on afterwards", || lines(&bed, "all", "demo-app 1.2.0 listens").len() == 2);
    assert!(all.0.try_wait().unwrap().is_none(), "only the interrupt ends it");
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        assert_eq!(lines(&bed, "all", &format!("demo-app {version} listens")).len(), 2, "each line once");
    }
    let line: serde_json::Value = serde_json::from_str(&lines(&bed, "one", "listens")[0]).unwrap();
    assert_eq!((line["instance"].as_str(), line["stream"].as_str()), (Some(&*instance), Some("stdout")));
}
