//! What a client may send that is no proper HTTP: whatever comes, the router goes on, and an instance gets only requests that it
//! and the router understand alike.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trimtab::protocol::router::{Backend, Endpoint};

use super::bench::Bench;
use crate::support::PATIENCE;

/// An instance that reads as strictly as the standard allows and writes down what it got.
struct Strict {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Result<String, String>>>>,
}

impl Strict {
    fn start() -> Strict {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let strict = Strict { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let seen = strict.seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || converse(stream, &seen));
            }
        });
        strict
    }
}

fn converse(mut stream: TcpStream, seen: &Mutex<Vec<Result<String, String>>>) {
    loop {
        match request(&mut stream) {
            Ok(None) => return,
            Ok(Some(line)) => {
                seen.lock().unwrap().push(Ok(line));
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
                    return;
                }
            }
            Err(wrong) => {
                seen.lock().unwrap().push(Err(wrong));
                return;
            }
        }
    }
}

/// One byte; `None` at the end.
fn byte(stream: &mut TcpStream) -> Option<u8> {
    let mut byte = [0];
    (stream.read(&mut byte).unwrap_or(0) == 1).then_some(byte[0])
}

/// A line without its CRLF. `Ok(None)` at the end.
fn line(stream: &mut TcpStream) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    while let Some(byte) = byte(stream) {
        bytes.push(byte);
        if byte == b'\n' {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let line = text.strip_suffix("\r\n").ok_or_else(|| format!("a line ends with LF alone: {text:?}"))?;
            let clean = !line.contains(['\r', '\0', '\n']);
            return clean.then(|| Some(line.to_owned())).ok_or_else(|| format!("a line holds control bytes: {text:?}"));
        }
    }
    Ok(None)
}

/// The first line of one request whose body was read. `Ok(None)` where nothing, or no whole request, came.
fn request(stream: &mut TcpStream) -> Result<Option<String>, String> {
    let Some(first) = line(stream)? else { return Ok(None) };
    if first.split(' ').count() != 3 || !first.ends_with(" HTTP/1.1") {
        return Err(format!("no request line: {first:?}"));
    }
    let (mut lengths, mut codings, mut hosts, mut marks) = (Vec::new(), Vec::new(), 0, 0);
    loop {
        let Some(header) = line(stream)? else { return Ok(None) };
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else { return Err(format!("no header: {header:?}")) };
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(format!("a header's name holds white space: {header:?}"));
        }
        match name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(value.trim().to_owned()),
            "transfer-encoding" => codings.push(value.trim().to_ascii_lowercase()),
            "host" => hosts += 1,
            "x-forwarded-for" => marks += 1,
            "upgrade" | "http2-settings" => return Err(format!("what belongs to one hop came through: {header:?}")),
            _ => {}
        }
    }
    // The router marks each request that it knows of: one without was smuggled past it.
    if marks != 1 {
        return Err(format!("{first:?} was smuggled past the router"));
    }
    if hosts != 1 || lengths.len() + codings.len() > 1 {
        return Err(format!("{first:?} has {hosts} hosts, lengths {lengths:?} and codings {codings:?}"));
    }
    if let Some(length) = lengths.first() {
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u64 = digits.then(|| length.parse().ok()).flatten().ok_or(format!("no length: {length:?}"))?;
        return Ok((0..length).all(|_| byte(stream).is_some()).then_some(first));
    }
    match codings.first().map(String::as_str) {
        None => Ok(Some(first)),
        Some("chunked") => Ok(chunks(stream)?.then_some(first)),
        Some(other) => Err(format!("another coding: {other:?}")),
    }
}

/// Whether a body in chunks came whole.
fn chunks(stream: &mut TcpStream) -> Result<bool, String> {
    loop {
        let Some(size) = line(stream)? else { return Ok(false) };
        let length = u64::from_str_radix(&size, 16).map_err(|_| format!("no size of a chunk: {size:?}"))?;
        if !(0..length).all(|_| byte(stream).is_some()) {
            return Ok(false);
        }
        match line(stream)? {
            None => return Ok(false),
            Some(end) if !end.is_empty() => return Err(format!("no end of a chunk: {end:?}")),
            Some(_) if length == 0 => return Ok(true),
            Some(_) => {}
        }
    }
}

/// How long whoever sent something waits for more of an answer.
const QUIET: Duration = Duration::from_millis(200);

/// Sends bytes and reads whatever comes back, until nothing more does. The body of the fuzzing.
fn http(router: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(router).expect("the router takes connections");
    stream.set_read_timeout(Some(QUIET)).unwrap();
    // The router may have answered and closed before all was sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Answers of the instance within what came back.
fn served(answer: &[u8]) -> usize {
    String::from_utf8_lossy(answer).matches("HTTP/1.1 200 OK").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_comes_the_instance_gets_only_what_is_meant_for_it() {
    let bench = Bench::start_with(&["--header-timeout", "2s"]).await;
    let instance = Strict::start();
    let mut route = bench.route(&[]);
    let endpoint = Endpoint { id: "strict".into(), address: instance.address };
    route.backends.push(Backend { group: "v1".into(), weight: 1, endpoints: vec![endpoint], testers: false });
    bench.put(&route).await;
    let router = bench.listen;
    let check = tokio::task::spawn_blocking(move || {
        let mut corpus: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/router/corpus"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        corpus.sort();
        assert!(corpus.len() > 40, "the corpus is there");
        let each = |part: &[std::path::PathBuf]| {
            for bytes in part.iter().map(|path| std::fs::read(path).unwrap()) {
                // Whole, and cut off.
                for cut in [bytes.len(), bytes.len() * 2 / 3, bytes.len() / 3] {
                    http(router, &bytes[..cut]);
                }
            }
        };
        // Most of it is waiting.
        std::thread::scope(|scope| corpus.chunks(4).for_each(|part| drop(scope.spawn(move || each(part)))));
        let seen = instance.seen.lock().unwrap().clone();
        let wrong: Vec<_> = seen.iter().filter_map(|request| request.as_ref().err()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(seen.len() > 10, "what is proper came through: {seen:?}");
        let huge =
            [b"GET /a HTTP/1.1\r\nHost: test\r\nX: ".to_vec(), vec![b'a'; 200_000], b"\r\n\r\n".to_vec()].concat();
        assert_eq!(served(&http(router, &huge)), 0, "a head that is too large");
        let many = format!("GET /a HTTP/1.1\r\nHost: test\r\n{}\r\n", "X: 1\r\n".repeat(1_000));
        assert_eq!(served(&http(router, many.as_bytes())), 0, "too many headers");
        let mut stream = TcpStream::connect(router).unwrap();
        let pipelined = "GET /a HTTP/1.1\r\nHost: test\r\n\r\n".repeat(50);
        stream.write_all(pipelined.as_bytes()).unwrap();
        stream.write_all(b"GET /a HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(served(&answer), 51, "what is proper is served");
    });
    check.await.unwrap();
    tokio::time::timeout(PATIENCE, bench.get("/a")).await.expect("the router goes on");
    assert_eq!(bench.get("/a").await.status, 200);
}
