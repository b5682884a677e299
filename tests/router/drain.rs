//! What happens to requests in flight when their instance is taken out.

use trimtab::domain::span::Span;
use trimtab::protocol::router::RouteStatus;

use super::bench::{Answer, Bench, read_until, send};
use super::upstream::Upstream;
use crate::support::{PATIENCE, eventually_async};

fn draining(status: &RouteStatus, in_flight: u64) -> bool {
    status.endpoints.iter().any(|endpoint| endpoint.draining && endpoint.in_flight == in_flight)
}

#[tokio::test]
async fn a_slow_body_ends_whole_after_its_instance_is_taken_out() {
    let bench = Bench::start().await;
    let [old, new] = ["v1", "v2"].map(Upstream::start);
    bench.put(&bench.route(&[("v1", 1, &[&old])])).await;
    let mut stream = send(bench.listen, b"GET /drip HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    old.watch.go.notify_one();
    read_until(&mut stream, "part 0\n");

    let status = bench.put(&bench.route(&[("v2", 1, &[&new])])).await;
    assert!(draining(&status, 1), "{:?}", status.endpoints);
    assert_eq!(bench.get("/").await.header("x-version"), Some("v2"), "new requests go elsewhere");
    old.watch.go.notify_one();
    read_until(&mut stream, "part 1\n");
    old.watch.go.notify_one();
    let rest = read_until(&mut stream, "0\r\n\r\n");
    assert!(rest.contains("part 2"), "{rest}");
    let status = bench.until("it is drained", |status| status.endpoints.len() == 1).await;
    assert_eq!(status.groups.iter().find(|group| group.group.as_str() == "v1").unwrap().failed, 0);
}

#[tokio::test]
async fn what_takes_longer_than_the_drain_is_cut_and_seen_as_cut() {
    let bench = Bench::start().await;
    let [old, new] = ["v1", "v2"].map(Upstream::start);
    let mut route = bench.route(&[("v1", 1, &[&old])]);
    route.drain = Span::from_millis(100);
    bench.put(&route).await;
    let mut dripping = send(bench.listen, b"GET /drip HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    old.watch.go.notify_one();
    read_until(&mut dripping, "part 0\n");
    let hanging =
        send(bench.listen, b"POST /hang HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx");
    eventually_async(PATIENCE, "both are in flight", || async { old.serving() == 2 }).await;

    route.backends = bench.route(&[("v2", 1, &[&new])]).backends;
    bench.put(&route).await;
    let rest = Answer::read(dripping);
    assert!(!rest.head.contains("0\r\n\r\n"), "no clean end: {rest:?}");
    assert_eq!(Answer::read(hanging).status, 502);
    bench.until("nothing is left", |status| status.endpoints.len() == 1).await;
    assert_eq!(bench.group("v1").await.failed, 2);
    eventually_async(PATIENCE, "the instance is left alone", || async { old.serving() == 0 }).await;
}

#[tokio::test]
async fn an_instance_that_returns_in_time_is_not_cut() {
    let bench = Bench::start().await;
    let [one, two] = ["v1", "v2"].map(Upstream::start);
    let mut route = bench.route(&[("v1", 1, &[&one]), ("v2", 0, &[&two])]);
    route.drain = Span::from_millis(300);
    bench.put(&route).await;
    let mut stream = send(bench.listen, b"GET /drip HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    one.watch.go.notify_one();
    read_until(&mut stream, "part 0\n");
    let mut without = route.clone();
    without.backends.remove(0);
    without.backends[0].weight = 1;
    assert!(draining(&bench.put(&without).await, 1));
    let status = bench.put(&route).await;
    assert!(!draining(&status, 1), "{:?}", status.endpoints);
    assert_eq!(status.endpoints[0].in_flight, 1, "its request is still known");

    // Another instance is taken out later and its request cut; by then the first one's time would be over as well.
    let mut swapped = route.clone();
    (swapped.backends[0].weight, swapped.backends[1].weight) = (0, 1);
    bench.put(&swapped).await;
    let mut other = send(bench.listen, b"GET /drip HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    two.watch.go.notify_one();
    read_until(&mut other, "part 0\n");
    route.backends.truncate(1);
    assert!(draining(&bench.put(&route).await, 1));
    assert!(!Answer::read(other).head.contains("part"), "cut without another part");
    for part in ["part 1\n", "part 2\n"] {
        one.watch.go.notify_one();
        read_until(&mut stream, part);
    }
    read_until(&mut stream, "0\r\n\r\n");
    assert_eq!(bench.group("v1").await.failed, 0);
}

#[tokio::test]
async fn a_route_that_is_deleted_lets_its_requests_end() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let mut stream = send(bench.listen, b"GET /drip HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    upstream.watch.go.notify_one();
    read_until(&mut stream, "part 0\n");
    let path = format!("/v1/routes/{}?epoch=1", trimtab::net::client::segment(super::bench::KEY));
    bench.admin.bytes(http::Method::DELETE, &path, None::<&()>).await.unwrap();
    eventually_async(PATIENCE, "the listener is closed", || async {
        std::net::TcpStream::connect(bench.listen).is_err()
    })
    .await;
    for part in ["part 1\n", "part 2\n"] {
        upstream.watch.go.notify_one();
        read_until(&mut stream, part);
    }
    read_until(&mut stream, "0\r\n\r\n");
}
