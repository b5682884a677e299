//! Traces as a collector gets them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpListener;

use super::bed::{SECRET, daemon, whole};
use crate::e2e::documents::UNIT;
use crate::support::{PATIENCE, eventually_async, free_port, read};

/// A span as it came over the wire.
#[derive(Clone, Debug, Default)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    attributes: BTreeMap<String, String>,
    service: String,
}

type Got = Arc<Mutex<Vec<Span>>>;

/// A collector on a port.
async fn collector() -> (u16, Got) {
    async fn take(State(got): State<Got>, headers: HeaderMap, body: Bytes) -> StatusCode {
        assert_eq!(headers["content-type"], "application/x-protobuf");
        got.lock().unwrap().extend(spans(&body));
        StatusCode::OK
    }
    let got = Got::default();
    let routes = Router::new().route("/v1/traces", post(take)).with_state(got.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (port, got)
}

/// The fields of a message in protobuf's form: numbers, and the bytes of those that have a length.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                varint(&mut bytes);
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(length);
        found.push((key >> 3, value));
        bytes = rest;
    }
    found
}

fn all(bytes: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(bytes).into_iter().filter(move |(found, _)| *found == number).map(|(_, value)| value)
}

/// `key: value` where the value is a text.
fn attributes<'a>(list: impl Iterator<Item = &'a [u8]>) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let pairs = list.filter_map(|pair| {
        let value = all(pair, 2).next().and_then(|value| all(value, 1).next().map(text))?;
        Some((text(all(pair, 1).next()?), value))
    });
    pairs.collect()
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans(request: &[u8]) -> Vec<Span> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut found = Vec::new();
    for resource_spans in all(request, 1) {
        let resource = attributes(all(resource_spans, 1).flat_map(|resource| all(resource, 1).collect::<Vec<_>>()));
        for span in all(resource_spans, 2).flat_map(|scope| all(scope, 2).collect::<Vec<_>>()) {
            let one = |number| all(span, number).next().unwrap_or_default();
            found.push(Span {
                trace: hex(one(1)),
                id: hex(one(2)),
                parent: hex(one(4)),
                name: String::from_utf8(one(5).to_vec()).unwrap(),
                attributes: attributes(all(span, 9)),
                service: resource.get("service.name").cloned().unwrap_or_default(),
            });
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_is_traced_from_the_source_to_the_last_action() {
    let (port, got) = collector().await;
    let served = whole(&format!("[telemetry]\notlp_endpoint = 'http://127.0.0.1:{port}'\n")).await;
    served.bed.verified(UNIT, "1.0.0").await;
    let rollouts = served.read("/api/v1/rollouts").await;
    let rollout = rollouts["items"][0]["id"].as_str().unwrap().to_owned();
    let revision = rollouts["items"][0]["revision"].as_str().unwrap().to_owned();
    // What was not sent yet is sent at the end.
    kill(Pid::from_raw(served.bed.daemon_pid() as i32), Signal::SIGTERM).unwrap();
    eventually_async(PATIENCE, "the last spans come", async || {
        got.lock().unwrap().iter().any(|span| span.name == "GET /api/v1/rollouts")
    })
    .await;
    let spans = got.lock().unwrap().clone();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).cloned().collect::<Vec<_>>();
    assert!(spans.iter().all(|span| span.service == "trimtab"), "{spans:#?}");

    let pass = named("reconcile").into_iter().find(|span| span.attributes.get("revision") == Some(&revision));
    let pass = pass.unwrap_or_else(|| panic!("no pass took {revision} in: {spans:#?}"));
    for name in ["reconcile.fetch", "reconcile.render", "reconcile.take_in"] {
        let inner = named(name).into_iter().find(|span| span.parent == pass.id);
        assert!(inner.is_some_and(|inner| inner.trace == pass.trace), "{name}: {spans:#?}");
    }
    assert!(named("plan").iter().any(|span| span.attributes["unit"] == UNIT), "{spans:#?}");
    let steps = named("rollout.step");
    assert!(!steps.is_empty() && steps.iter().all(|step| step.trace == rollout), "{rollout}: {spans:#?}");
    assert!(steps.iter().all(|step| step.attributes["rollout"] == rollout && step.attributes["unit"] == UNIT));
    for kind in ["ensure_group", "set_traffic"] {
        let action = named("rollout.action").into_iter().find(|action| action.attributes["action"] == kind);
        let action = action.unwrap_or_else(|| panic!("{kind}: {spans:#?}"));
        assert!(steps.iter().any(|step| step.id == action.parent), "{action:?}");
    }
    assert!(!format!("{spans:?}").contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_does_not_answer_is_told_once_and_disturbs_nothing() {
    let served = daemon(&format!("[telemetry]\notlp_endpoint = 'http://127.0.0.1:{}'\n", free_port())).await;
    let log = || read(served.bed.path("daemon.log")).unwrap();
    let told = || log().lines().filter(|line| line.contains("traces can't be sent")).count();
    eventually_async(PATIENCE, "it is told", async || told() > 0).await;
    served.push("second", "1.1.0");
    eventually_async(PATIENCE, "the daemon goes on", async || {
        let unit = served.read(&format!("/api/v1/units/{UNIT}")).await;
        unit["candidate"]["version"] == "1.1.0"
    })
    .await;
    let pid = served.bed.daemon_pid();
    kill(Pid::from_raw(pid as i32), Signal::SIGTERM).unwrap();
    eventually_async(PATIENCE, "the daemon ends", async || log().contains("stopping")).await;
    assert_eq!(told(), 1, "{}", log());
}
