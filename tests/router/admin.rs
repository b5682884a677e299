//! The admin protocol: who may change what, and what is refused.

use http::Method;
use trimtab::net::client::{ClientError, segment};
use trimtab::protocol::router::{PutRoute, RouteConfig, RouteStatus};
use trimtab::protocol::{ErrorBody, ErrorCode, VERSION};

use super::bench::{Bench, KEY};
use super::upstream::Upstream;

fn refused(error: &ClientError, status: u16, code: ErrorCode) -> String {
    let ClientError::Refused { status: found, .. } = error else { panic!("{error}") };
    let body: ErrorBody = error.refusal().unwrap_or_else(|| panic!("{error}"));
    assert_eq!((found.as_u16(), body.code), (status, code), "{error}");
    body.message
}

async fn delete(bench: &Bench, key: &str, epoch: u64) -> Result<hyper::body::Bytes, ClientError> {
    bench.admin.bytes(Method::DELETE, &format!("/v1/routes/{}?epoch={epoch}", segment(key)), None::<&()>).await
}

#[tokio::test]
async fn a_stale_epoch_changes_nothing_also_after_a_restart() {
    let mut bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let route = bench.route(&[("v1", 1, &[&upstream])]);
    bench.put_at(5, &route).await.unwrap();
    for round in 0..2 {
        let other = RouteConfig { path: "/other".into(), ..route.clone() };
        let message = refused(&bench.put_at(4, &other).await.unwrap_err(), 409, ErrorCode::StaleEpoch);
        assert!(message.contains("epoch 4 is stale, 5 has been here"), "{message}");
        refused(&delete(&bench, KEY, 4).await.unwrap_err(), 409, ErrorCode::StaleEpoch);
        assert_eq!(bench.status().await.route, route, "round {round}");
        assert_eq!(bench.hello().await.unwrap().epoch.0, 5);
        bench.process.kill();
        bench.start_again().await;
    }
    bench.put_at(5, &route).await.unwrap();
    bench.put_at(6, &route).await.unwrap();
    assert_eq!(bench.hello().await.unwrap().epoch.0, 6);
}

#[tokio::test]
async fn routes_are_set_read_and_deleted() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let route = bench.route(&[("v1", 1, &[&upstream])]);
    let status = bench.put(&route).await;
    assert_eq!(status.route, route);
    assert_eq!(status.start, bench.hello().await.unwrap().start);
    let all: Vec<RouteStatus> = bench.admin.get("/v1/routes").await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(bench.admin.bytes(Method::GET, "/healthz", None::<&()>).await.unwrap(), "ok\n");
    assert_eq!(bench.get("/").await.status, 200);

    delete(&bench, KEY, 1).await.unwrap();
    delete(&bench, KEY, 1).await.expect("there is nothing to delete, which is what was asked for");
    assert!(std::net::TcpStream::connect(bench.listen).is_err(), "nobody listens where no route does");
    let error = bench.admin.get::<RouteStatus>(&format!("/v1/routes/{}", segment(KEY))).await.unwrap_err();
    refused(&error, 404, ErrorCode::NotFound);
}

#[tokio::test]
async fn what_can_not_be_served_is_refused_with_the_reason() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let route = bench.route(&[("v1", 1, &[&upstream])]);
    bench.put(&route).await;

    let rival = RouteConfig { key: "other/staging/default".into(), ..route.clone() };
    let message = refused(&bench.put_at(1, &rival).await.unwrap_err(), 400, ErrorCode::Invalid);
    assert!(message.contains(&format!("{KEY:?} already answers")), "{message}");

    let empty = bench.route(&[("v1", 1, &[])]);
    let message = refused(&bench.put_at(1, &empty).await.unwrap_err(), 400, ErrorCode::Invalid);
    assert!(message.contains("no endpoint"), "{message}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let there = RouteConfig { listen: taken.local_addr().unwrap(), ..route.clone() };
    let message = refused(&bench.put_at(1, &there).await.unwrap_err(), 500, ErrorCode::Failed);
    assert!(message.contains(&there.listen.to_string()) && message.contains("another process"), "{message}");

    let newer = serde_json::json!({ "version": VERSION + 1, "shape": "of another kind" });
    let path = format!("/v1/routes/{}", segment(KEY));
    let error = bench.admin.json::<RouteStatus>(Method::PUT, &path, Some(&newer)).await.unwrap_err();
    refused(&error, 426, ErrorCode::Version);

    let put = PutRoute { version: VERSION, epoch: trimtab::domain::id::Epoch(1), route: route.clone() };
    let error = bench.admin.json::<RouteStatus>(Method::PUT, "/v1/routes/another", Some(&put)).await.unwrap_err();
    refused(&error, 400, ErrorCode::Invalid);

    assert_eq!(bench.status().await.route, route, "none of it changed anything");
    assert_eq!(bench.get("/").await.status, 200);
}

#[tokio::test]
async fn a_change_that_can_not_be_kept_is_not_made() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let route = bench.route(&[("v1", 1, &[&upstream])]);
    bench.put(&route).await;
    // The file to be written first is in the way as a folder.
    std::fs::create_dir(bench.state_file().with_extension("json.new")).unwrap();
    let mut moved = route.clone();
    moved.listen.set_port(crate::support::free_port());
    let message = refused(&bench.put_at(1, &moved).await.unwrap_err(), 500, ErrorCode::Failed);
    assert!(message.starts_with("nothing was changed: "), "{message}");
    assert_eq!(bench.status().await.route, route);
    assert_eq!(bench.get("/").await.status, 200);
    assert!(std::net::TcpStream::connect(moved.listen).is_err(), "the new address was given up again");
}

#[tokio::test]
async fn the_socket_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::start_with(&["--socket-mode", "0660"]).await;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(bench.admin.socket()), 0o660);
    assert_eq!(mode(bench.state_file().parent().unwrap()), 0o700);
}
