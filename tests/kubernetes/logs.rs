//! Following the logs of pods through a container that ends and a rolling update.

use std::fs;
use std::process::Stdio;

use super::documents::{UNIT, deployment, release};
use super::installation::Installation;
use crate::support::{PATIENCE, Running, eventually, trimtab};

/// Pods that say one line when they begin, and end when a file is there.
fn says(version: &str) -> String {
    let probe = deployment(version);
    let (without, _) = probe.split_once("          readinessProbe").unwrap();
    let command = "          command: [sh, -c, \"echo hello from $TRIMTAB_VERSION; while [ ! -e /tmp/end ]; do sleep 0.2; done\"]\n";
    format!("{without}{command}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_of_every_pod_and_run_are_followed() {
    let Some(installation) = Installation::start(&[("deploy/web.yaml", &says("1"))]) else { return };
    installation.verified(UNIT, "1").await;
    let file = installation.path("followed");
    let mut command = trimtab();
    command.args(["logs", "web", "-e", "dev", "--follow"]).env("TRIMTAB_SOCKET", installation.path("daemon.sock"));
    let _follow = Running::spawn(command.stdin(Stdio::null()).stdout(fs::File::create(&file).unwrap()));
    let lines = |text: &str| fs::read_to_string(&file).unwrap().lines().filter(|line| line.contains(text)).count();
    let told = |version: &str, count: usize| {
        let text = format!("hello from {version}");
        eventually(PATIENCE, "each run's line is told", || {
            if lines(&text) == count { Ok(()) } else { Err(fs::read_to_string(&file).unwrap()) }
        });
    };
    told("1", 2);
    installation.namespace.must(&["exec", "deployment/web", "--", "sh", "-c", "echo > /tmp/end"]);
    told("1", 3);
    installation.push("second", &[("deploy/web.yaml", &says("2")), ("release.yaml", &release("2"))]);
    told("2", 2);
    installation.verified(UNIT, "2").await;
    // Their kubelet still has the lines of pods that end while those of the next version begin.
    assert_eq!((lines("hello from 1"), lines("hello from 2")), (3, 2), "each line once");
    let told = installation.told(&["logs", "web", "-e", "dev"]);
    assert_eq!(told.matches("hello from 2").count(), 2, "{told}");
}
