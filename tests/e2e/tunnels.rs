//! Connections that another protocol took over (WebSocket): they outlive rollouts and the daemon.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::bed::Bed;
use super::documents::{UNIT, app, environment, web};
use super::strategies::{load, share};
use crate::support::PATIENCE;

const WISH: &[u8] =
    b"GET /upgrade HTTP/1.1\r\nHost: web.dev.localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A connection to an instance through the router.
struct Tunnel(TcpStream);

impl Tunnel {
    /// Opens one; and the version of the instance that took it.
    async fn open(bed: &Bed) -> (Self, String) {
        let mut tunnel = Tunnel(TcpStream::connect(("127.0.0.1", bed.port)).await.unwrap());
        tunnel.0.write_all(WISH).await.unwrap();
        let head = tunnel.read("\r\n\r\n").await.to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101") && head.contains("upgrade: websocket"), "{head}");
        let version = tunnel.read("\n").await.trim().to_owned();
        (tunnel, version)
    }

    /// Reads up to and with an end, and nothing after it.
    async fn read(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let byte = tokio::time::timeout(PATIENCE, self.0.read_u8()).await;
            let byte = byte.unwrap_or_else(|_| panic!("nothing more came after {text:?}"));
            text.push(char::from(byte.unwrap_or_else(|error| panic!("{error} after {text:?}"))));
        }
        text
    }

    async fn echoes(&mut self, word: &str) {
        self.0.write_all(format!("{word}\n").as_bytes()).await.unwrap();
        assert_eq!(self.read("\n").await.trim(), word);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_outlives_a_rollout_and_the_daemon_and_the_rollout_waits_for_it() {
    // Only the end of the tunnel ends the drain within the time that the test has.
    let app = app("web", "{ blueGreen: { scaleDownDelay: 0s } }").replace("drain: 30s", "drain: 1h");
    let mut bed =
        Bed::new(&[("env.yaml", &environment("dev")), ("app.yaml", &app), ("release.yaml", &web("1.0.0", ""))]).start();
    bed.verified(UNIT, "1.0.0").await;
    let (mut tunnel, version) = Tunnel::open(&bed).await;
    assert_eq!(version, "1.0.0");
    tunnel.echoes("before").await;

    let load = load(&bed);
    bed.push("second", &[("release.yaml", &web("1.1.0", ""))]);
    bed.wait(UNIT, "1.1.0 has all the traffic", |status| share(status, "1.1.0") > 99.0).await;
    tunnel.echoes("between").await;
    let (mut newer, version) = Tunnel::open(&bed).await;
    assert_eq!(version, "1.1.0");
    bed.kill_daemon();
    tunnel.echoes("without a daemon").await;
    bed.start_daemon();
    let status = bed.wait(UNIT, "the next daemon looks", |status| status.groups.len() == 2).await;
    assert!(status.rollout.is_some_and(|rollout| !rollout.summary.is_over()), "it waits for the tunnel");
    tunnel.echoes("still").await;

    drop(tunnel);
    bed.verified(UNIT, "1.1.0").await;
    bed.wait(UNIT, "1.0.0 is gone", |status| status.groups.len() == 1).await;
    newer.echoes("after").await;
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
}
