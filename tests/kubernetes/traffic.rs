//! A client that counts every request, through a rolling update behind a Service.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use trimtab::load::{Load, Plan};

use super::documents::{self, SERVICE, UNIT, release};
use super::installation::Installation;
use crate::support::{PATIENCE, eventually, eventually_async};

/// A pod that is to end serves on while the gate is closed: how long nodes take to hear of it is not a matter of this test.
fn deployment(version: &str, gate: &Path) -> String {
    let stop = "{ exec: { command: [sh, -c, \"while [ -e /extra/closed ]; do sleep 0.2; done\"] } }";
    documents::own_build(&documents::deployment(version), 600, Some(stop), Some(gate))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_loses_no_request() {
    let gate = tempfile::Builder::new().prefix("trimtab-gate-").tempdir().unwrap();
    let closed = gate.path().join("closed");
    std::fs::write(&closed, "").unwrap();
    let manifests = [("deploy/web.yaml", &*deployment("1", gate.path())), ("deploy/service.yaml", SERVICE)];
    let Some(installation) = Installation::start(&manifests) else { return };
    installation.verified(UNIT, "1").await;
    let service = installation.namespace.object("service/web");
    let address: SocketAddr = format!("{}:80", service["spec"]["clusterIP"].as_str().unwrap()).parse().unwrap();
    // A Deployment is available up to a second before the node's rules of a new Service lead anywhere; between "nobody is there" and
    // the first pod a connection may go nowhere.
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(1)).build().unwrap();
    eventually_async(PATIENCE, "the Service answers", async || {
        let answer = client.get(format!("http://{address}/")).send().await.map_err(|error| format!("{error:?}"))?;
        if answer.headers().contains_key("x-version") { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    // A server that ends closes its idle connections: without a proxy before it, only new ones can be without loss.
    let load = Load::start(Plan { fresh: 1.0, timeout: PATIENCE, ..Plan::new(address, "web", 50.0) });
    installation.push("second", &[("deploy/web.yaml", &deployment("2", gate.path())), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    // Whoever is led to the old ones at all is led there half of the time, or a quarter of it.
    let answers = |version: &str| load.so_far().versions.get(version).map_or(0, |version| version.answers);
    let mut since = (answers("1"), answers("2"));
    eventually(PATIENCE, "nobody is led to the old pods any more", || {
        let now = (answers("1"), answers("2"));
        if now.0 != since.0 {
            since = now;
        }
        if now.1 >= since.1 + 150 { Ok(()) } else { Err(format!("{since:?}, {now:?}")) }
    });
    std::fs::remove_file(closed).unwrap();
    eventually(PATIENCE, "the old pods are gone", || {
        let pods = installation.namespace.must(&["get", "pods", "--output", "name"]);
        if pods.lines().count() == 2 { Ok(()) } else { Err(pods) }
    });
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
    assert!(report.versions.contains_key("1") && report.versions.contains_key("2"), "{report}");
}
