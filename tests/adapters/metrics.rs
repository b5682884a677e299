//! Measurements: of a real router, and by HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use trimtab::adapters::metrics::Meter;
use trimtab::adapters::outgoing::Destinations;
use trimtab::adapters::traffic::router::RouterTraffic;
use trimtab::domain::action::Which;
use trimtab::domain::analysis::{Bound, Measure, Measurement, Outcome, RouterMeasure};
use trimtab::domain::id::{Epoch, GroupId};
use trimtab::domain::observed::ObservedBackend;
use trimtab::domain::observed::Seen;
use trimtab::domain::span::Span;
use trimtab::ports::metrics::{MeasureRequest, Metrics};
use trimtab::ports::traffic::{SetTraffic, Traffic};

use super::world::{INSTALLATION, Process, ask, desired, route, unit, upstream};
use crate::support::{PATIENCE, eventually_async};

fn request(measure: Measure, baseline: Option<Value>) -> MeasureRequest {
    MeasureRequest { unit: unit(), measure, target: "bb".into(), stable: Some("aa".into()), baseline }
}

fn error_rate() -> Measure {
    Measure::Router(RouterMeasure {
        error_rate: Some(Bound::AtMost(10_000)),
        latency_p50: None,
        latency_p95: None,
        latency_p99: Some(Bound::AtMost(60_000_000)),
        at_least: 5,
    })
}

async fn measure(meter: &Meter, baseline: &Option<Value>) -> Measurement {
    meter.measure(&request(error_rate(), baseline.clone())).await
}

async fn ask_often(listen: SocketAddr) {
    for _ in 0..20 {
        ask(listen, "/").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_router_is_measured_from_the_beginning_of_the_analysis() {
    let mut router = Process::started("router");
    let traffic = Arc::new(RouterTraffic::new([router.socket()], INSTALLATION));
    let meter = Meter::new(traffic.clone(), Destinations::default());
    assert_eq!(meter.baseline(&unit(), &error_rate()).await, None);
    let (listen, settings) = route();
    let desired = desired("1", &settings);
    let (good, bad) = (upstream(200, Arc::default()).await, upstream(500, Arc::default()).await);
    let set = |target: SocketAddr| SetTraffic {
        rendered: desired.digest(),
        desired: desired.clone(),
        kind: Which::Main,
        backends: [("aa", good), ("bb", target)]
            .map(|(group, address)| {
                let endpoints = BTreeMap::from([(format!("{group}-0"), address)]);
                (GroupId::from(group), ObservedBackend { weight: 1, endpoints, testers: false })
            })
            .into(),
        hold: None,
    };
    eventually_async(PATIENCE, "the router takes the route", || async { traffic.set(Epoch(1), &set(bad)).await }).await;
    ask_often(listen).await;
    let baseline = meter.baseline(&unit(), &error_rate()).await;
    let few = measure(&meter, &baseline).await;
    assert_eq!(few.outcome, Outcome::Inconclusive, "{few:?}");

    ask_often(listen).await;
    let failed = measure(&meter, &baseline).await;
    assert_eq!(failed.outcome, Outcome::Failure, "{failed:?}");
    assert!(failed.detail.starts_with("error rate 100% of "), "{failed:?}");

    // What came before an analysis is not held against it.
    traffic.set(Epoch(1), &set(good)).await.unwrap();
    let baseline = meter.baseline(&unit(), &error_rate()).await;
    ask_often(listen).await;
    let passed = measure(&meter, &baseline).await;
    assert_eq!(passed.outcome, Outcome::Success, "{passed:?}");

    router.kill();
    let gone = measure(&meter, &baseline).await;
    assert_eq!(gone.outcome, Outcome::Inconclusive, "{gone:?}");
    router.start();
    eventually_async(PATIENCE, "the router counts", || async {
        matches!(traffic.counters(&unit()).await, Seen::Known(_)).then_some(()).ok_or("not yet".to_owned())
    })
    .await;
    let restarted = measure(&meter, &baseline).await;
    assert_eq!(restarted.outcome, Outcome::Inconclusive, "{restarted:?}");
    assert!(restarted.detail.contains("restarted"), "{restarted:?}");
    eventually_async(PATIENCE, "it serves", || async {
        (ask(listen, "/").await? == 200).then_some(()).ok_or("not yet".to_owned())
    })
    .await;
    ask_often(listen).await;
    let anew = measure(&meter, &baseline).await;
    assert_eq!(anew.outcome, Outcome::Success, "{anew:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_a_measurement() {
    let meter = Meter::new(Arc::new(RouterTraffic::new([], INSTALLATION)), Destinations::default());
    for (status, expected) in
        [(204, Outcome::Success), (302, Outcome::Inconclusive), (404, Outcome::Failure), (503, Outcome::Failure)]
    {
        let address = upstream(status, Arc::default()).await;
        let get = |path: &str, timeout| Measure::Http {
            url: format!("http://user:pass@{address}{path}?key=secret"),
            timeout,
        };
        let seen = meter.measure(&request(get("/", Span::from_secs(30)), None)).await;
        assert_eq!(seen.outcome, expected, "{seen:?}");
        let slow = meter.measure(&request(get("/slow", Span::from_millis(50)), None)).await;
        assert_eq!(slow.outcome, Outcome::Inconclusive, "{slow:?}");
        for detail in [seen.detail, slow.detail] {
            assert!(!detail.contains("secret") && !detail.contains("pass"), "{detail}");
        }
    }
    let nobody = Measure::Http { url: "http://127.0.0.1:1/".into(), timeout: Span::from_secs(30) };
    let seen = meter.measure(&request(nobody, None)).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive, "{seen:?}");
    let script = serde_json::from_value(json!({ "command": ["true"], "timeout": "1s", "outputLimit": 1 })).unwrap();
    let seen = meter.measure(&request(Measure::Script(script), None)).await;
    assert_eq!(seen.outcome, Outcome::Inconclusive, "{seen:?}");
}
