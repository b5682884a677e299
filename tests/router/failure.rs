//! Instances and clients that break off, hang or are not there.

use std::io::{Read, Write};
use std::net::TcpListener;

use trimtab::domain::span::Span;
use trimtab::load::{Load, Plan};
use trimtab::protocol::router::{Backend, Endpoint, EndpointHealth};

use super::bench::{Answer, Bench, nobody, read_until, send};
use super::traffic::answers;
use super::upstream::{Ledger, Upstream};
use crate::support::{PATIENCE, eventually_async};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_instance_costs_no_request_that_can_be_sent_again() {
    let ledger = Ledger::default();
    let bench = Bench::start().await;
    let [mut one, two] = ["v1", "v1"].map(|version| Upstream::with_ledger(version, &ledger));
    bench.put(&bench.route(&[("v1", 1, &[&one, &two])])).await;
    let load = Load::start(Plan { posts: 0.0, ..Plan::new(bench.listen, "test", 400.0) });
    answers(&load, 200).await;
    one.kill();
    answers(&load, 200).await;
    let status = bench.status().await;
    let dead = status.endpoints.iter().find(|endpoint| endpoint.endpoint.address == one.address).unwrap();
    assert_eq!(dead.health, EndpointHealth::Down);
    // It comes back by itself.
    let back = Upstream::start_at("v1", &ledger, one.address);
    bench.until("it is up again", |status| status.endpoints.iter().all(|e| e.health == EndpointHealth::Up)).await;
    answers(&load, 100).await;
    assert!(back.served() > 0);
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
}

#[tokio::test]
async fn another_group_steps_in_for_one_that_is_gone() {
    let bench = Bench::start().await;
    let stable = Upstream::start("v1");
    let mut route = bench.route(&[("v1", 1, &[&stable])]);
    route.backends.push(Backend { group: "v2".into(), weight: 1, endpoints: vec![nobody("gone")], testers: false });
    bench.put(&route).await;
    for _ in 0..10 {
        let body = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
        let answer = bench.send(body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "abc"), "nothing of it was sent before");
    }
}

#[tokio::test]
async fn without_any_instance_it_says_when_to_come_back() {
    let bench = Bench::start().await;
    let mut route = bench.route(&[]);
    bench.put(&route).await;
    let none = bench.get("/").await;
    route.backends.push(Backend {
        group: "v1".into(),
        weight: 1,
        endpoints: vec![nobody("a"), nobody("b")],
        testers: false,
    });
    bench.put(&route).await;
    let unreachable = bench.get("/").await;
    for answer in [none, unreachable] {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
        assert!(answer.body.contains("no instance"), "{}", answer.body);
    }
    assert_eq!(bench.group("v1").await.failed, 2, "both were tried");
}

#[tokio::test]
async fn a_truncated_answer_never_looks_whole() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let with_length = bench.get("/truncated").await;
    assert_eq!(with_length.header("content-length"), Some("100"));
    assert_eq!(with_length.body, "first part");
    let chunked = bench.get("/truncated-chunks").await;
    assert!(chunked.body.contains("first part") && !chunked.body.contains("0\r\n\r\n"), "{chunked:?}");
    // Without length and chunks the end of the connection is the end of the body: only a reset says that it is not.
    let old = bench.send("GET /truncated-chunks HTTP/1.0\r\nHost: test\r\n\r\n").await;
    assert!(old.reset, "{old:?}");
    let stats = bench.group("v1").await;
    assert_eq!((stats.failed, stats.classes), (3, [0, 3, 0, 0, 0]));
    bench.until("nothing is in flight", |status| status.endpoints[0].in_flight == 0).await;
}

#[tokio::test]
async fn an_instance_that_hangs_is_given_up() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let mut route = bench.route(&[("v1", 1, &[&upstream])]);
    route.timeout = Span::from_millis(100);
    bench.put(&route).await;
    let answer = bench.get("/hang").await;
    assert_eq!(answer.status, 504);
    assert!(answer.body.contains("too long"), "{}", answer.body);
    eventually_async(PATIENCE, "the instance is told", || async { upstream.serving() == 0 }).await;
    assert_eq!(bench.group("v1").await.failed, 1);
}

#[tokio::test]
async fn a_client_that_stops_sending_is_not_the_instances_fault() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let mut route = bench.route(&[("v1", 1, &[&upstream])]);
    route.timeout = Span::from_millis(200);
    bench.put(&route).await;
    // The instance that waits for the whole body: one that reads before it answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    route.backends[0].endpoints = vec![Endpoint { id: "raw".into(), address: listener.local_addr().unwrap() }];
    bench.put(&route).await;
    let stalled = send(bench.listen, b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nabc");
    let answer = tokio::task::spawn_blocking(|| Answer::read(stalled)).await.unwrap();
    assert_eq!(answer.status, 408, "{answer:?}");
    assert_eq!(bench.group("v1").await.failed, 0);
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_request_along() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    for path in ["/hang", "/drip"] {
        let mut stream = send(bench.listen, format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        if path == "/drip" {
            upstream.watch.go.notify_one();
            read_until(&mut stream, "part 0\n");
        }
        eventually_async(PATIENCE, "it is being served", || async { upstream.serving() == 1 }).await;
        drop(stream);
        eventually_async(PATIENCE, "the instance is told", || async { upstream.serving() == 0 }).await;
        bench.until("nothing is in flight", |status| status.endpoints[0].in_flight == 0).await;
    }
    assert_eq!(bench.group("v1").await.failed, 0, "not the instance's fault");
}

/// An instance that answers each connection's first request and then closes it without a word, as one with a short
/// keep-alive time does.
fn closes_after_each_answer() -> (Endpoint, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).unwrap_or(0);
            if bytes[..length].starts_with(b"GET /end") {
                return;
            }
            // Nothing came on a connection that only looked whether it can be made.
            if length > 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
                // Takes the next request in, and closes instead of answering.
                let _ = stream.read(&mut bytes);
            }
        }
    });
    (Endpoint { id: "closer".into(), address }, thread)
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_under_a_request_is_not_the_clients_problem() {
    let bench = Bench::start_with(&["--threads", "1"]).await;
    let (endpoint, thread) = closes_after_each_answer();
    let mut other = Upstream::start("v1");
    let mut route = bench.route(&[]);
    route.backends.push(Backend {
        group: "v1".into(),
        weight: 1,
        endpoints: vec![endpoint.clone(), other.endpoint()],
        testers: false,
    });
    bench.put(&route).await;
    for _ in 0..20 {
        assert_eq!(bench.get("/").await.status, 200);
    }
    // What can't be sent twice is refused rather than repeated.
    other.kill();
    route.backends[0].endpoints.truncate(1);
    bench.put(&route).await;
    let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    let statuses: Vec<u16> = [bench.send(post).await, bench.send(post).await].map(|answer| answer.status).into();
    assert!(statuses.contains(&502), "{statuses:?}");
    drop(send(endpoint.address, b"GET /end HTTP/1.1\r\n\r\n"));
    drop(bench);
    thread.join().unwrap();
}
