//! What the host platform asks of its supervisor, seen by a supervisor that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Query, State};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use trimtab::adapters::platform::host::HostPlatform;
use trimtab::domain::id::Epoch;
use trimtab::domain::observed::Seen;
use trimtab::net::server::bind;
use trimtab::ports::platform::Platform;

use super::world::{INSTALLATION, unit};
use crate::support::{PATIENCE, eventually_async};

/// A supervisor whose list is what the test says it is.
#[derive(Clone)]
struct Counting {
    /// `seq` and how many instances are asked for.
    list: watch::Sender<(u64, u32)>,
    polls: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
}

#[derive(Deserialize)]
struct Since {
    since: Option<u64>,
}

async fn list(State(state): State<Counting>, Query(query): Query<Since>) -> axum::Json<Value> {
    let now = match query.since {
        Some(since) => {
            state.polls.fetch_add(1, Ordering::SeqCst);
            *state.list.subscribe().wait_for(|(seq, _)| *seq != since).await.unwrap()
        }
        None => {
            state.reads.fetch_add(1, Ordering::SeqCst);
            *state.list.borrow()
        }
    };
    let markers = json!({ "installation": INSTALLATION, "unit": unit(), "rendered": "r1:0", "version": "1" });
    let group =
        json!({ "key": "k", "group": "g", "markers": markers, "replicas": now.1, "retiring": false, "instances": [] });
    axum::Json(json!({ "seq": now.0, "start": "one", "groups": [group] }))
}

async fn serve(folder: &tempfile::TempDir) -> (Counting, HostPlatform) {
    let state = Counting { list: watch::Sender::new((7, 1)), polls: Arc::default(), reads: Arc::default() };
    let changing = state.clone();
    let app = Router::new()
        .route("/v1/groups", get(list))
        .route(
            "/v1/groups/{key}",
            axum::routing::delete(async move || {
                changing.list.send_modify(|(seq, replicas)| (*seq, *replicas) = (*seq + 1, 0));
            }),
        )
        .with_state(state.clone());
    let path = folder.path().join("socket");
    let (listener, lock) = bind(&path, 0o600).unwrap().into_parts();
    tokio::spawn(async move {
        let _lock = lock;
        axum::serve(listener, app).await
    });
    (state, HostPlatform::new(path, INSTALLATION))
}

async fn replicas(platform: &HostPlatform) -> u32 {
    match platform.observe(&unit()).await {
        Seen::Known(groups) => groups[0].replicas,
        Seen::Unknown(reason) => panic!("{reason}"),
    }
}

#[tokio::test]
async fn looking_at_an_unchanged_host_asks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (supervisor, platform) = serve(&folder).await;
    replicas(&platform).await;
    eventually_async(PATIENCE, "the list is followed", || async { supervisor.polls.load(Ordering::SeqCst) == 1 }).await;
    let reads = supervisor.reads.load(Ordering::SeqCst);
    for _ in 0..100 {
        assert_eq!(replicas(&platform).await, 1);
        platform.units().await;
    }
    assert_eq!((supervisor.polls.load(Ordering::SeqCst), supervisor.reads.load(Ordering::SeqCst)), (1, reads));

    let mut changes = platform.changes();
    supervisor.list.send_replace((8, 5));
    changes.changed().await.unwrap();
    assert_eq!(replicas(&platform).await, 5);
    assert_eq!(supervisor.reads.load(Ordering::SeqCst), reads);
}

#[tokio::test]
async fn the_state_after_an_effect_is_seen_by_the_next_look() {
    let folder = tempfile::tempdir().unwrap();
    let (_supervisor, platform) = serve(&folder).await;
    assert_eq!(replicas(&platform).await, 1);
    platform.retire_group(Epoch(1), &unit(), &"g".into()).await.unwrap();
    assert_eq!(replicas(&platform).await, 0);
}
