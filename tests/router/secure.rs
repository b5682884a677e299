//! TLS, HTTP/2 and what takes over from HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use http::{Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client::TlsStream};
use trimtab::domain::route::{Tester, Upstream as Spoken};
use trimtab::domain::tls::{Certificate, Tls};
use trimtab::protocol::router::{Backend, Endpoint, RouteConfig};

use super::bench::{Answer, Bench, read_until, send};
use super::upstream::Upstream;
use crate::support::{PATIENCE, alive, eventually, eventually_async};

/// Writes a certificate for these hosts and its key; the same names again replace both.
pub fn certificate(dir: &Path, name: &str, hosts: &[&str]) -> Certificate {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(hosts).unwrap();
    let path = |kind: &str| dir.join(format!("{name}.{kind}"));
    // Replaced as a whole, as those do who renew certificates.
    let write = |kind: &str, text: String| {
        let new = path(kind).with_extension("new");
        let mut file =
            std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        std::fs::rename(new, path(kind)).unwrap();
    };
    write("key", made.signing_key.serialize_pem());
    write("crt", made.cert.pem());
    let text = |kind: &str| path(kind).to_str().unwrap().to_owned();
    Certificate { certificate: text("crt"), key: text("key") }
}

pub fn trusting(files: &[&Certificate], protocols: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for files in files {
        roots.add(CertificateDer::from_pem_file(&files.certificate).unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

pub async fn connect(
    at: SocketAddr,
    host: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let stream = tokio::net::TcpStream::connect(at).await?;
    TlsConnector::from(config.clone()).connect(ServerName::try_from(host.to_owned()).unwrap(), stream).await
}

pub async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

pub type Http1 = http1::SendRequest<Empty<Bytes>>;
pub type Http2 = http2::SendRequest<Empty<Bytes>>;

pub async fn over_http1(stream: TlsStream<tokio::net::TcpStream>) -> Http1 {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn over_http2<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(stream: S) -> Http2 {
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub fn get(uri: &str, host: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(uri);
    let request = if uri.starts_with('/') { request.header("host", host) } else { request };
    request.body(Empty::new()).unwrap()
}

/// A route under TLS to one instance.
fn secure(bench: &Bench, upstream: &Upstream, certificates: &[&Certificate]) -> RouteConfig {
    let tls = Tls { certificates: certificates.iter().map(|&files| files.clone()).collect() };
    RouteConfig { tls: Some(tls), ..bench.route(&[("v1", 1, &[upstream])]) }
}

#[tokio::test]
async fn certificates_may_be_credentials_of_systemd() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let credentials = bench.dir.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let files = certificate(&credentials, "site", &["one.test"]);
    let named = Certificate { certificate: "credential:site.crt".into(), key: "credential:site.key".into() };
    bench.put(&secure(&bench, &upstream, &[&named])).await;
    let mut sender = over_http1(connect(bench.listen, "one.test", &trusting(&[&files], &[])).await.unwrap()).await;
    assert_eq!(sender.send_request(get("/", "one.test")).await.unwrap().status(), StatusCode::OK);
    let missing = Certificate { certificate: "credential:other.crt".into(), key: "credential:other.key".into() };
    let refused = bench.put_at(1, &secure(&bench, &upstream, &[&missing])).await.unwrap_err().to_string();
    assert!(refused.contains("other.crt"), "{refused}");
}

#[tokio::test]
async fn each_host_gets_its_certificate_and_the_instance_learns_of_tls() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let (one, two) =
        (certificate(bench.dir.path(), "one", &["one.test"]), certificate(bench.dir.path(), "two", &["*.two.test"]));
    bench.put(&secure(&bench, &upstream, &[&one, &two])).await;
    for (host, files) in [("one.test", &one), ("a.two.test", &two)] {
        for version in [None, Some("http/1.1")] {
            let config = trusting(&[files], version.as_slice());
            let mut sender = over_http1(connect(bench.listen, host, &config).await.unwrap()).await;
            let response = sender.send_request(get("/head", host)).await.unwrap();
            assert_eq!(response.status(), 200);
            let told = text(response).await.to_ascii_lowercase();
            assert!(told.contains("x-forwarded-proto: https"), "{told}");
        }
    }
    let other = connect(bench.listen, "three.test", &trusting(&[&one, &two], &[])).await;
    assert!(other.is_err_and(|error| error.to_string().contains("certificate")));
    assert_eq!(bench.send("GET / HTTP/1.1\r\nHost: one.test\r\n\r\n").await.status, 0, "no plain text");
    let metrics = bench.admin.bytes(http::Method::GET, "/metrics", None::<&()>).await.unwrap();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    assert!(metrics.contains("trimtab_router_certificate_not_after_seconds{certificate="), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_comes_in_force_and_a_broken_one_does_not() {
    let mut bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let old = certificate(bench.dir.path(), "site", &["a.test"]);
    bench.put(&secure(&bench, &upstream, &[&old])).await;
    let before = trusting(&[&old], &[]);
    let mut open = over_http1(connect(bench.listen, "a.test", &before).await.unwrap()).await;
    assert_eq!(open.send_request(get("/", "a.test")).await.unwrap().status(), 200);

    std::fs::write(&old.certificate, "garbage").unwrap();
    let told = || async {
        let said = bench.hello().await.unwrap().limitations.join("\n");
        if said.contains("goes on") { Ok(()) } else { Err(said) }
    };
    eventually_async(PATIENCE, "the broken one is told of", told).await;
    connect(bench.listen, "a.test", &before).await.expect("the one before is still used");
    // A successor would have none: it does not take over.
    let mut successor = crate::support::Running::spawn(&mut bench.command());
    assert!(!successor.0.wait().unwrap().success());
    connect(bench.listen, "a.test", &before).await.expect("the one that ran goes on");

    let new = certificate(bench.dir.path(), "site", &["a.test"]);
    let after = trusting(&[&new], &[]);
    eventually_async(PATIENCE, "the new one is used", || async {
        connect(bench.listen, "a.test", &after).await.is_ok()
    })
    .await;
    assert!(bench.hello().await.unwrap().limitations.is_empty());
    assert_eq!(open.send_request(get("/", "a.test")).await.unwrap().status(), 200, "open connections went on");
    let pid = bench.process.pid();
    kill(Pid::from_raw(pid as i32), Signal::SIGHUP).unwrap();
    eventually_async(PATIENCE, "another router serves", || async {
        bench.hello().await.is_ok_and(|hello| hello.pid != pid)
    })
    .await;
    let mut sender = over_http1(connect(bench.listen, "a.test", &after).await.unwrap()).await;
    assert_eq!(sender.send_request(get("/", "a.test")).await.unwrap().status(), 200);
    bench.process.0.wait().unwrap();
    let successor = bench.hello().await.unwrap().pid;
    kill(Pid::from_raw(successor as i32), Signal::SIGTERM).unwrap();
    eventually(PATIENCE, "the successor ends", || !alive(successor));
}

#[tokio::test]
async fn a_route_whose_certificate_can_not_be_used_is_refused() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let files = certificate(bench.dir.path(), "site", &["a.test"]);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&files.key, open).unwrap();
    let refused = bench.put_at(1, &secure(&bench, &upstream, &[&files])).await.unwrap_err().to_string();
    assert!(refused.contains("site.key") && refused.contains("0644"), "{refused}");
    assert!(TcpStream::connect(bench.listen).is_err(), "nothing was changed");
}

#[tokio::test]
async fn http2_is_spoken_with_and_without_tls_many_requests_at_once() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    let files = certificate(bench.dir.path(), "site", &["a.test"]);
    let plain = bench.route(&[("v1", 1, &[&upstream])]);
    bench.put(&plain).await;
    let stream = tokio::net::TcpStream::connect(bench.listen).await.unwrap();
    let sender = over_http2(stream).await;
    check_http2(sender, "http://a.test", "http").await;

    bench.put(&RouteConfig { tls: secure(&bench, &upstream, &[&files]).tls, ..plain }).await;
    let stream = connect(bench.listen, "a.test", &trusting(&[&files], &["h2", "http/1.1"])).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    check_http2(over_http2(stream).await, "https://a.test", "https").await;
}

async fn check_http2(sender: Http2, base: &str, scheme: &str) {
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (mut sender, uri) = (sender.clone(), format!("{base}/head"));
        asked.spawn(async move {
            let request = Request::get(uri).header("cookie", "a=1").header("cookie", "b=2").body(Empty::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
            text(response).await.to_ascii_lowercase()
        });
    }
    for told in asked.join_all().await {
        assert!(told.contains(&format!("x-forwarded-proto: {scheme}")) && told.contains("host: a.test"), "{told}");
        assert!(told.contains("cookie: a=1; b=2"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_clients_are_told_to_go_when_the_router_leaves_and_lose_nothing() {
    let mut bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let mut sender = over_http2(tokio::net::TcpStream::connect(bench.listen).await.unwrap()).await;
    let hanging = tokio::spawn(sender.send_request(get("http://a.test/hang", "")));
    eventually(PATIENCE, "the request is in flight", || upstream.serving() == 1);
    kill(Pid::from_raw(bench.process.pid() as i32), Signal::SIGTERM).unwrap();
    eventually(PATIENCE, "nothing new is taken", || TcpStream::connect(bench.listen).is_err());
    upstream.watch.go.notify_one();
    assert_eq!(hanging.await.unwrap().unwrap().status(), 200);
    drop(sender);
    assert!(bench.process.0.wait().unwrap().success());
}

#[tokio::test]
async fn a_client_that_only_takes_requests_back_is_cut() {
    let bench = Bench::start().await;
    let upstream = Upstream::start("v1");
    bench.put(&bench.route(&[("v1", 1, &[&upstream])])).await;
    let mut sender = over_http2(tokio::net::TcpStream::connect(bench.listen).await.unwrap()).await;
    let mut asked = 0;
    while !sender.is_closed() && asked < 5_000 {
        if sender.ready().await.is_err() {
            break;
        }
        let request = sender.send_request(get("http://a.test/hang", ""));
        let _ = tokio::time::timeout(std::time::Duration::from_millis(2), request).await;
        asked += 1;
    }
    assert!(asked < 5_000, "it was never cut");
    assert_eq!(bench.get("/").await.status, 200, "others are served");
}

/// An instance that speaks HTTP/2 from the first byte.
fn http2_instance() -> (Endpoint, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
                        let told = format!("{:?} {}", request.version(), request.uri().authority().unwrap());
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let told = [told.as_bytes(), b" ", &body].concat();
                        Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(told))))
                    });
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    (Endpoint { id: "two".into(), address }, thread)
}

#[tokio::test]
async fn instances_are_spoken_to_in_http2_where_the_app_says_so() {
    let bench = Bench::start().await;
    let (endpoint, _thread) = http2_instance();
    let mut route = bench.route(&[]);
    route.backends.push(Backend { group: "v1".into(), weight: 1, endpoints: vec![endpoint], testers: false });
    route.upstream = Spoken::Http2;
    bench.put(&route).await;
    for _ in 0..3 {
        let answer = bench.get("/").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "HTTP/2.0 test "));
    }
    let chunked = "POST /x HTTP/1.1\r\nHost: test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(bench.send(chunked).await.body, "HTTP/2.0 test abc");
    assert_eq!(bench.group("v1").await.failed, 0);
}

/// An instance that takes one connection, agrees to another protocol, and sends back what comes in capitals.
fn shouting(answer: &'static str) -> (Endpoint, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint { id: "shout".into(), address: listener.local_addr().unwrap() };
    let thread = std::thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut first = [0];
            // The first connection only looks whether one can be made.
            if stream.read(&mut first).unwrap_or(0) == 0 {
                continue;
            }
            let head = read_until(&mut stream, "\r\n\r\n");
            stream.write_all(answer.as_bytes()).unwrap();
            let mut bytes = [0; 1024];
            while let Ok(length @ 1..) = stream.read(&mut bytes) {
                stream.write_all(&bytes[..length].to_ascii_uppercase()).unwrap();
            }
            return head.to_ascii_lowercase();
        }
    });
    (endpoint, thread)
}

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Kept: 1\r\n\r\n";
const WISH: &[u8] = b"GET /ws HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn upgrading(bench: &Bench, endpoint: Endpoint) -> RouteConfig {
    let mut route = bench.route(&[]);
    route.backends.push(Backend { group: "v1".into(), weight: 1, endpoints: vec![endpoint], testers: false });
    route
}

#[tokio::test]
async fn another_protocol_takes_over_and_is_drained_like_a_request() {
    let bench = Bench::start().await;
    let (endpoint, instance) = shouting(SWITCH);
    let mut route = upgrading(&bench, endpoint);
    route.drain = trimtab::domain::span::Span::from_secs(2);
    bench.put(&route).await;
    let mut stream = send(bench.listen, WISH);
    let head = read_until(&mut stream, "\r\n\r\n").to_ascii_lowercase();
    assert!(head.contains("101") && head.contains("upgrade: websocket") && head.contains("x-kept: 1"), "{head}");
    stream.write_all(b"hello").unwrap();
    read_until(&mut stream, "HELLO");
    bench.until("it counts as in flight", |status| status.endpoints[0].in_flight == 1).await;
    // Taken out, it goes on until its time to drain is over.
    route.backends[0] = Backend { group: "v2".into(), weight: 0, endpoints: vec![], testers: false };
    let status = bench.put(&route).await;
    assert!(status.endpoints.iter().any(|endpoint| endpoint.draining && endpoint.in_flight == 1), "{status:?}");
    stream.write_all(b"more").unwrap();
    read_until(&mut stream, "MORE");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    bench.until("nothing is in flight", |status| status.endpoints.iter().all(|e| e.in_flight == 0)).await;
    let head = instance.join().unwrap();
    assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
}

#[tokio::test]
async fn what_nobody_asked_for_does_not_take_over() {
    let bench = Bench::start().await;
    let (endpoint, _instance) = shouting(SWITCH);
    bench.put(&upgrading(&bench, endpoint)).await;
    assert_eq!(bench.get("/").await.status, 502);

    let (endpoint, instance) = shouting("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let mut route = upgrading(&bench, endpoint);
    route.backends[0].group = "v2".into();
    bench.put(&route).await;
    let smuggled = "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
                    HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    assert_eq!(bench.send(smuggled).await.status, 200);
    let head = instance.join().unwrap();
    assert!(!head.contains("upgrade") && !head.contains("http2-settings"), "{head}");
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer_like_any_other() {
    let bench = Bench::start().await;
    let (endpoint, _instance) = shouting("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    bench.put(&upgrading(&bench, endpoint)).await;
    let mut stream = send(bench.listen, WISH);
    assert!(read_until(&mut stream, "\r\n\r\nno").contains("403"));
}

#[tokio::test]
async fn testers_reach_the_marked_group_at_any_weight() {
    let bench = Bench::start().await;
    let (stable, candidate) = (Upstream::start("v1"), Upstream::start("v2"));
    let mut route = bench.route(&[("v1", 100, &[&stable]), ("v2", 0, &[&candidate])]);
    route.testers = vec![
        Tester::Header { name: "x-version".into(), value: "next".into() },
        Tester::Cookie { name: "tester".into(), value: "1".into() },
    ];
    route.backends[1].testers = true;
    bench.put(&route).await;
    let served = |answer: &Answer| answer.header("x-version").map(str::to_owned);
    let ask = |lines: &str| bench.send(format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{lines}\r\n"));
    for lines in ["X-Version: next\r\n", "Cookie: a=b; tester=1\r\n"] {
        assert_eq!(served(&ask(lines).await).as_deref(), Some("v2"), "{lines}");
    }
    for lines in ["", "X-Version: other\r\n", "Cookie: tester=11\r\n", "X-Versions: next\r\n"] {
        assert_eq!(served(&ask(lines).await).as_deref(), Some("v1"), "{lines}");
    }
    // Without anything there that can serve a tester is a client like any other.
    drop(candidate);
    let back = || async { served(&ask("X-Version: next\r\n").await).as_deref() == Some("v1") };
    eventually_async(PATIENCE, "testers fall back", back).await;
    route.backends[1].testers = false;
    bench.put(&route).await;
    assert_eq!(served(&ask("X-Version: next\r\n").await).as_deref(), Some("v1"));
}
