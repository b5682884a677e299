//! Waves of Argo CD: each begins when the one before it is well, and goes before it.

use jiff::Timestamp;
use serde_json::Value;

use super::documents::{UNIT, config, deployment, release};
use super::installation::{Installation, tells};
use crate::support::{PATIENCE, eventually};

/// An object of a wave.
fn wave(object: &str, number: &str) -> String {
    let annotations = format!("annotations: {{ argocd.argoproj.io/sync-wave: \"{number}\" }}");
    object.replacen("metadata: { name:", &format!("metadata: {{ {annotations}, name:"), 1)
}

/// A Deployment that takes a while to become ready.
fn slow(name: &str, version: &str, seconds: u32) -> String {
    let late = format!("periodSeconds: 1, initialDelaySeconds: {seconds}");
    let one = deployment(version).replace("replicas: 2", "replicas: 1").replace("periodSeconds: 1", &late);
    one.replace("name: web }", &format!("name: {name} }}")).replace("app: web }", &format!("app: {name} }}"))
}

fn files(version: &str, seconds: u32) -> [(&'static str, String); 4] {
    [
        ("deploy/db.yaml", wave(&slow("db", version, seconds), "-1")),
        ("deploy/settings.yaml", config("settings", &format!("w{version}"))),
        ("deploy/web.yaml", wave(&deployment(version), "2")),
        ("release.yaml", release(version)),
    ]
}

fn texts<'f>(files: &'f [(&'static str, String)]) -> Vec<(&'static str, &'f str)> {
    files.iter().map(|(path, text)| (*path, text.as_str())).collect()
}

fn time(value: &Value) -> Timestamp {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no time: {value}"))
}

fn available(deployment: &Value) -> Timestamp {
    let conditions = deployment["status"]["conditions"].as_array().unwrap();
    time(&conditions.iter().find(|one| one["type"] == "Available").unwrap()["lastTransitionTime"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wave_begins_when_the_one_before_it_is_well_also_when_the_daemon_is_killed_in_between() {
    let first = files("1", 6);
    let Some(mut installation) = Installation::start(&texts(&first)[..3]) else { return };
    let waits = |status: &_| tells(status, &["wave -1 waits for Deployment.apps/db"]);
    installation.wait(UNIT, "it waits for the first wave", waits).await;
    let there = |installation: &Installation, what: &str| installation.namespace.get(what).is_ok();
    assert!(!there(&installation, "configmap/settings") && !there(&installation, "deployment/web"));
    let before = installation.namespace.object("deployment/db");
    installation.kill_daemon();
    installation.start_daemon();
    installation.verified(UNIT, "1").await;
    let (db, web) = (installation.namespace.object("deployment/db"), installation.namespace.object("deployment/web"));
    let same = |field: &str| before["metadata"][field] == db["metadata"][field];
    assert!(same("uid") && same("generation"), "it is the same one: {before:#} {db:#}");
    let settings = installation.namespace.object("configmap/settings");
    assert!(time(&settings["metadata"]["creationTimestamp"]) >= available(&db), "{settings:#} {db:#}");
    assert!(time(&web["metadata"]["creationTimestamp"]) >= time(&settings["metadata"]["creationTimestamp"]));
    assert_eq!(installation.cli(&["plan"]).status.code(), Some(0), "{}", installation.told(&["plan"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_wave_that_fails_leaves_the_later_ones_untouched_and_goes_back() {
    let Some(installation) = Installation::start(&texts(&files("1", 0))[..3]) else { return };
    installation.verified(UNIT, "1").await;
    let before = installation.namespace.object("deployment/web")["metadata"]["generation"].clone();
    let mut bad = files("2", 0);
    bad[0].1 = bad[0].1.replace("trimtab.test/web:2", "trimtab.test/web:none");
    bad[0].1 = bad[0].1.replace("replicas: 1", "replicas: 1\n  progressDeadlineSeconds: 10");
    installation.push("2", &texts(&bad));
    let back = |status: &trimtab::api::types::UnitStatus| {
        status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
    };
    let status = installation.wait(UNIT, "it went back", back).await;
    assert!(tells(&status, &["trimtab.test/web:none"]), "{status:#?}");
    assert_eq!(installation.namespace.object("deployment/web")["metadata"]["generation"], before);
    assert_eq!(installation.namespace.object("configmap/settings")["data"]["word"], "w1");
    let images = || installation.namespace.object("deployment/db")["spec"]["template"]["spec"].to_string();
    assert!(images().contains("trimtab.test/web:1"), "{}", images());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_wave_goes_before_those_it_needs() {
    let Some(installation) = Installation::start(&texts(&files("1", 0))[..3]) else { return };
    installation.verified(UNIT, "1").await;
    // Somebody holds on to what is to go first.
    let hold = r#"{"metadata":{"finalizers":["example.com/hold"]}}"#;
    installation.namespace.must(&["patch", "deployment/web", "--type=merge", "-p", hold]);
    let gone: Vec<_> = ["app.yaml", "release.yaml", "deploy/db.yaml", "deploy/settings.yaml", "deploy/web.yaml"]
        .map(|path| (path, ""))
        .into();
    installation.push("gone", &gone);
    eventually(PATIENCE, "the last wave is being deleted", || {
        let web = installation.namespace.object("deployment/web");
        if web["metadata"]["deletionTimestamp"].is_string() { Ok(()) } else { Err(web.to_string()) }
    });
    for waits in ["configmap/settings", "deployment/db"] {
        let object = installation.namespace.object(waits);
        assert!(object["metadata"]["deletionTimestamp"].is_null(), "{object:#}");
    }
    installation.namespace.must(&[
        "patch",
        "deployment/web",
        "--type=merge",
        "-p",
        r#"{"metadata":{"finalizers":null}}"#,
    ]);
    eventually(PATIENCE, "all of it is gone", || {
        let all = ["get", "deployment/web", "deployment/db", "configmap/settings", "--ignore-not-found"];
        let left = installation.namespace.must(&all);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_commit_takes_over_in_the_midst_of_waves() {
    let Some(installation) = Installation::start(&texts(&files("1", 60))[..3]) else { return };
    let waits = |status: &_| tells(status, &["wave -1 waits for Deployment.apps/db"]);
    installation.wait(UNIT, "the first version waits for its first wave", waits).await;
    assert!(installation.namespace.get("deployment/web").is_err());
    installation.push("2", &texts(&files("2", 0)));
    installation.verified(UNIT, "2").await;
    installation.push("3", &texts(&files("3", 60)));
    let third = |status: &trimtab::api::types::UnitStatus| {
        waits(status) && status.effective.as_ref().is_some_and(|effective| effective.version == "3")
    };
    installation.wait(UNIT, "the third waits for its first wave", third).await;
    assert_eq!(installation.namespace.object("configmap/settings")["data"]["word"], "w2");
    installation.push("4", &texts(&files("4", 0)));
    installation.verified(UNIT, "4").await;
    assert_eq!(installation.namespace.object("configmap/settings")["data"]["word"], "w4");
}
