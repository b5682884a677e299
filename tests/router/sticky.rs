//! Clients that stay with the version that they were first sent to.

use trimtab::domain::span::Span;
use trimtab::protocol::router::Sticky;

use super::bench::{Answer, Bench};
use super::upstream::Upstream;

async fn with_cookie(bench: &Bench, cookie: &str) -> Answer {
    bench.send(format!("GET / HTTP/1.1\r\nHost: test\r\nCookie: a=1; {cookie}; b=2\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn a_client_stays_until_its_version_gets_nothing() {
    let bench = Bench::start().await;
    let [one, two] = ["v1", "v2"].map(Upstream::start);
    let mut route = bench.route(&[("g1", 1, &[&one]), ("g2", 1, &[&two])]);
    route.sticky = Some(Sticky { cookie: "group".into(), max_age: Span::from_secs(600) });
    bench.put(&route).await;

    let first = bench.get("/").await;
    let cookie = first.header("set-cookie").expect("the client is told its group").to_owned();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "path=/; max-age=600; httponly; samesite=lax");
    let version = first.header("x-version").unwrap();
    for _ in 0..10 {
        let answer = with_cookie(&bench, pair).await;
        assert_eq!(answer.header("x-version"), Some(version));
        assert_eq!(answer.header("set-cookie"), None, "it knows");
    }

    // Its group is taken out: it is drawn again, and told.
    let stuck = if version == "v1" { 0 } else { 1 };
    route.backends[stuck].weight = 0;
    bench.put(&route).await;
    let answer = with_cookie(&bench, pair).await;
    let other = if version == "v1" { ("v2", "group=g2") } else { ("v1", "group=g1") };
    assert_eq!(answer.header("x-version"), Some(other.0));
    assert!(answer.header("set-cookie").unwrap().starts_with(other.1));
}

#[tokio::test]
async fn a_client_can_not_choose_what_is_not_there() {
    let bench = Bench::start().await;
    let [one, two] = ["v1", "v2"].map(Upstream::start);
    let mut route = bench.route(&[("g1", 1, &[&one]), ("g2", 0, &[&two])]);
    route.sticky = Some(Sticky { cookie: "group".into(), max_age: Span::from_secs(600) });
    bench.put(&route).await;
    for cookie in ["group=g2", "group=nonsense", "group=", "group"] {
        let answer = with_cookie(&bench, cookie).await;
        assert_eq!(answer.header("x-version"), Some("v1"), "{cookie}");
        assert!(answer.header("set-cookie").unwrap().starts_with("group=g1;"), "{cookie}");
    }
}
