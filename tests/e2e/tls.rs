//! TLS as an operator sets it up: certificates named by the Environment, renewed on disk while requests go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{Response, StatusCode};
use hyper::body::Incoming;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinHandle;
use trimtab::net::client::Client;
use trimtab::protocol::Hello;

use super::bed::Bed;
use super::documents::{UNIT, app, environment, web};
use crate::router::secure::{Http1, Http2, certificate, connect, get, over_http1, over_http2, text, trusting};
use crate::support::{PATIENCE, alive, eventually, eventually_async};

const HOST: &str = "web.dev.localhost";

/// One connection.
enum Sender {
    Http1(Http1),
    Http2(Http2),
}

impl Sender {
    async fn ask(&mut self) -> hyper::Result<Response<Incoming>> {
        match self {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(get("/", HOST)).await
            }
            Sender::Http2(sender) => sender.send_request(get(&format!("https://{HOST}/"), "")).await,
        }
    }
}

/// Requests one after the other over one connection that is never opened anew; every one must be answered.
struct Asking {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Asking {
    fn start(mut sender: Sender) -> Asking {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (told, counted) = (stop.clone(), answered.clone());
        let task = tokio::spawn(async move {
            while !told.load(Ordering::Relaxed) {
                let response = sender.ask().await.expect("the connection is lost");
                assert_eq!(response.status(), StatusCode::OK);
                text(response).await;
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Asking { stop, answered, task }
    }

    /// Waits for some answers more.
    async fn goes_on(&self) {
        let before = self.answered.load(Ordering::Relaxed);
        eventually_async(PATIENCE, "it goes on", || async {
            assert!(!self.task.is_finished(), "the connection is lost");
            self.answered.load(Ordering::Relaxed) >= before + 10
        })
        .await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_renewed_without_a_lost_connection() {
    let dir = tempfile::tempdir().unwrap();
    let old = certificate(dir.path(), "site", &[HOST]);
    let plain = "address: 127.0.0.1:{PORT}";
    let tls = format!("{plain}, tls: {{ certificate: {}, key: {} }}", old.certificate, old.key);
    let environment = environment("dev").replace(plain, &tls);
    let app = app("web", "rolling");
    let bed = Bed::new(&[("env.yaml", &environment), ("app.yaml", &app), ("release.yaml", &web("1.0.0", ""))]).start();
    bed.verified(UNIT, "1.0.0").await;
    assert!(bed.get(HOST).await.is_err(), "no plain text");
    let at = ([127, 0, 0, 1], bed.port).into();
    let before = trusting(&[&old], &["http/1.1"]);
    let http1 = over_http1(connect(at, HOST, &before).await.unwrap()).await;
    let http2 = over_http2(connect(at, HOST, &trusting(&[&old], &["h2"])).await.unwrap()).await;
    let both = [Asking::start(Sender::Http1(http1)), Asking::start(Sender::Http2(http2))];
    for asking in &both {
        asking.goes_on().await;
    }

    // One that has spoken to nobody yet: who has may resume without a look at the certificate.
    let stranger = trusting(&[&old], &["http/1.1"]);
    let new = certificate(dir.path(), "site", &[HOST]);
    let after = trusting(&[&new], &["http/1.1"]);
    eventually_async(PATIENCE, "the new one is used", || async { connect(at, HOST, &after).await.is_ok() }).await;
    assert!(connect(at, HOST, &stranger).await.is_err(), "the one before is not");
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.verified(UNIT, "1.1.0").await;
    for asking in both {
        asking.goes_on().await;
        asking.stop().await;
    }

    // What lies there now can't be used: the one in use stays, and an operator is told.
    std::fs::write(&new.certificate, "no certificate").unwrap();
    let told = || async {
        let told = bed.told(&["check"]);
        if told.contains("site.crt") { Ok(()) } else { Err(told) }
    };
    eventually_async(PATIENCE, "the broken one is told of", told).await;
    let mut kept = over_http1(connect(at, HOST, &after).await.expect("the one before is still used")).await;

    // A reload brings another process: the request in flight ends in this one, new connections begin in that one.
    let last = certificate(dir.path(), "site", &[HOST]);
    let slow = tokio::spawn(async move { kept.send_request(get("/slow?ms=2000", HOST)).await });
    let pid = bed.router_pid();
    kill(Pid::from_raw(pid as i32), Signal::SIGHUP).unwrap();
    let admin = Client::new(bed.path("router.sock"));
    eventually_async(PATIENCE, "another router serves", || async {
        admin.get::<Hello>("/v1/hello").await.is_ok_and(|hello| hello.pid != pid)
    })
    .await;
    let mut sender = over_http1(connect(at, HOST, &trusting(&[&last], &[])).await.unwrap()).await;
    let response = sender.send_request(get("/", HOST)).await.unwrap();
    assert_eq!(response.headers()["x-version"], "1.1.0");
    assert_eq!(slow.await.unwrap().unwrap().status(), StatusCode::OK);
    eventually(PATIENCE, "the one before leaves", || !alive(pid));
    bed.push("third", &[("release.yaml", &web("1.2.0", ""))]);
    bed.verified(UNIT, "1.2.0").await;
}
