//! The references under docs/reference are written from the program; `TRIMTAB_REFERENCE=write` writes them anew.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use http::Method;
use trimtab::app::telemetry::Telemetry;
use trimtab::cli::{reference, schema};
use trimtab::net::client::Client;
use trimtab::supervisor::metrics::Metrics;

use crate::support::{PATIENCE, Running, eventually_async, trimtab};

/// Compares a reference with what stands in its file, or writes it.
fn current(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    if std::env::var("TRIMTAB_REFERENCE").is_ok_and(|value| value == "write") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let is = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        is == text,
        "docs/reference/{name} is stale: TRIMTAB_REFERENCE=write tests/run --no-beds -- cli::reference"
    );
}

#[test]
fn the_command_lines_is_current() {
    current("cli.md", &reference::markdown());
}

#[test]
fn the_manifests_is_current() {
    current("manifest.md", &schema::markdown());
}

#[tokio::test]
async fn the_metrics_is_current() {
    let mut text =
        "# Metrics reference\n\nWritten from the program itself; each answers `GET /metrics` on its socket.\n"
            .to_owned();
    let described = [
        ("The daemon", Telemetry::default().described()),
        ("The supervisor", Metrics::new().unwrap().described()),
        ("The router", router().await),
    ];
    for (program, mut metrics) in described {
        metrics.sort();
        text.push_str(&format!("\n## {program}\n\n| metric | labels | |\n|---|---|---|\n"));
        for (name, labels, help) in metrics {
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            text.push_str(&format!("| `{name}` | {} | {help} |\n", labels.join(", ")));
        }
    }
    current("metrics.md", &text);
}

/// What a router that has just started tells of its metrics.
async fn router() -> Vec<(String, Vec<String>, String)> {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("router.sock");
    let mut command = trimtab();
    command.arg("router").arg("--state-dir").arg(dir.path().join("state")).arg("--socket").arg(&socket);
    let _router = Running::spawn(command.args(["--threads", "1"]).stdin(Stdio::null()).stderr(Stdio::null()));
    let client = Client::new(&socket);
    let text = eventually_async(PATIENCE, "the router answers", async || {
        client.bytes(Method::GET, "/metrics", None::<&()>).await
    })
    .await;
    let text = String::from_utf8(text.to_vec()).unwrap();
    let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
    let own = helps.filter(|(name, _)| name.starts_with("trimtab_"));
    own.map(|(name, help)| (name.to_owned(), Vec::new(), help.to_owned())).collect()
}
