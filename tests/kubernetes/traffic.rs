//! A client that counts every request, through a rolling update behind a Service.

use std::net::SocketAddr;
use std::path::Path;

use trimtab::load::{Load, Plan};

use super::documents::{self, SERVICE, UNIT, release};
use super::installation::Installation;
use crate::support::TRIMTAB;

/// The test's own build serves in the pods, from the machine's own folders: it names its version, which is its image's.
fn deployment(version: &str) -> String {
    let folder = Path::new(TRIMTAB).parent().unwrap().display();
    let mut mounts = String::from("          volumeMounts:\n");
    let mut volumes = String::from("      volumes:\n");
    for (name, from, to) in
        [("program", &*folder.to_string(), "/program"), ("lib", "/lib", "/lib"), ("lib64", "/lib64", "/lib64")]
    {
        mounts += &format!("            - {{ name: {name}, mountPath: {to}, readOnly: true }}\n");
        volumes += &format!("        - {{ name: {name}, hostPath: {{ path: {from} }} }}\n");
    }
    // A pod serves on until no one is sent to it any more: on a machine that is kept busy the node hears of it late.
    let container = "          command: [/program/trimtab, demo-app, --address, 0.0.0.0, --port, \"8080\"]\n          \
                     lifecycle: { preStop: { sleep: { seconds: 15 } } }\n";
    documents::deployment(version).replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 30")
        + container
        + &mounts
        + &volumes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_loses_no_request() {
    let manifests = [("deploy/web.yaml", &*deployment("1")), ("deploy/service.yaml", SERVICE)];
    let Some(installation) = Installation::start(&manifests) else { return };
    installation.verified(UNIT, "1").await;
    let service = installation.namespace.object("service/web");
    let address: SocketAddr = format!("{}:80", service["spec"]["clusterIP"].as_str().unwrap()).parse().unwrap();
    // A server that ends closes its idle connections: without a proxy before it, only new ones can be without loss.
    let load = Load::start(Plan { fresh: 1.0, ..Plan::new(address, "web", 50.0) });
    installation.push("second", &[("deploy/web.yaml", &deployment("2")), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    let report = load.stop().await;
    assert_eq!((report.lost(), report.errors()), (0, 0), "{report}");
    assert!(report.versions.contains_key("1") && report.versions.contains_key("2"), "{report}");
}
