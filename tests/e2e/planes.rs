//! Several routers are one data plane: what not all of them confirm is not done.

use std::collections::BTreeMap;

use trimtab::api::types::UnitCommand;
use trimtab::domain::id::GroupId;
use trimtab::net::client::Client;
use trimtab::protocol::router::RouteStatus;

use super::bed::Bed;
use super::documents::{UNIT, app, environment, web};
use super::strategies::share;

/// The weights that one router has in force.
async fn weights(bed: &Bed, socket: &str) -> BTreeMap<GroupId, u32> {
    let routes: Vec<RouteStatus> = Client::new(bed.path(socket)).get("/v1/routes").await.unwrap();
    assert_eq!(routes.len(), 1, "{routes:#?}");
    routes[0].route.backends.iter().map(|backend| (backend.group.clone(), backend.weight)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phase_stands_still_while_one_of_two_routers_is_gone() {
    let canary = "{ canary: { steps: [ { weight: 30 }, { pause: {} }, { weight: 60 } ], scaleDownDelay: 500ms } }";
    let (environment, app) = (environment("dev"), app("web", canary));
    let bed = Bed::new(&[("env.yaml", &environment), ("app.yaml", &app), ("release.yaml", &web("1.0.0", ""))]);
    bed.configure("'router.sock'", "'router.sock', 'second-router.sock'");
    let mut bed = bed.start();
    let waits = bed.wait(UNIT, "it waits for the second router", |status| status.message.contains("second-router"));
    assert!(waits.await.last_verified.is_none());
    bed.start_second_router();
    bed.verified(UNIT, "1.0.0").await;
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.wait(UNIT, "the canary has its share", |status| share(status, "1.1.0") > 29.0).await;
    let before = weights(&bed, "router.sock").await;
    assert_eq!(weights(&bed, "second-router.sock").await, before);

    bed.kill_second_router();
    let status = bed.wait(UNIT, "the loss is told", |status| status.message.contains("second-router.sock")).await;
    assert!(status.message.contains("nobody answers"), "{}", status.message);
    bed.api().command(&UNIT.parse().unwrap(), &UnitCommand::Promote { full: false }).await.unwrap();
    let why = bed.told(&["why", "web"]);
    assert!(why.contains("second-router.sock"), "{why}");
    assert!(bed.told(&["check"]).contains("second-router.sock"));
    bed.told(&["reconcile"]);
    assert_eq!(weights(&bed, "router.sock").await, before, "the other router was not moved on alone");
    assert!(bed.get("web.dev.localhost").await.is_ok(), "the other router serves");

    bed.start_second_router();
    bed.verified(UNIT, "1.1.0").await;
    let after = weights(&bed, "router.sock").await;
    assert_eq!(after.len(), 1);
    assert_eq!(weights(&bed, "second-router.sock").await, after);
}
