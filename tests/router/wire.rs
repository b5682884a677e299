//! The messages of the router as they stand on the wire. A daemon of one version speaks to a router of another, so what is
//! written here may be added to and never changed.

use serde_json::{Value, json};
use trimtab::domain::digest::Digest;
use trimtab::domain::id::Epoch;
use trimtab::domain::span::Span;
use trimtab::domain::workload::{Check, Probe};
use trimtab::protocol::router::{
    Backend, Endpoint, EndpointHealth, EndpointStatus, GroupStats, Hold, PutRoute, RouteConfig, RouteStatus, Sticky,
    latency_buckets_ms,
};
use trimtab::protocol::{ErrorBody, ErrorCode, Hello, Markers};

fn route() -> RouteConfig {
    RouteConfig {
        key: "hello/staging/default#preview".into(),
        markers: Markers {
            installation: "home".into(),
            unit: "hello/staging/default".parse().unwrap(),
            rendered: Digest::from_text("r1:0123"),
            version: "1.4.2".into(),
        },
        listen: "127.0.0.1:8080".parse().unwrap(),
        host: Some("hello.localhost".into()),
        path: "/".into(),
        backends: vec![Backend {
            group: "0123456789ab".into(),
            weight: 90,
            endpoints: vec![Endpoint { id: "0123456789ab-1".into(), address: "127.0.0.1:20001".parse().unwrap() }],
            testers: false,
        }],
        hold: Some(Hold { timeout: Span::from_secs(30), max: 1_000 }),
        sticky: Some(Sticky { cookie: "trimtab".into(), max_age: Span::from_secs(3_600) }),
        probe: Some(Probe {
            check: Check::Http { path: "/healthz".into() },
            interval: Span::from_secs(1),
            timeout: Span::from_millis(500),
            healthy_after: 2,
            unhealthy_after: 3,
        }),
        drain: Span::from_secs(30),
        timeout: Span::from_secs(60),
        tls: None,
        upstream: Default::default(),
        testers: Vec::new(),
    }
}

fn route_json() -> Value {
    json!({
        "key": "hello/staging/default#preview",
        "markers": {
            "installation": "home",
            "unit": "hello/staging/default",
            "rendered": "r1:0123",
            "version": "1.4.2",
        },
        "listen": "127.0.0.1:8080",
        "host": "hello.localhost",
        "path": "/",
        "backends": [{
            "group": "0123456789ab",
            "weight": 90,
            "endpoints": [{ "id": "0123456789ab-1", "address": "127.0.0.1:20001" }],
        }],
        "hold": { "timeout": "30s", "max": 1000 },
        "sticky": { "cookie": "trimtab", "maxAge": "1h" },
        "probe": {
            "check": { "http": { "path": "/healthz" } },
            "interval": "1s",
            "timeout": "500ms",
            "healthyAfter": 2,
            "unhealthyAfter": 3,
        },
        "drain": "30s",
        "timeout": "1m",
    })
}

/// Writes as expected, and reads back what it wrote, also with a field that a later version added.
fn golden<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, json: Value) {
    assert_eq!(serde_json::to_value(value).unwrap(), json);
    let mut later = json;
    later["aFieldOfALaterVersion"] = json!({ "some": ["thing"] });
    assert_eq!(&serde_json::from_value::<T>(later).unwrap(), value);
}

#[test]
fn a_route_to_be_set() {
    let put = PutRoute { version: 1, epoch: Epoch(7), route: route() };
    golden(&put, json!({ "version": 1, "epoch": 7, "route": route_json() }));
}

#[test]
fn what_is_left_out_has_its_default() {
    let mut text = route_json();
    for optional in ["host", "hold", "sticky", "probe"] {
        text.as_object_mut().unwrap().remove(optional);
    }
    let bare = RouteConfig { host: None, hold: None, sticky: None, probe: None, ..route() };
    golden(&bare, text);
}

#[test]
fn a_status() {
    let status = RouteStatus {
        route: route(),
        start: "a start".into(),
        endpoints: vec![EndpointStatus {
            group: "0123456789ab".into(),
            endpoint: route().backends[0].endpoints[0].clone(),
            health: EndpointHealth::Up,
            in_flight: 3,
            draining: false,
        }],
        groups: vec![GroupStats {
            group: "0123456789ab".into(),
            classes: [0, 10, 2, 1, 4],
            failed: 5,
            latency: vec![1, 2],
            latency_sum_ms: 12.5,
        }],
        held: 6,
    };
    golden(
        &status,
        json!({
            "route": route_json(),
            "start": "a start",
            "endpoints": [{
                "group": "0123456789ab",
                "endpoint": { "id": "0123456789ab-1", "address": "127.0.0.1:20001" },
                "health": "up",
                "inFlight": 3,
                "draining": false,
            }],
            "groups": [{
                "group": "0123456789ab",
                "classes": [0, 10, 2, 1, 4],
                "failed": 5,
                "latency": [1, 2],
                "latencySumMs": 12.5,
            }],
            "held": 6,
        }),
    );
    for (health, word) in [(EndpointHealth::Unknown, "unknown"), (EndpointHealth::Down, "down")] {
        assert_eq!(serde_json::to_value(health).unwrap(), word);
    }
}

#[test]
fn who_answers_and_what_failed() {
    let hello = Hello {
        protocol: 1,
        version: "0.1.0".into(),
        start: "a start".into(),
        pid: 42,
        epoch: Epoch(7),
        limitations: vec![],
    };
    golden(
        &hello,
        json!({ "protocol": 1, "version": "0.1.0", "start": "a start", "pid": 42, "epoch": 7, "limitations": [] }),
    );
    let codes = [
        (ErrorCode::StaleEpoch, "staleEpoch"),
        (ErrorCode::Invalid, "invalid"),
        (ErrorCode::NotFound, "notFound"),
        (ErrorCode::Version, "version"),
        (ErrorCode::Failed, "failed"),
    ];
    for (code, word) in codes {
        golden(&ErrorBody { code, message: "why".into() }, json!({ "code": word, "message": "why" }));
    }
}

#[test]
fn the_buckets_do_not_move() {
    let buckets = latency_buckets_ms();
    assert_eq!(buckets.len(), 61);
    assert_eq!(buckets[..5], [0.1, 0.125, 0.156, 0.195, 0.244]);
    assert!(*buckets.last().unwrap() > 60_000.0 && *buckets.last().unwrap() < 70_000.0);
    assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]));
}
