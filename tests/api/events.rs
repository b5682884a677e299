//! Events: in pages, as they happen, and what is told of those that were removed.

use std::fs::File;
use std::process::Stdio;
use std::sync::Arc;

use futures_util::StreamExt;
use jiff::Timestamp;
use trimtab::adapters::journal::sqlite::SqliteJournal;
use trimtab::app::installation_log;
use trimtab::app::log::Log;
use trimtab::app::unit_log;
use trimtab::domain::installation::InstallationState;
use trimtab::domain::unit::state::UnitState;
use trimtab::ports::journal::Journal;

use super::bed::{READER, Served, daemon, json, problem};
use crate::e2e::documents::UNIT;
use crate::support::{PATIENCE, Running, eventually_async, read as file, trimtab};

/// Reads a stream until `enough` says so.
async fn read(served: &Served, path: &str, last: Option<&str>, enough: impl Fn(&str) -> bool) -> String {
    let mut request = served.get(path).bearer_auth(READER).header("accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut pieces = answer.bytes_stream();
    let mut text = String::new();
    while !enough(&text) {
        let piece = tokio::time::timeout(PATIENCE, pieces.next()).await.unwrap_or_else(|_| panic!("so far: {text}"));
        text.push_str(&String::from_utf8_lossy(&piece.expect("the stream goes on").unwrap()));
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    let served = daemon("").await;
    eventually_async(PATIENCE, "something happened", async || {
        let events = served.read("/api/v1/events").await["items"].as_array().unwrap().clone();
        events.iter().any(|event| event["kind"] == "candidateSeen")
    })
    .await;
    let all = read(&served, "/api/v1/events", Some("0"), |text| text.contains("candidateSeen")).await;
    assert!(all.starts_with("id:1\n") || all.starts_with("id: 1\n"), "{all}");
    let newest = served.read("/api/v1/events?limit=1").await["items"][0]["id"].as_u64().unwrap();
    let after = newest.to_string();
    let follow = read(&served, "/api/v1/events?app=web", Some(&after), |text| text.contains("1.1.0"));
    let (text, _) = tokio::join!(follow, async { served.push("second", "1.1.0") });
    assert!(!text.contains("1.0.0\"") && !text.contains("headSeen"), "only what is new, and of the app: {text}");
    let gone = read(&served, "/api/v1/events", Some("999999"), |text| text.contains("gone")).await;
    assert!(gone.contains("resumesAfter"), "{gone}");
    let refused = served.get("/api/v1/events").bearer_auth(READER).header("last-event-id", "x").send().await.unwrap();
    assert_eq!(refused.status(), 400);
}

/// Waits until a commit is seen; the numbers of all events, the newest first.
async fn seen(served: &Served, version: &str) -> Vec<u64> {
    eventually_async(PATIENCE, &format!("{version} is seen"), async || {
        let events = served.read("/api/v1/events?limit=1000").await["items"].as_array().unwrap().clone();
        let there = events.iter().any(|event| event["kind"] == "candidateSeen" && event["data"]["version"] == version);
        there.then(|| events.iter().map(|event| event["id"].as_u64().unwrap()).collect())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_removed_is_gone_and_told_so() {
    let mut served = daemon("").await;
    seen(&served, "1.0.0").await;
    served.push("second", "1.1.0");
    let ids = seen(&served, "1.1.0").await;
    let page = served.read("/api/v1/events?limit=1").await;
    let cursor = page["next"].as_str().expect("there are more").to_owned();
    let older = served.read(&format!("/api/v1/events?limit=1&cursor={cursor}")).await;
    assert!(older["items"][0]["id"].as_u64() < page["items"][0]["id"].as_u64(), "{older}");

    served.bed.kill_daemon();
    remove_events(&served).await;
    served.bed.start_daemon();
    served.answers().await;
    let answer = served.get(&format!("/api/v1/events?cursor={cursor}")).bearer_auth(READER).send().await.unwrap();
    assert_eq!(answer.status(), 410);
    assert_eq!(problem(answer).await["code"], "gone");
    let again = served.get("/api/v1/events").bearer_auth(READER).send().await.unwrap();
    assert_eq!(again.status(), 200, "{}", json(again).await);
    let text = read(&served, "/api/v1/events", Some("1"), |text| text.contains("gone")).await;
    assert!(text.contains("event: gone") || text.contains("event:gone"), "{text}");
    let newest = *ids.iter().max().unwrap();
    let after = text.split("\"resumesAfter\":").nth(1).and_then(|rest| rest.split('}').next()?.parse::<u64>().ok());
    assert!(after.is_some_and(|after| after >= newest), "{newest}: {text}");
    assert!(!text.contains("candidateSeen"), "{text}");
}

/// Removes all events of a daemon that is stopped, as retention would.
async fn remove_events(served: &Served) {
    let path = served.bed.path("state/daemon/journal.db");
    let journal: Arc<dyn Journal> = Arc::new(SqliteJournal::open(&path, false).unwrap());
    let epoch = journal.claim("test").await.unwrap();
    let unit = unit_log::stream(&UNIT.parse().unwrap());
    Log::open(journal.clone(), epoch, unit, UnitState::default()).await.unwrap().snapshot().await;
    let installation = installation_log::STREAM.to_owned();
    Log::open(journal.clone(), epoch, installation, InstallationState::default()).await.unwrap().snapshot().await;
    while journal.remove_records(epoch, 0, Timestamp::UNIX_EPOCH).await.unwrap() > 0 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_watches_sees_each_event_once_over_a_restart_of_the_daemon() {
    let mut served = daemon("").await;
    seen(&served, "1.0.0").await;
    let (told, errors) = (served.bed.path("told"), served.bed.path("errors"));
    let mut command = trimtab();
    command.args(["events", "-w", "-o", "name", "web"]).env("TRIMTAB_SOCKET", served.bed.path("daemon.sock"));
    command.stdin(Stdio::null()).stdout(File::create(&told).unwrap()).stderr(File::create(&errors).unwrap());
    let _watching = Running::spawn(&mut command);
    eventually_async(PATIENCE, "the first events are shown", async || !file(&told).unwrap_or_default().is_empty())
        .await;
    served.bed.kill_daemon();
    served.push("second", "1.1.0");
    served.bed.start_daemon();
    served.answers().await;
    seen(&served, "1.1.0").await;
    let shown = || -> Vec<u64> { file(&told).unwrap().lines().map(|line| line.parse().unwrap()).collect() };
    eventually_async(PATIENCE, "each event of the app is shown once, in order", async || {
        let events = served.read("/api/v1/events?limit=1000&app=web").await["items"].as_array().unwrap().clone();
        let mut ids: Vec<u64> = events.iter().map(|event| event["id"].as_u64().unwrap()).collect();
        ids.reverse();
        let shown = shown();
        if shown == ids { Ok(()) } else { Err(format!("{shown:?} of {ids:?}; {:?}", file(&errors))) }
    })
    .await;
}
