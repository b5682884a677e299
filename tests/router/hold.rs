//! Requests that wait while an app is being replaced.

use std::net::TcpStream;

use trimtab::domain::span::Span;
use trimtab::load::{Load, Plan};
use trimtab::protocol::router::{Hold, RouteConfig};

use super::bench::{Answer, Bench, send};
use super::traffic::{answers, assert_whole};
use super::upstream::{Ledger, Upstream};

fn held(mut route: RouteConfig, timeout: Span, max: u32) -> RouteConfig {
    route.hold = Some(Hold { timeout, max });
    route
}

fn waits(bench: &Bench) -> TcpStream {
    send(bench.listen, b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
}

#[tokio::test]
async fn requests_wait_up_to_a_number_and_go_on() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let route = bench.route(&[("v1", 1, &[&upstream])]);
    bench.put(&held(route.clone(), Span::from_secs(60), 3)).await;
    let waiting: Vec<TcpStream> = (0..3).map(|_| waits(&bench)).collect();
    bench.until("three wait", |status| status.held == 3).await;

    let refused = bench.get("/").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(refused.body.contains("too many requests wait"), "{}", refused.body);
    assert_eq!(upstream.served(), 0);

    let status = bench.put(&route).await;
    assert_eq!(status.held, 0);
    for stream in waiting {
        assert_eq!(Answer::read(stream).status, 200);
    }
    assert_eq!(upstream.served(), 3);
}

#[tokio::test]
async fn a_request_waits_no_longer_than_it_may() {
    let bench = Bench::start().await;
    bench.put(&held(bench.route(&[]), Span::from_millis(50), 10)).await;
    let answer = bench.get("/").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert!(answer.body.contains("longer than a request may wait"), "{}", answer.body);
    bench.until("nobody waits", |status| status.held == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_waits_no_more() {
    let bench = Bench::start().await;
    bench.put(&held(bench.route(&[]), Span::from_secs(60), 10)).await;
    let stream = waits(&bench);
    bench.until("one waits", |status| status.held == 1).await;
    drop(stream);
    bench.until("nobody waits", |status| status.held == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recreation_under_load_loses_nothing() {
    let ledger = Ledger::default();
    let bench = Bench::start().await;
    let mut old = Upstream::with_ledger("v1", &ledger);
    bench.put(&bench.route(&[("v1", 1, &[&old])])).await;
    let load = Load::start(Plan::new(bench.listen, "test", 200.0));
    answers(&load, 100).await;

    bench.put(&held(bench.route(&[]), Span::from_secs(60), 10_000)).await;
    bench.until("v1 is drained", |status| status.endpoints.is_empty()).await;
    old.kill();
    bench.until("some wait", |status| status.held > 20).await;
    let new = Upstream::with_ledger("v2", &ledger);
    bench.put(&held(bench.route(&[("v2", 1, &[&new])]), Span::from_secs(60), 10_000)).await;
    bench.put(&bench.route(&[("v2", 1, &[&new])])).await;
    answers(&load, 200).await;
    let report = load.stop().await;
    assert_whole(&report, &ledger);
    assert!(report.versions["v1"].last < report.versions["v2"].first, "never both: {report}");
}
