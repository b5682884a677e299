//! Traffic between versions: shares as asked for, and no request lost by any change.

use std::time::Duration;

use trimtab::load::{Load, Plan, Report};

use super::bench::Bench;
use super::upstream::{Ledger, Upstream};
use crate::support::{PATIENCE, eventually_async};

/// Waits until so many more requests were answered.
pub async fn answers(load: &Load, more: u64) {
    let until = load.so_far().answered() + load.so_far().lost() + more;
    eventually_async(PATIENCE, "answers come", || async { load.so_far().answered() + load.so_far().lost() >= until })
        .await;
}

/// No request was lost, none was answered with an error, and each was served exactly once.
pub fn assert_whole(report: &Report, ledger: &Ledger) {
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
    assert_eq!(report.answered(), report.sent, "{report}");
    let wrong: Vec<_> = (0..report.sent).map(|n| report.id(n)).filter(|id| ledger.count(id) != 1).collect();
    assert!(wrong.is_empty(), "not served exactly once: {wrong:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_under_load_loses_nothing() {
    let ledger = Ledger::default();
    let bench = Bench::start().await;
    let [mut old_1, mut old_2, new_1, new_2] = ["v1", "v1", "v2", "v2"].map(|v| Upstream::with_ledger(v, &ledger));
    bench.put(&bench.route(&[("v1", 1, &[&old_1, &old_2])])).await;
    let load = Load::start(Plan::new(bench.listen, "test", 300.0));
    answers(&load, 100).await;

    for (stable, canary) in [(9, 1), (1, 1), (1, 9), (0, 1)] {
        bench.put(&bench.route(&[("v1", stable, &[&old_1, &old_2]), ("v2", canary, &[&new_1, &new_2])])).await;
        answers(&load, 60).await;
    }
    // Out of the route, drained, and only then ended.
    bench.put(&bench.route(&[("v2", 1, &[&new_1, &new_2])])).await;
    bench.until("v1 is drained", |status| status.endpoints.iter().all(|endpoint| !endpoint.draining)).await;
    old_1.kill();
    old_2.kill();
    answers(&load, 100).await;
    let report = load.stop().await;
    assert_whole(&report, &ledger);
    assert!(report.versions["v1"].answers > 0 && report.versions["v2"].answers > 0, "{report}");
    assert!(report.versions["v1"].last < report.versions["v2"].last, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weight_zero_takes_a_version_out_at_once() {
    let bench = Bench::start().await;
    let [stable, canary] = ["v1", "v2"].map(Upstream::start);
    bench.put(&bench.route(&[("v1", 1, &[&stable]), ("v2", 1, &[&canary])])).await;
    let load = Load::start(Plan { slow: 0.0, ..Plan::new(bench.listen, "test", 300.0) });
    answers(&load, 60).await;
    bench.put(&bench.route(&[("v1", 1, &[&stable]), ("v2", 0, &[&canary])])).await;
    // The change is confirmed: nothing new is sent to it. What was let in before may still be on its way.
    bench.until("the canary is idle", |status| status.endpoints[1].in_flight == 0).await;
    let served = canary.served();
    assert!(served > 0);
    answers(&load, 60).await;
    assert_eq!(canary.served(), served);
    assert_eq!(load.stop().await.lost(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shares_lie_within_a_binomial_interval() {
    let bench = Bench::start().await;
    let [stable, canary] = ["v1", "v2"].map(Upstream::start);
    bench.put(&bench.route(&[("v1", 90, &[&stable]), ("v2", 10, &[&canary])])).await;
    let load = Load::start(Plan { slow: 0.0, ..Plan::new(bench.listen, "test", 500.0) });
    answers(&load, 1_000).await;
    let report = load.stop().await;
    assert_eq!(report.lost(), 0, "{report}");
    let (n, share) = (report.answered() as f64, 0.1);
    let off = (report.share("v2") - share).abs();
    // Three standard deviations: a fair draw falls outside once in four hundred runs, and this one is more even than a fair draw.
    assert!(off <= 3.0 * (share * (1.0 - share) / n).sqrt(), "{report}");

    // The router counted the same.
    for (group, version) in [("v1", "v1"), ("v2", "v2")] {
        let stats = bench.group(group).await;
        assert_eq!(stats.classes, [0, report.versions[version].answers, 0, 0, 0]);
        assert_eq!(stats.latency.iter().sum::<u64>(), report.versions[version].answers);
        assert!(stats.latency_sum_ms > 0.0);
        assert_eq!(stats.failed, 0);
    }
    let metrics = bench.admin.bytes(http::Method::GET, "/metrics", None::<&()>).await.unwrap();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    let labels = "route=\"hello/staging/default\",group=\"v2\"";
    for line in [
        format!("trimtab_router_requests_total{{{labels},class=\"2xx\"}} {}", report.versions["v2"].answers),
        format!("trimtab_router_request_duration_seconds_count{{{labels}}} {}", report.versions["v2"].answers),
        format!("trimtab_router_failed_total{{{labels}}} 0"),
    ] {
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
}

#[tokio::test]
async fn the_least_busy_instance_gets_the_next_request() {
    let bench = Bench::start().await;
    let [busy, free] = ["v1", "v1"].map(Upstream::start);
    bench.put(&bench.route(&[("v1", 1, &[&busy])])).await;
    let hanging = super::bench::send(bench.listen, b"GET /hang HTTP/1.1\r\nHost: test\r\n\r\n");
    eventually_async(PATIENCE, "the request hangs", || async { busy.serving() == 1 }).await;
    bench.put(&bench.route(&[("v1", 1, &[&busy, &free])])).await;
    bench.until("both are up", |status| status.endpoints.iter().all(|e| e.health == super::health::UP)).await;
    for _ in 0..6 {
        assert_eq!(bench.get("/").await.status, 200);
    }
    assert_eq!((busy.served(), free.served()), (1, 6));
    drop(hanging);
}

#[tokio::test]
async fn hosts_and_paths_tell_routes_apart() {
    let bench = Bench::start().await;
    let [any, api, other] = ["any", "api", "other"].map(Upstream::start);
    let mut config = bench.route(&[("any", 1, &[&any])]);
    config.host = Some("a.test".into());
    bench.put(&config).await;
    let mut config = bench.route(&[("api", 1, &[&api])]);
    config.key = "api/staging/default".into();
    config.host = Some("A.test".into());
    config.path = "/api".into();
    assert_eq!(bench.put(&config).await.route.host.as_deref(), Some("a.test"));
    let mut config = bench.route(&[("other", 1, &[&other])]);
    config.key = "other/staging/default".into();
    config.host = Some("*.b.test".into());
    bench.put(&config).await;

    let cases = [
        ("a.test", "/", Some("any")),
        ("A.TEST:8080", "/api/x", Some("api")),
        ("a.test", "/apix", Some("any")),
        ("x.b.test", "/", Some("other")),
        ("b.test", "/", None),
    ];
    for (host, path, version) in cases {
        let answer = bench.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(answer.header("x-version"), version, "{host}{path}");
        if version.is_none() {
            assert_eq!(answer.status, 404);
            assert!(answer.body.contains("no route answers"), "{}", answer.body);
        }
    }
    // A target with a host of its own overrules Host.
    let answer = bench.send("GET http://x.b.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n").await;
    assert_eq!(answer.header("x-version"), Some("other"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_itself_sees_losses() {
    // A test that can't fail proves nothing: here is one request that is lost, and the load says so.
    let bench = Bench::start().await;
    let load = Load::start(Plan::new(bench.listen, "test", 100.0));
    eventually_async(PATIENCE, "losses", || async { load.so_far().lost() >= 5 }).await;
    let report = load.stop().await;
    assert_eq!(report.lost(), report.sent);
    assert_eq!(report.losses.keys().copied().collect::<Vec<_>>(), [trimtab::load::Loss::Refused]);
    assert!(report.latency.quantile(0.5) == Duration::ZERO);
}
