//! The audit log.

use reqwest::Method;
use rusqlite::Connection;
use serde_json::Value;

use crate::api::bed::{OPERATOR, problem, whole};
use crate::e2e::bed::Bed;
use crate::e2e::documents::{BROKEN, UNIT, bed, web};
use crate::support::{PATIENCE, eventually, eventually_async};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_06_an_audit_log_that_cannot_be_written_refuses_what_changes_something() {
    let served = whole("").await;
    served.bed.verified(UNIT, "1.0.0").await;
    let command = format!("/api/v1/units/{UNIT}/command");
    let suspend = || {
        let request = served.request(Method::POST, &command).bearer_auth(OPERATOR);
        request.header("content-type", "application/json").body("{\"command\":\"suspend\"}").send()
    };

    let lock = Connection::open(served.bed.path("state/daemon/audit.db")).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let refused = problem(suspend().await.unwrap()).await;
    assert_eq!(refused["status"], 503, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("nothing was done"), "{refused}");
    assert!(!served.bed.unit(UNIT).await.unwrap().suspended, "nothing was applied");
    served.push("second", "1.1.0");
    eventually_async(PATIENCE, "the reason is told", async || {
        let error = served.bed.api().daemon().await.ok()?.source_error?;
        error.contains("audit").then_some(())
    })
    .await;
    assert_eq!(served.bed.unit(UNIT).await.unwrap().candidate.unwrap().version, "1.0.0");
    assert_eq!(served.bed.get("web.dev.localhost").await.unwrap().1, "1.0.0", "what is known is kept true");

    lock.execute_batch("ROLLBACK").unwrap();
    served.bed.verified(UNIT, "1.1.0").await;
    assert_eq!(suspend().await.unwrap().status(), 200);
    let audit = served.read("/api/v1/audit").await;
    let records = audit["items"].as_array().unwrap();
    let commits = records.iter().filter(|record| record["action"] == "commit");
    assert!(commits.clone().all(|record| record["actor"] == "git Tester <tester@example.org>"), "{audit}");
    assert_eq!(commits.count(), 2, "{audit}");
    let [.., asked, done] = records.as_slice() else { panic!("{audit}") };
    assert_eq!((&asked["actor"], &asked["outcome"]), (&"token ci".into(), &"asked".into()), "{audit}");
    assert_eq!(asked["detail"], "{\"command\":\"suspend\"}");
    assert_eq!((&done["of"], &done["outcome"]), (&asked["seq"], &"done".into()), "{audit}");

    let verified = served.bed.cli(&["audit", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let lines = served.bed.cli(&["audit", "export"]);
    assert_eq!(String::from_utf8_lossy(&lines.stdout).lines().count(), records.len());
    let tampered = Connection::open(served.bed.path("state/daemon/audit.db")).unwrap();
    tampered.execute_batch("DROP TRIGGER records_never_change; UPDATE records SET actor = 'x' WHERE seq = 2").unwrap();
    let verified = served.bed.cli(&["audit", "verify"]);
    assert_eq!(verified.status.code(), Some(6), "{verified:?}");
    assert!(String::from_utf8_lossy(&verified.stderr).contains("record 2"), "{verified:?}");
}

/// What the daemon did by itself, by the audit log: action and outcome, sorted.
fn own(bed: &Bed) -> Vec<(String, String)> {
    let lines = bed.told(&["audit", "export"]);
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let own = records.filter(|record| record["actor"] == "trimtab");
    let mut told: Vec<_> = own
        .map(|record| {
            assert_eq!(record["subject"], UNIT, "{record}");
            let detail: Value = serde_json::from_str(record["detail"].as_str().unwrap()).unwrap();
            assert!(detail["reason"].is_string() || detail["commit"].is_string(), "{record}");
            (record["action"].as_str().unwrap().to_owned(), record["outcome"].as_str().unwrap().to_owned())
        })
        .collect();
    told.sort();
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_does_not_wait_for_the_audit_log_and_is_recorded_once() {
    let mut bed = bed("rolling");
    bed.verified(UNIT, "1.0.0").await;
    bed.push("bad", &[("release.yaml", &web("2.0.0", BROKEN))]);
    bed.wait(UNIT, "the bad version rolls", |status| {
        status.effective.as_ref().is_some_and(|effective| effective.version == "2.0.0")
    })
    .await;
    let lock = Connection::open(bed.path("state/daemon/audit.db")).unwrap();
    lock.busy_timeout(PATIENCE).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    bed.wait(UNIT, "1.0.0 has the traffic", |status| {
        status.rollback.is_some() && status.groups.iter().all(|group| group.version == "1.0.0")
    })
    .await;
    // What is in the journal then is recorded by the next daemon.
    bed.kill_daemon();
    lock.execute_batch("ROLLBACK").unwrap();
    drop(lock);
    bed.start_daemon();
    bed.verified(UNIT, "1.0.0").await;
    let expected = [
        ("abort", "turned back"),
        ("abort", "turning back"),
        ("quarantine", "done"),
        ("rollback", "decided"),
        ("rollback", "settled"),
    ];
    let expected = expected.map(|(action, outcome)| (action.to_owned(), outcome.to_owned()));
    // A commit whose making was cut off is made again; one that was pushed then is found.
    let split = |bed: &Bed| own(bed).into_iter().partition::<Vec<_>, _>(|(action, _)| action == "revert");
    eventually(PATIENCE, "all of it is recorded", || {
        let (reverts, others) = split(&bed);
        if others.len() >= expected.len() { Ok(()) } else { Err(format!("{reverts:?} {others:?}")) }
    });
    let (reverts, others) = split(&bed);
    assert_eq!(others, expected);
    assert!(reverts.contains(&("revert".into(), "made".into())), "{reverts:?}");
    // Nor is anything recorded again by one that begins with what is recorded.
    bed.kill_daemon();
    bed.start_daemon();
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    assert_eq!(split(&bed), (reverts, expected.to_vec()));
    assert!(bed.told(&["audit", "verify"]).contains("intact"), "{}", bed.told(&["audit", "verify"]));
}
