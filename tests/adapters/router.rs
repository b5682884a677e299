//! The routers' adapter with real routers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use tokio::sync::Notify;
use trimtab::adapters::traffic::router::RouterTraffic;
use trimtab::domain::action::Which;
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::id::{Epoch, GroupId};
use trimtab::domain::observed::{ObservedBackend, ObservedTraffic, Seen};
use trimtab::domain::span::Span;
use trimtab::net::server::bind;
use trimtab::ports::traffic::{SetTraffic, Traffic, TrafficError};
use trimtab::protocol::router::{GroupStats, PutRoute, RouteStatus, latency_buckets_ms};

use super::world::{INSTALLATION, Process, ask, desired, route, unit, upstream};
use crate::support::{PATIENCE, eventually_async};

fn set(desired: &DesiredUnit, backends: &[(&str, u32, SocketAddr)]) -> SetTraffic {
    let backends = backends
        .iter()
        .map(|(group, weight, address)| {
            let endpoints = BTreeMap::from([(format!("{group}-0"), *address)]);
            (GroupId::from(*group), ObservedBackend { weight: *weight, endpoints, testers: false })
        })
        .collect();
    SetTraffic { rendered: desired.digest(), desired: desired.clone(), kind: Which::Main, backends, hold: None }
}

async fn known(traffic: &RouterTraffic) -> Result<Option<ObservedTraffic>, String> {
    match traffic.observe(&unit(), Which::Main).await {
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
    assert_eq!(seen.settings, traffic.settings(&desired, Which::Main));
    assert_eq!(seen.backends[&GroupId::from("aa")].weight, 3);
    assert_eq!(seen.backends[&GroupId::from("bb")].endpoints, BTreeMap::from([("bb-0".to_owned(), bad)]));
    assert!(!seen.hold && seen.draining.is_empty());

    for _ in 0..40 {
        ask(listen, "/").await.unwrap();
    }
    let Seen::Known(counters) = traffic.counters(&unit()).await else { panic!("no counters") };
    let group = |id: &str| counters.groups[&GroupId::from(id)].clone();
    let (aa, bb) = (group("aa"), group("bb"));
    assert_eq!((aa.served + bb.errors, aa.errors, bb.served), (40, 0, 0));
    assert!(bb.errors > 0 && aa.served > bb.errors, "{aa:?} {bb:?}");
    assert_eq!(aa.latency.iter().sum::<u64>(), aa.served);
    assert_eq!(aa.latency.len(), counters.bounds_us.len() + 1);

    let mut held = set(&desired, &[("aa", 1, good)]);
    held.hold = Some(Span::from_secs(5));
    traffic.set(Epoch(2), &held).await.unwrap();
    assert!(known(&traffic).await.unwrap().unwrap().hold);
    traffic.remove(Epoch(2), &unit(), Which::Main).await.unwrap();
    traffic.remove(Epoch(2), &unit(), Which::Main).await.expect("again, harmlessly");
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
        (routes[0]["endpoints"][0]["inFlight"] == 1).then_some(()).ok_or("not yet".to_owned())
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

/// A second data plane. Two real routers can't have the same listener on one machine, so this one only keeps its books.
#[derive(Clone, Default)]
struct Books(Arc<Mutex<Option<PutRoute>>>);

impl Books {
    fn status(&self) -> Option<RouteStatus> {
        let put = self.0.lock().unwrap().clone()?;
        let groups = put.route.backends.iter().map(|backend| GroupStats {
            group: backend.group.clone(),
            classes: [0, 7, 0, 0, 1],
            failed: 1,
            latency: vec![1; latency_buckets_ms().len() + 1],
            latency_sum_ms: 1.0,
        });
        Some(RouteStatus {
            groups: groups.collect(),
            route: put.route,
            start: "books".into(),
            endpoints: vec![],
            held: 0,
        })
    }

    async fn put(State(books): State<Books>, Json(put): Json<PutRoute>) -> Result<Json<RouteStatus>, StatusCode> {
        let mut kept = books.0.lock().unwrap();
        if kept.as_ref().is_some_and(|kept| kept.epoch > put.epoch) {
            return Err(StatusCode::CONFLICT);
        }
        *kept = Some(put);
        drop(kept);
        Ok(Json(books.status().unwrap()))
    }

    fn serve(self, folder: &tempfile::TempDir) -> PathBuf {
        let path = folder.path().join("socket");
        let app = Router::new()
            .route("/v1/routes", get(async |State(books): State<Books>| Json(Vec::from_iter(books.status()))))
            .route("/v1/routes/{key}", put(Books::put).get(async |State(books): State<Books>| Json(books.status())))
            .with_state(self);
        let (listener, lock) = bind(&path, 0o600).unwrap().into_parts();
        tokio::spawn(async move {
            let _lock = lock;
            axum::serve(listener, app).await
        });
        path
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_routers_must_agree() {
    let (router, folder) = (Process::started("router"), tempfile::tempdir().unwrap());
    let books = Books::default();
    let sockets = [router.socket(), books.clone().serve(&folder)];
    let both = RouterTraffic::new(sockets.clone(), INSTALLATION);
    eventually_async(PATIENCE, "the routers answer", || known(&both)).await;
    let (listen, settings) = route();
    let desired = desired("1", &settings);
    let address = upstream(200, Arc::default()).await;
    both.set(Epoch(4), &set(&desired, &[("aa", 1, address)])).await.unwrap();
    assert!(known(&both).await.unwrap().is_some());

    // Counters are added up, and begin anew when either does.
    ask(listen, "/").await.unwrap();
    let Seen::Known(counters) = both.counters(&unit()).await else { panic!("no counters") };
    let group = &counters.groups[&GroupId::from("aa")];
    assert_eq!((group.served, group.errors), (1 + 7, 1 + 1));
    assert!(counters.start.contains("books") && counters.start.len() > "books".len(), "{}", counters.start);

    // One is set to something else by another hand.
    let alone = connect(&[&router]).await;
    alone.set(Epoch(5), &set(&desired, &[("bb", 1, address)])).await.unwrap();
    let both = RouterTraffic::new(sockets, INSTALLATION);
    let reason = known(&both).await.unwrap_err();
    assert!(reason.contains("have different settings"), "{reason}");
    let stale = both.set(Epoch(4), &set(&desired, &[("cc", 1, address)])).await.unwrap_err();
    assert!(matches!(stale, TrafficError::Stale { epoch: Epoch(4), .. }), "{stale}");
    assert_eq!(books.status().unwrap().route.backends[0].group, GroupId::from("cc"), "the other took it");
    both.set(Epoch(5), &set(&desired, &[("dd", 1, address)])).await.unwrap();
    let seen = known(&both).await.unwrap().unwrap();
    assert_eq!(seen.backends.keys().collect::<Vec<_>>(), [&GroupId::from("dd")]);
    assert_eq!(alone.epoch().await.unwrap(), Epoch(5));
    alone.check().await.unwrap();
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
        (ask(listen, "/").await? == 200).then_some(()).ok_or("not yet".to_owned())
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
    let nobody = ObservedBackend { weight: 1, endpoints: BTreeMap::new(), testers: false };
    request.backends.insert("aa".into(), nobody);
    let refused = traffic.set(Epoch(1), &request).await.unwrap_err();
    assert!(matches!(refused, TrafficError::Refused { .. }), "{refused}");
    request.kind = Which::Preview;
    let refused = traffic.set(Epoch(1), &request).await.unwrap_err();
    assert!(refused.to_string().contains("has no preview route"), "{refused}");
    assert_eq!(known(&traffic).await.unwrap(), None);

    let none = RouterTraffic::new([], INSTALLATION);
    let refused = none.set(Epoch(1), &set(&desired, &[])).await.unwrap_err();
    assert!(refused.to_string().contains("no router is configured"), "{refused}");
}
