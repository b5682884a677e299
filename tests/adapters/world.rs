//! What the adapters speak to: supervisors and routers of the binary under test, and small servers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::id::UnitId;

use crate::support::{Running, TRIMTAB, free_port, trimtab};

pub const INSTALLATION: &str = "test";

/// A supervisor or router and where it lives. Dropping it kills it and whatever it has started.
pub struct Process {
    verb: &'static str,
    folder: tempfile::TempDir,
    running: Option<Running>,
}

impl Process {
    /// Not started yet.
    pub fn new(verb: &'static str) -> Self {
        Process { verb, folder: tempfile::tempdir().unwrap(), running: None }
    }

    /// Started.
    pub fn started(verb: &'static str) -> Self {
        let mut process = Process::new(verb);
        process.start();
        process
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub fn start(&mut self) {
        let mut command = trimtab();
        command.arg(self.verb).arg("--state-dir").arg(self.folder.path().join("state"));
        command.arg("--socket").arg(self.socket()).env("TRIMTAB_LOG", "warn").stdout(Stdio::null());
        self.running = Some(Running::spawn(&mut command));
    }

    pub fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.running.take());
        // What a supervisor has started outlives it on purpose, and has its folder in the command line or as working directory.
        for pid in pids_below(self.folder.path()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }
}

fn pids_below(folder: &Path) -> Vec<i32> {
    let folder = folder.to_str().unwrap();
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let workdir = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        if String::from_utf8_lossy(&arguments).contains(folder) || workdir.starts_with(folder) {
            pids.push(pid);
        }
    }
    pids
}

pub fn unit() -> UnitId {
    "hello/staging/default".parse().unwrap()
}

/// The demo's app with a route, in its stored form with `changes` merged in at the top.
pub fn desired(version: &str, changes: &Value) -> DesiredUnit {
    let probe = json!({
        "check": { "http": { "path": "/healthz" } },
        "interval": "50ms", "timeout": "2s", "healthyAfter": 1, "unhealthyAfter": 3,
    });
    let mut stored = json!({
        "unit": unit(),
        "version": version,
        "workload": { "process": {
            "command": [TRIMTAB, "demo-app", "--port", "{{ port }}", "--version", version],
            "env": { "MOTD": "hello" },
        } },
        "replicas": 2,
        "health": { "readiness": probe, "within": "1m" },
        "route": { "listen": "127.0.0.1:1", "path": "/", "drain": "5s", "timeout": "5s" },
        "strategy": { "recreate": { "hold": "1s" } },
        "rollback": { "on": [], "window": "1s" },
        "prune": true,
    });
    for (key, value) in changes.as_object().unwrap() {
        stored[key] = value.clone();
    }
    serde_json::from_value(stored).unwrap()
}

/// A route's settings on a free port.
pub fn route() -> (SocketAddr, Value) {
    let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
    (
        listen,
        json!({ "route": { "listen": listen, "path": "/", "drain": "5s", "timeout": "5s" }, "health": { "within": "1m" } }),
    )
}

/// A server that answers with this status on a free port until the runtime ends; `/slow` answers when told to.
pub async fn upstream(status: u16, slow: std::sync::Arc<tokio::sync::Notify>) -> SocketAddr {
    let status = StatusCode::from_u16(status).unwrap();
    let app = Router::new()
        .route(
            "/slow",
            axum::routing::get(move || async move {
                slow.notified().await;
                "done"
            }),
        )
        .fallback(move || async move { status });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// A request through a listener; its status, or what went wrong.
pub async fn ask(listen: SocketAddr, path: &str) -> Result<u16, String> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
    let response = client.get(format!("http://{listen}{path}")).send().await.map_err(|error| error.to_string())?;
    Ok(response.status().as_u16())
}
