//! A relay before a Unix socket that counts what is asked, so that "no request" is seen and not believed.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// How many requests went through, but for those that only ask whether the peer is still the same and those that wait for news.
#[derive(Clone, Default)]
pub struct Count(Arc<AtomicU64>);

impl Count {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Relays each connection to `from` on to `to`, for the life of the process.
pub fn start(from: &Path, to: PathBuf, count: Count) -> anyhow::Result<()> {
    let listener = UnixListener::bind(from)?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (to, count) = (to.clone(), count.clone());
            thread::spawn(move || relay(client, &to, &count));
        }
    });
    Ok(())
}

fn relay(client: UnixStream, to: &Path, count: &Count) -> Option<()> {
    let mut server = UnixStream::connect(to).ok()?;
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    if !first.contains("/v1/hello") && !first.contains("wait=") {
        count.0.fetch_add(1, Ordering::Relaxed);
    }
    server.write_all(first.as_bytes()).ok()?;
    let mut upstream = server.try_clone().ok()?;
    thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut upstream);
        let _ = upstream.shutdown(std::net::Shutdown::Write);
    });
    let mut back = client;
    let _ = std::io::copy(&mut server, &mut back);
    let _ = back.shutdown(std::net::Shutdown::Both);
    Some(())
}
