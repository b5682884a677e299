//! HTTP/1.1 as it must pass through a proxy.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use trimtab::protocol::router::{Backend, Endpoint};

use super::bench::{Bench, read_until, send};
use super::upstream::Upstream;
use crate::support::{PATIENCE, eventually_async};

async fn bench() -> (Bench, Upstream) {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    (bench, upstream)
}

#[tokio::test]
async fn headers_of_one_hop_go_and_the_client_is_named() {
    let (bench, _upstream) = bench().await;
    let answer = bench
        .send(
            "GET /head?q=%2F HTTP/1.1\r\nHost: App.Test:8080\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: websocket\r\nTE: gzip, trailers\r\n\
             X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Kept: a\r\nX-Kept: b\r\n\r\n",
        )
        .await;
    let mut lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!(lines.remove(0), "/head?q=%2F HTTP/1.1");
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "host: App.Test:8080",
            "te: trailers",
            "x-forwarded-for: 203.0.113.7, 127.0.0.1",
            "x-forwarded-host: App.Test:8080",
            "x-forwarded-proto: http",
            "x-kept: a",
            "x-kept: b",
        ]
    );
    let answer = bench.get("/hop").await;
    assert_eq!(answer.body, "body");
    assert_eq!(answer.header("x-kept"), Some("1"));
    assert_eq!((answer.header("x-secret"), answer.header("keep-alive")), (None, None));
    assert_eq!(answer.header("connection"), Some("close"), "the router's own");
}

#[tokio::test]
async fn answers_without_a_body_end_where_they_end() {
    let (bench, upstream) = bench().await;
    let mut stream = send(bench.listen, b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n");
    let head = read_until(&mut stream, "\r\n\r\n").to_lowercase();
    assert!(head.starts_with("http/1.1 200") && head.contains("content-length: 6"), "{head}");
    // The same connection serves on, which it could not if a body were expected.
    stream.write_all(b"GET /nothing HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 204"));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    assert!(read_until(&mut stream, "hello\n").starts_with("HTTP/1.1 200"));
    assert_eq!(upstream.served(), 3);
}

#[tokio::test]
async fn bodies_of_both_framings_pass_in_both_directions() {
    let (bench, _upstream) = bench().await;
    let chunked = "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    let answer = bench.send(chunked).await;
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, Some("chunked")));
    assert!(answer.body.ends_with("0\r\n\r\n"), "{answer:?}");
    let body: String = answer.body.split("\r\n").filter(|part| part.len() > 1).collect();
    assert_eq!(body, "abcdefg");

    // A GET may have one, too.
    let get = chunked.replacen("POST", "GET", 1);
    assert!(bench.send(get).await.body.contains("abc"));

    let large = "x".repeat(3_000_000);
    let answer = bench
        .send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{large}",
            large.len()
        ))
        .await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() >= large.len());
}

#[tokio::test]
async fn bodies_are_not_gathered_on_the_way() {
    let (bench, upstream) = bench().await;
    // Down: the first part is there before the second is made.
    let mut stream = send(bench.listen, b"GET /drip HTTP/1.1\r\nHost: test\r\n\r\n");
    for part in ["part 0\n", "part 1\n", "part 2\n"] {
        upstream.watch.go.notify_one();
        read_until(&mut stream, part);
    }
    // Up: the echo of the first part comes before the second is sent.
    let mut stream =
        send(bench.listen, b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n");
    read_until(&mut stream, "ping");
    stream.write_all(b"4\r\npong\r\n0\r\n\r\n").unwrap();
    read_until(&mut stream, "0\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let (bench, _upstream) = bench().await;
    let head = b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = send(bench.listen, head);
    assert!(read_until(&mut stream, "\r\n\r\n").starts_with("HTTP/1.1 100"));
    stream.write_all(b"body").unwrap();
    let answer = read_until(&mut stream, "body");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn old_clients_are_served() {
    let (bench, _upstream) = bench().await;
    let answer = bench.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello\n"));
    let answer = bench.send("POST / HTTP/1.0\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc").await;
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(answer.body, "abc");
}

#[tokio::test]
async fn what_can_not_be_routed_is_refused_in_words() {
    let (bench, upstream) = bench().await;
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
    ];
    for (text, status) in cases {
        let text = if text.starts_with("nonsense") {
            text.to_owned()
        } else {
            text.replacen("\r\n", "\r\nConnection: close\r\n", 1)
        };
        assert_eq!(bench.send(text.clone()).await.status, status, "{text}");
    }
    assert_eq!(upstream.served(), 0);
    // Two ways to say how long the body is: smuggled on, it would be read differently by the instance.
    let both = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let answer = bench.send(both).await;
    assert!(answer.status == 400 || answer.body.contains('x'), "{answer:?}");
}

#[tokio::test]
async fn heads_have_limits() {
    let bench = Bench::start_with(&["--header-timeout", "300ms"]).await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let large = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Large: {}\r\n\r\n", "x".repeat(70_000));
    assert_eq!(bench.send(large).await.status, 431);
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    assert_eq!(bench.send(format!("GET / HTTP/1.1\r\nHost: test\r\n{many}\r\n")).await.status, 431);
    // A head that does not end: the connection is closed, and not only after the client gives up.
    let mut slow = send(bench.listen, b"GET / HTTP/1.1\r\nHost: te");
    let ended = tokio::task::spawn_blocking(move || slow.read_to_end(&mut Vec::new())).await.unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(upstream.served(), 0);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let bench = Bench::start_with(&["--max-connections", "2"]).await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let idle: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(bench.listen).unwrap()).collect();
    let metric = || async {
        let text = bench.admin.bytes(http::Method::GET, "/metrics", None::<&()>).await.unwrap();
        String::from_utf8_lossy(&text).contains("trimtab_router_connections 2\n")
    };
    eventually_async(PATIENCE, "both are open", metric).await;
    let mut third = send(bench.listen, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    third.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    assert!(third.read(&mut [0]).is_err(), "not yet");
    third.set_read_timeout(Some(PATIENCE)).unwrap();
    drop(idle);
    assert!(read_until(&mut third, "hello\n").starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_to_instances_are_kept() {
    let bench = Bench::start_with(&["--threads", "1"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut route = bench.route(&[]);
    let endpoint = Endpoint { id: "raw".into(), address: listener.local_addr().unwrap() };
    route.backends.push(Backend { group: "v1".into(), weight: 1, endpoints: vec![endpoint], testers: false });
    bench.put(&route).await;
    let instance = std::thread::spawn(move || {
        // The first connection only looks whether one can be made.
        drop(listener.accept().unwrap());
        let (mut stream, _) = listener.accept().unwrap();
        for _ in 0..5 {
            read_until(&mut stream, "\r\n\r\n");
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    for _ in 0..5 {
        assert_eq!(bench.get("/").await.body, "ok");
    }
    instance.join().unwrap();
}

#[tokio::test]
async fn the_access_log_tells_of_each_request_and_is_opened_anew_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let bench = Bench::start_with(&["--access-log", path.to_str().unwrap()]).await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    bench.get("/a?secret=1").await;
    bench.send("CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\nConnection: close\r\n\r\n").await;
    let lines = |count: usize| {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        (text.lines().count() == count).then_some(text).ok_or("not yet")
    };
    let text = eventually_async(PATIENCE, "both are written", || async { lines(2) }).await;
    let lines_of: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines_of[0]["path"], &lines_of[0]["group"]), (&"/a".into(), &"v1".into()));
    assert_eq!((lines_of[0]["status"].as_u64(), lines_of[1]["status"].as_u64()), (Some(200), Some(405)));
    assert!(!text.contains("secret"));
    std::fs::rename(&path, dir.path().join("moved")).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(bench.process.pid() as i32), nix::sys::signal::SIGUSR1).unwrap();
    eventually_async(PATIENCE, "it is opened anew", || async { path.exists() }).await;
    bench.get("/b").await;
    let text = eventually_async(PATIENCE, "it goes on there", || async { lines(1) }).await;
    assert!(text.contains(r#""path":"/b""#), "{text}");
}

#[tokio::test]
async fn the_last_lines_of_the_access_log_are_written_when_the_router_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let mut bench = Bench::start_with(&["--access-log", path.to_str().unwrap()]).await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    for number in 0..20 {
        bench.get(&format!("/{number}")).await;
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(bench.process.pid() as i32), nix::sys::signal::SIGTERM).unwrap();
    assert!(bench.process.0.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 20);
}
