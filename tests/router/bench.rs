//! A router under test, what it is told, and plain clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use http::Method;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use trimtab::domain::digest::Digest;
use trimtab::domain::id::Epoch;
use trimtab::domain::span::Span;
use trimtab::net::client::{Client, ClientError, segment};
use trimtab::protocol::router::{Backend, Endpoint, GroupStats, PutRoute, RouteConfig, RouteStatus};
use trimtab::protocol::{Hello, Markers, VERSION};

use super::upstream::Upstream;
use crate::support::{PATIENCE, Running, eventually_async, trimtab};

/// The route that the tests set.
pub const KEY: &str = "hello/staging/default";

/// A router of its own, with a free address for a listener.
pub struct Bench {
    pub dir: TempDir,
    pub process: Running,
    pub admin: Client,
    pub listen: SocketAddr,
    arguments: Vec<String>,
    _reserved: Socket,
}

impl Bench {
    pub async fn start() -> Bench {
        Bench::start_with(&[]).await
    }

    pub async fn start_with(arguments: &[&str]) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let process = Running::spawn(&mut command(&dir, &arguments));
        let admin = Client::new(dir.path().join("router.sock"));
        let (_reserved, listen) = reserve();
        let bench = Bench { process, admin, listen, arguments, dir, _reserved };
        bench.wait_for(bench.process.pid()).await;
        bench
    }

    /// A command that starts another router on the same state.
    pub fn command(&self) -> Command {
        command(&self.dir, &self.arguments)
    }

    /// Starts another process on the same state; the one before must have ended, or hands over.
    pub async fn start_again(&mut self) -> Running {
        let next = Running::spawn(&mut self.command());
        let before = std::mem::replace(&mut self.process, next);
        self.wait_for(self.process.pid()).await;
        before
    }

    /// Waits until the router with this process id answers.
    pub async fn wait_for(&self, pid: u32) {
        eventually_async(PATIENCE, "the router answers", || self.answers(pid)).await;
    }

    async fn answers(&self, pid: u32) -> Result<(), String> {
        let hello = self.hello().await.map_err(|error| error.to_string())?;
        if hello.pid == pid { Ok(()) } else { Err(format!("process {} answers", hello.pid)) }
    }

    pub async fn hello(&self) -> Result<Hello, ClientError> {
        self.admin.get("/v1/hello").await
    }

    /// A route from this router's address to these groups with these weights.
    pub fn route(&self, groups: &[(&str, u32, &[&Upstream])]) -> RouteConfig {
        let backend = |(group, weight, upstreams): &(&str, u32, &[&Upstream])| Backend {
            group: (*group).into(),
            weight: *weight,
            endpoints: upstreams.iter().map(|upstream| upstream.endpoint()).collect(),
            testers: false,
        };
        RouteConfig { backends: groups.iter().map(backend).collect(), ..bare_route(self.listen) }
    }

    /// Sets a route at epoch 1.
    pub async fn put(&self, route: &RouteConfig) -> RouteStatus {
        self.put_at(1, route).await.unwrap_or_else(|error| panic!("the route was refused: {error}"))
    }

    pub async fn put_at(&self, epoch: u64, route: &RouteConfig) -> Result<RouteStatus, ClientError> {
        let put = PutRoute { version: VERSION, epoch: Epoch(epoch), route: route.clone() };
        let path = format!("/v1/routes/{}", segment(&route.key));
        self.admin.json(Method::PUT, &path, Some(&put)).await
    }

    pub async fn status(&self) -> RouteStatus {
        let path = format!("/v1/routes/{}", segment(KEY));
        self.admin.get(&path).await.unwrap_or_else(|error| panic!("no status: {error}"))
    }

    /// Waits until the status is as wished.
    pub async fn until(&self, what: &str, wished: impl Fn(&RouteStatus) -> bool) -> RouteStatus {
        let look = || async {
            let status = self.status().await;
            if wished(&status) { Ok(status) } else { Err(format!("{:?} {:?}", status.endpoints, status.held)) }
        };
        eventually_async(PATIENCE, what, look).await
    }

    pub async fn group(&self, group: &str) -> GroupStats {
        let status = self.status().await;
        status.groups.into_iter().find(|stats| stats.group.as_str() == group).expect("the group has counters")
    }

    /// Sends a GET over a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")).await
    }

    /// Sends bytes over a connection of its own and reads until its end.
    pub async fn send(&self, text: impl Into<Vec<u8>>) -> Answer {
        let (listen, text) = (self.listen, text.into());
        tokio::task::spawn_blocking(move || Answer::read(send(listen, &text))).await.unwrap()
    }

    pub fn state_file(&self) -> PathBuf {
        self.dir.path().join("state/router.json")
    }
}

fn command(dir: &TempDir, arguments: &[String]) -> Command {
    let mut command = trimtab();
    command.arg("router").arg("--state-dir").arg(dir.path().join("state"));
    command.arg("--socket").arg(dir.path().join("router.sock")).args(arguments);
    // Where systemd would put the credentials of the service.
    command.env("CREDENTIALS_DIRECTORY", dir.path().join("credentials"));
    if !arguments.iter().any(|argument| argument == "--threads") {
        command.args(["--threads", "2"]);
    }
    // Kept beside the state for who looks into a failed test; a test binary's own output stays readable.
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command
}

/// A route without groups.
pub fn bare_route(listen: SocketAddr) -> RouteConfig {
    RouteConfig {
        key: KEY.into(),
        markers: Markers {
            installation: "test".into(),
            unit: KEY.parse().unwrap(),
            rendered: Digest::from_text("r1:00"),
            version: "1".into(),
        },
        listen,
        host: None,
        path: "/".into(),
        backends: Vec::new(),
        hold: None,
        sticky: None,
        probe: None,
        drain: Span::from_secs(30),
        timeout: Span::from_secs(30),
        tls: None,
        upstream: Default::default(),
        testers: Vec::new(),
    }
}

/// A port that no other socket gets for as long as this one lives, while whoever asks for it by number can listen there.
pub fn reserve() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// An endpoint where nobody listens, nor will.
pub fn nobody(id: &str) -> Endpoint {
    let (socket, address) = reserve();
    std::mem::forget(socket);
    Endpoint { id: id.into(), address }
}

/// Opens a connection, sends, and leaves it open.
pub fn send(address: SocketAddr, text: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text).unwrap();
    stream
}

/// What came back on a connection, up to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
    /// The connection was reset rather than closed.
    pub reset: bool,
}

impl Answer {
    pub fn read(mut stream: TcpStream) -> Answer {
        let mut bytes = Vec::new();
        let reset = stream.read_to_end(&mut bytes).is_err();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned(), reset }
    }

    /// A header's value, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().filter_map(|line| line.split_once(": ")).find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// Reads from a connection until the text has come.
pub fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&bytes).contains(wanted) {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            other => panic!("{wanted:?} did not come: {other:?} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
