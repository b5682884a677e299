//! How the router sees whether an instance can serve.

use std::sync::atomic::Ordering;

use trimtab::domain::span::Span;
use trimtab::domain::workload::{Check, Probe};
use trimtab::protocol::router::{Backend, EndpointHealth, RouteStatus};

use super::bench::{Bench, nobody};
use super::upstream::Upstream;

pub const UP: EndpointHealth = EndpointHealth::Up;
const DOWN: EndpointHealth = EndpointHealth::Down;

fn probe(interval: Span) -> Probe {
    Probe {
        check: Check::Http { path: "/healthz".into() },
        interval,
        timeout: Span::from_secs(5),
        healthy_after: 2,
        unhealthy_after: 2,
    }
}

fn health(status: &RouteStatus) -> Vec<EndpointHealth> {
    status.endpoints.iter().map(|endpoint| endpoint.health).collect()
}

#[tokio::test]
async fn an_instance_that_says_it_is_ill_gets_nothing_until_it_is_well() {
    let bench = Bench::start().await;
    let [well, ill] = ["v1", "v1"].map(Upstream::start);
    ill.watch.health.store(503, Ordering::SeqCst);
    let mut route = bench.route(&[("v1", 1, &[&well, &ill])]);
    route.probe = Some(probe(Span::from_millis(20)));
    let status = bench.put(&route).await;
    assert_eq!(health(&status), [EndpointHealth::Unknown; 2], "nothing is assumed");
    bench.until("both were seen", |status| health(status) == [UP, DOWN]).await;
    for _ in 0..6 {
        assert_eq!(bench.get("/").await.status, 200);
    }
    assert_eq!((well.served(), ill.served()), (6, 0));
    ill.watch.health.store(204, Ordering::SeqCst);
    bench.until("it is well", |status| health(status) == [UP, UP]).await;
    well.watch.health.store(500, Ordering::SeqCst);
    bench.until("the other is ill", |status| health(status) == [DOWN, UP]).await;
    assert_eq!(bench.get("/").await.status, 200);
    assert_eq!(ill.served(), 1);
    // With nothing else left, one that is down is tried.
    ill.watch.health.store(500, Ordering::SeqCst);
    bench.until("both are ill", |status| health(status) == [DOWN, DOWN]).await;
    assert_eq!(bench.get("/").await.status, 200);
}

#[tokio::test]
async fn a_new_instance_is_looked_at_before_it_gets_requests() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let mut route = bench.route(&[]);
    // The probe would take an hour for its second look; the first decides.
    route.probe = Some(probe(Span::from_secs(3_600)));
    route.backends.push(Backend {
        group: "v1".into(),
        weight: 1,
        endpoints: vec![nobody("gone"), upstream.endpoint()],
        testers: false,
    });
    bench.put(&route).await;
    for _ in 0..4 {
        assert_eq!(bench.get("/").await.status, 200);
    }
    bench.until("both were seen", |status| health(status) == [DOWN, UP]).await;
    assert_eq!(bench.group("v1").await.failed, 0, "the one that is gone was never tried");
}

#[tokio::test]
async fn another_probe_is_taken_up_without_a_gap() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let mut route = bench.route(&[("v1", 1, &[&upstream])]);
    route.probe = Some(Probe { check: Check::Tcp {}, ..probe(Span::from_millis(20)) });
    bench.put(&route).await;
    bench.until("it is up", |status| health(status) == [UP]).await;
    upstream.watch.health.store(500, Ordering::SeqCst);
    route.probe = Some(probe(Span::from_millis(20)));
    let status = bench.put(&route).await;
    assert_eq!(health(&status), [UP], "what was known stays until the new probe says otherwise");
    bench.until("the new probe looks deeper", |status| health(status) == [DOWN]).await;
}
