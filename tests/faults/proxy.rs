//! A proxy before a Unix socket that catches one request and keeps it until it is let go.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

/// Between whoever connects to `socket` and whoever listens on the other one.
pub struct Proxy {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    /// The beginning of the request that is caught, once.
    wanted: Mutex<Option<String>>,
    caught: Notify,
    go: Notify,
}

impl Proxy {
    pub fn new(socket: &Path, upstream: PathBuf) -> Proxy {
        let listener = UnixListener::bind(socket).unwrap();
        let shared = Arc::new(Shared::default());
        let all = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, upstream.clone(), all.clone()));
            }
        });
        Proxy { shared, task }
    }

    /// From now on the first request that begins so is caught.
    pub fn catch(&self, request: &str) {
        *self.shared.wanted.lock().unwrap() = Some(request.to_owned());
    }

    /// Waits until it is.
    pub async fn caught(&self) {
        tokio::time::timeout(crate::support::PATIENCE, self.shared.caught.notified())
            .await
            .expect("no such request came");
    }

    /// Lets it go on its way.
    pub fn release(&self) {
        self.shared.go.notify_one();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Each request has a connection of its own.
async fn pass(mut client: UnixStream, upstream: PathBuf, shared: Arc<Shared>) {
    let mut head = vec![0; 16 << 10];
    let Ok(length) = client.read(&mut head).await else { return };
    head.truncate(length);
    let caught = {
        let mut wanted = shared.wanted.lock().unwrap();
        wanted.take_if(|wanted| head.starts_with(wanted.as_bytes())).is_some()
    };
    if caught {
        shared.caught.notify_one();
        shared.go.notified().await;
    }
    let Ok(mut server) = UnixStream::connect(upstream).await else { return };
    if server.write_all(&head).await.is_ok() {
        // Whoever leaves first ends it.
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
