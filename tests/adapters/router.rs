//! The routers' adapter with real routers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Notify;
use trimtab::adapters::traffic::router::RouterTraffic;
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::id::{Epoch, GroupId};
use trimtab::domain::observed::{ObservedTraffic, Seen};
use trimtab::domain::span::Span;
use trimtab::ports::traffic::{RouteKind, SetTraffic, Traffic, TrafficError};

use super::world::{INSTALLATION, Process, ask, desired, route, unit, upstream};
use crate::support::{PATIENCE, eventually_async};

fn set(desired: &DesiredUnit, backends: &[(&str, u32, SocketAddr)]) -> SetTraffic {
    let backends = backends
        .iter()
        .map(|(group, weight, address)| {
            (GroupId::from(*group), (*weight, BTreeMap::from([(format!("{group}-0"), *address)])))
        })
        .collect();
    SetTraffic { rendered: desired.digest(), desired: desired.clone(), kind: RouteKind::Main, backends, hold: None }
}

async fn known(traffic: &RouterTraffic) -> Result<Option<ObservedTraffic>, String> {
    match traffic.observe(&unit(), RouteKind::Main).await {
        Seen::Known(observed) => Ok(observed),
        Seen::Unknown(reason) => Err(reason),
    }
}

async fn connect(routers: &[&Process]) -> RouterTraffic {
    let traffic = RouterTraffic::new(routers.iter().map(|router| router.socket()), INSTALLATION);
    eventually_async(PATIENCE, "the routers answer", || known(&traffic)).await;
    traffic
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_seen_and_served_and_counted() {
    let router = Process::started("router");
    let traffic = connect(&[&router]).await;
    let (listen, settings) = route();
    let desired = desired("1", &settings);
    let (good, bad) = (upstream(200, Arc::default()).await, upstream(500, Arc::default()).await);
    assert_eq!(known(&traffic).await.unwrap(), None);
    assert!(matches!(traffic.counters(&unit()).await, Seen::Unknown(_)));

    traffic.set(Epoch(2), &set(&desired, &[("aa", 3, good), ("bb", 1, bad)])).await.unwrap();
    let seen = known(&traffic).await.unwrap().unwrap();
    assert_eq!(seen.settings, traffic.settings(&desired, RouteKind::Main));
    assert_eq!(seen.backends[&GroupId::from("aa")].weight, 3);
    assert_eq!(seen.backends[&GroupId::from("bb")].endpoints, BTreeMap::from([("bb-0".to_owned(), bad)]));
    assert!(!seen.hold && seen.draining.is_empty());

    for _ in 0..8 {
        ask(listen, "/").await.unwrap();
    }
    let Seen::Known(counters) = traffic.counters(&unit()).await else { panic!("no counters") };
    let served = |group: &str| {
        let counters = &counters.groups[&GroupId::from(group)];
        (counters.served, counters.errors, counters.latency.iter().sum::<u64>())
    };
    assert_eq!((served("aa"), served("bb")), ((6, 0, 6), (0, 2, 2)));
    assert_eq!(counters.groups[&GroupId::from("aa")].latency.len(), counters.bounds_us.len() + 1);

    let mut held = set(&desired, &[("aa", 1, good)]);
    held.hold = Some(Span::from_secs(5));
    traffic.set(Epoch(2), &held).await.unwrap();
    assert!(known(&traffic).await.unwrap().unwrap().hold);
    traffic.remove(Epoch(2), &unit(), RouteKind::Main).await.unwrap();
    traffic.remove(Epoch(2), &unit(), RouteKind::Main).await.expect("again, harmlessly");
    assert_eq!(known(&traffic).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_seen_to_drain() {
    let router = Process::started("router");
    let traffic = connect(&[&router]).await;
    let (listen, settings) = route();
    let desired = desired("1", &settings);
    let slow = Arc::new(Notify::new());
    let (old, new) = (upstream(200, slow.clone()).await, upstream(200, Arc::default()).await);
    traffic.set(Epoch(1), &set(&desired, &[("aa", 1, old)])).await.unwrap();
    let waiting = tokio::spawn(async move { ask(listen, "/slow").await });
    let client = trimtab::net::client::Client::new(router.socket());
    eventually_async(PATIENCE, "the request is in flight", || async {
        let routes: Vec<serde_json::Value> = client.get("/v1/routes").await.map_err(|error| error.to_string())?;
        Ok::<_, String>((routes[0]["endpoints"][0]["inFlight"] == 1).then_some(()))
    })
    .await;

    traffic.set(Epoch(1), &set(&desired, &[("bb", 1, new)])).await.unwrap();
    let draining = known(&traffic).await.unwrap().unwrap().draining;
    assert_eq!(draining, BTreeMap::from([("aa-0".to_owned(), 1)]));
    let mut changes = traffic.changes();
    slow.notify_one();
    changes.changed().await.unwrap();
    assert!(known(&traffic).await.unwrap().unwrap().draining.is_empty());
    assert_eq!(waiting.await.unwrap(), Ok(200));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_routers_must_agree() {
    let (one, two) = (Process::started("router"), Process::started("router"));
    let both = connect(&[&one, &two]).await;
    let only_one = connect(&[&one]).await;
    let address = upstream(200, Arc::default()).await;
    // Each has a listener of its own, as on two machines: what they share is the test's network.
    let desired =
        desired("1", &json!({ "route": { "listen": "127.0.0.1:0", "path": "/", "drain": "1s", "timeout": "1s" } }));
    let first = set(&desired, &[("aa", 1, address)]);
    both.set(Epoch(4), &first).await.unwrap();
    assert!(known(&both).await.unwrap().is_some());

    only_one.set(Epoch(5), &set(&desired, &[("bb", 1, address)])).await.unwrap();
    let both = connect_anew(&[&one, &two]).await;
    let reason = known(&both).await.unwrap_err();
    assert!(reason.contains("have different settings"), "{reason}");
    assert_eq!(both.epoch().await.unwrap(), Epoch(5));
    let stale = both.set(Epoch(4), &first).await.unwrap_err();
    assert!(matches!(stale, TrafficError::Stale { epoch: Epoch(4), .. }), "{stale}");
    both.set(Epoch(5), &first).await.unwrap();
    let seen = known(&both).await.unwrap().unwrap();
    assert_eq!(seen.backends.keys().collect::<Vec<_>>(), [&GroupId::from("aa")]);
    both.check().await.unwrap();
}

async fn connect_anew(routers: &[&Process]) -> RouterTraffic {
    let traffic = RouterTraffic::new(routers.iter().map(|router| router.socket()), INSTALLATION);
    eventually_async(PATIENCE, "the routers answer", || async { traffic.check().await }).await;
    traffic
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_is_gone_is_unknown_and_its_return_is_noticed() {
    let mut router = Process::started("router");
    let traffic = connect(&[&router]).await;
    let (listen, settings) = route();
    let desired = desired("1", &settings);
    let address = upstream(200, Arc::default()).await;
    let request = set(&desired, &[("aa", 1, address)]);
    traffic.set(Epoch(1), &request).await.unwrap();
    let before = known(&traffic).await.unwrap().unwrap();

    let mut changes = traffic.changes();
    router.kill();
    changes.changed().await.unwrap();
    known(&traffic).await.unwrap_err();
    assert!(matches!(traffic.counters(&unit()).await, Seen::Unknown(_)));
    let lost = traffic.set(Epoch(1), &request).await.unwrap_err();
    assert!(matches!(lost, TrafficError::Unreachable { .. }), "{lost}");
    traffic.check().await.unwrap_err();

    router.start();
    changes.changed().await.unwrap();
    let after = eventually_async(PATIENCE, "the router is back", || known(&traffic)).await;
    assert_eq!(after, Some(before));
    eventually_async(PATIENCE, "it serves", || async {
        Ok::<_, String>((ask(listen, "/").await? == 200).then_some(()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_set_says_why() {
    let router = Process::started("router");
    let traffic = connect(&[&router]).await;
    let (_, settings) = route();
    let desired = desired("1", &settings);
    let mut request = set(&desired, &[]);
    request.backends.insert("aa".into(), (1, BTreeMap::new()));
    let refused = traffic.set(Epoch(1), &request).await.unwrap_err();
    assert!(matches!(refused, TrafficError::Refused { .. }), "{refused}");
    request.kind = RouteKind::Preview;
    let refused = traffic.set(Epoch(1), &request).await.unwrap_err();
    assert!(refused.to_string().contains("has no preview route"), "{refused}");
    assert_eq!(known(&traffic).await.unwrap(), None);

    let none = RouterTraffic::new([], INSTALLATION);
    let refused = none.set(Epoch(1), &set(&desired, &[])).await.unwrap_err();
    assert!(refused.to_string().contains("no router is configured"), "{refused}");
}
