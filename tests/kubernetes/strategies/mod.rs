//! Versions side by side on a real cluster: what all tests of them share, and the cases that broke others.

mod analyses;
mod autoscaler;
mod lossless;
mod promotion;
mod restarts;

use serde_json::Value;
use trimtab::api::types::{UnitHealth, UnitStatus};

use super::documents::{self, SERVICE, UNIT, release};
use super::installation::Installation;
use crate::support::{PATIENCE, eventually};

/// The app with a strategy.
pub fn app(strategy: &str) -> String {
    format!("{}  strategy: {strategy}\n", documents::app(""))
}

/// A machine that is kept busy answers a probe late: that is no reason to lead requests elsewhere, or to take a version back.
pub fn web(version: &str) -> String {
    let patient = "periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 30 }";
    documents::deployment(version).replace("periodSeconds: 1 }", patient)
}

/// Version 1 behind a Service; `None` where no cluster is up.
pub fn start(strategy: &str, deployment: &str) -> Option<Installation> {
    let app = app(strategy);
    Installation::start(&[("app.yaml", &*app), ("deploy/web.yaml", deployment), ("deploy/service.yaml", SERVICE)])
}

/// Releases a version, whose Deployment is this.
pub fn push(installation: &Installation, version: &str, deployment: &str) {
    installation.push(version, &[("deploy/web.yaml", deployment), ("release.yaml", &release(version))]);
}

/// The names of the Deployments that there are.
pub fn deployments(installation: &Installation) -> Vec<String> {
    let all: Value = installation.namespace.object("deployments");
    let name = |one: &Value| one["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    all["items"].as_array().unwrap().iter().map(name).collect()
}

/// The version that a Service leads to, as its selector says.
pub fn selected(installation: &Installation, service: &str) -> String {
    let service = installation.namespace.object(&format!("service/{service}"));
    service["spec"]["selector"]["trimtab.dev/group"].as_str().unwrap_or_default().to_owned()
}

/// The only Deployment, once it is that.
#[track_caller]
pub fn alone(installation: &Installation) -> String {
    eventually(PATIENCE, "one Deployment is left", || match &*deployments(installation) {
        [one] => Ok(one.clone()),
        all => Err(format!("{all:?}")),
    })
}

/// A pause is on: the new version is ready and waits for somebody.
pub fn waits(status: &UnitStatus, version: &str) -> bool {
    let new = status.groups.iter().find(|group| group.version == version);
    status.message.contains("waits until promoted")
        && new.is_some_and(|group| group.ready > 0 && group.ready == group.replicas)
}

/// The same, with so many pods of the new version.
pub fn waits_at(status: &UnitStatus, version: &str, pods: u32) -> bool {
    waits(status, version) && status.groups.iter().any(|group| group.version == version && group.replicas == pods)
}

/// The value of the label of a version's pods.
pub fn group_of(status: &UnitStatus, version: &str) -> String {
    let group = status.groups.iter().find(|group| group.version == version);
    group.map(|group| group.group.as_str()[..8].to_owned()).unwrap_or_default()
}

/// Whether the last rollout ended so (`aborted`, `rolledBack`), and one group alone is left.
pub fn ended(status: &UnitStatus, how: &str) -> bool {
    status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == how) && status.groups.len() == 1
}

/// The version before the pushed one, once a rollout went back to it and Git says so.
pub async fn went_back(installation: &Installation, version: &str) -> UnitStatus {
    let back = |status: &UnitStatus| {
        status.rollout.as_ref().is_some_and(|rollout| rollout.summary.status == "rolledBack")
            && status.candidate.as_ref().is_some_and(|candidate| candidate.version == version)
            && status.health == UnitHealth::InSync
    };
    installation.wait(UNIT, "it went back", back).await
}

/// The identity of a Deployment.
pub fn uid(installation: &Installation, deployment: &str) -> Value {
    installation.namespace.object(&format!("deployment/{deployment}"))["metadata"]["uid"].clone()
}

/// Takes away what the pods of a version answer their probe with.
pub fn break_pods(installation: &Installation, group: &str, version: &str) {
    let selector = format!("trimtab.dev/group={group}");
    let pods = installation.namespace.must(&["get", "pods", "--selector", &selector, "--output", "name"]);
    for pod in pods.lines() {
        installation.namespace.must(&["exec", pod, "--", "busybox", "rm", &format!("/www/{version}/healthz")]);
    }
}
