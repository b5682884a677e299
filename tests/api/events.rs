//! Events as they happen.

use futures_util::StreamExt;

use super::bed::{READER, Served, daemon};
use crate::support::{PATIENCE, eventually_async};

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
