//! A client that counts every request, through a rolling update behind a Service.

use std::sync::Arc;

use super::counted::{Counted, Gates};
use super::documents::{SERVICE, UNIT, deployment, release};
use super::installation::Installation;
use crate::support::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_update_loses_no_request() {
    let gates = Arc::new(Gates::closed());
    let pods = |version: &str| gates.guard(&deployment(version), version);
    let manifests = [("deploy/web.yaml", &*pods("1")), ("deploy/service.yaml", SERVICE)];
    let Some(installation) = Installation::start(&manifests) else { return };
    installation.verified(UNIT, "1").await;
    let counted = Counted::start(&installation.namespace, &gates, 50.0).await;
    installation.push("second", &[("deploy/web.yaml", &pods("2")), ("release.yaml", &release("2"))]);
    installation.verified(UNIT, "2").await;
    eventually(PATIENCE, "the old pods are gone", || {
        let pods = installation.namespace.must(&["get", "pods", "--output", "name"]);
        if pods.lines().count() == 2 { Ok(()) } else { Err(pods) }
    });
    assert!(counted.answers("1") > 0 && counted.answers("2") > 0);
    counted.lossless().await;
}
