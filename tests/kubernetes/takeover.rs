//! What somebody else runs is taken over straight into versions: it counts as the group before the first, and goes after its delay.

use std::sync::Arc;

use serde_json::Value;
use trimtab::api::types::UnitStatus;

use super::cluster::Namespace;
use super::counted::{Counted, Gates};
use super::documents::{self, SERVICE, UNIT, release};
use super::installation::Installation;
use super::strategies::{alone, selected, web};
use crate::support::{PATIENCE, eventually};

const BUDGET: &str = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: { name: web }\nspec:\n  maxUnavailable: 1\n  \
                      selector: { matchLabels: { app: web } }\n";

/// A namespace in which somebody runs the web server without trimtab.
fn theirs(deployment: &str) -> Option<Namespace> {
    let namespace = Namespace::new()?;
    let all = [deployment, SERVICE, BUDGET].join("---\n");
    namespace.pipe(&["create", "--filename", "-"], &all).unwrap();
    namespace.must(&["rollout", "status", "deployment/web", "--timeout", "120s"]);
    Some(namespace)
}

/// The app at a version, which takes it over.
fn install(namespace: Namespace, strategy: &str, version: &str, deployment: &str) -> Installation {
    let app = format!("{}  strategy: {strategy}\n", documents::app(", adopt: true"));
    let release = release(version);
    let files = [
        ("app.yaml", &*app),
        ("release.yaml", &*release),
        ("deploy/web.yaml", deployment),
        ("deploy/service.yaml", SERVICE),
        ("deploy/budget.yaml", BUDGET),
    ];
    Installation::of("", &files, namespace)
}

fn uid(namespace: &Namespace, object: &str) -> Value {
    namespace.object(object)["metadata"]["uid"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_run_is_taken_over_straight_into_blue_green_without_losing_a_request() {
    taken_over("{ blueGreen: { scaleDownDelay: 2s } }").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_run_is_taken_over_straight_into_a_canary_without_losing_a_request() {
    taken_over("{ canary: { steps: [ { weight: 50 }, { pause: {} } ], scaleDownDelay: 2s } }").await;
}

async fn taken_over(strategy: &str) {
    let gates = Arc::new(Gates::closed());
    let two = |version: &str| gates.guard(&web(version), version);
    let Some(namespace) = theirs(&two("1")) else { return };
    let service = uid(&namespace, "service/web");
    let counted = Counted::start(&namespace, &gates, 50.0).await;
    let installation = install(namespace, strategy, "2", &two("2"));
    let both =
        |status: &UnitStatus| status.groups.len() == 2 && status.groups.iter().any(|group| group.version == "as found");
    installation.wait(UNIT, "the new version stands beside what was found", both).await;
    installation.verified(UNIT, "2").await;
    let own = alone(&installation);
    assert_eq!(own, format!("web-{}", selected(&installation, "web")));
    assert_eq!(installation.namespace.names("pdb"), [own], "what was of the found pods alone is gone with them");
    assert_eq!(uid(&installation.namespace, "service/web"), service, "it was never deleted");
    assert!(counted.answers("1") > 0 && counted.answers("2") > 0);
    eventually(PATIENCE, "the found pods were told to end", || counted.left().len() == 2);
    let left = counted.lossless().await;
    assert!(left.iter().all(|left| !left.selected && left.group.is_empty()), "{left:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_found_stays_where_its_successor_is_aborted_and_goes_with_the_next() {
    let manual = "{ blueGreen: { promote: manual, scaleDownDelay: 1s } }";
    let plain = web;
    let Some(namespace) = theirs(&plain("1")) else { return };
    let before = ["deployment/web", "service/web", "pdb/web"].map(|object| uid(&namespace, object));
    let mut installation = install(namespace, manual, "2", &plain("2"));
    let pauses = |status: &UnitStatus| status.message.contains("waits until promoted");
    installation.wait(UNIT, "the preview waits", pauses).await;
    installation.kill_daemon();
    installation.start_daemon();
    installation.wait(UNIT, "the preview waits on", pauses).await;
    let told = installation.told(&["rollout", "abort", "web"]);
    eventually(PATIENCE, "what was found is alone again", || match &*installation.namespace.names("deployments") {
        [one] if one == "web" => Ok(()),
        all => Err(format!("{all:?}; {told}")),
    });
    let after = ["deployment/web", "service/web", "pdb/web"].map(|object| uid(&installation.namespace, object));
    assert_eq!(after, before, "nothing of it was made anew");
    let selector = installation.namespace.object("service/web")["spec"]["selector"].clone();
    assert_eq!(selector, serde_json::json!({ "app": "web" }));

    installation.push("3", &[("deploy/web.yaml", &plain("3")), ("release.yaml", &release("3"))]);
    installation.wait(UNIT, "the next preview waits", pauses).await;
    installation.told(&["rollout", "promote", "web"]);
    installation.verified(UNIT, "3").await;
    assert_eq!(alone(&installation), format!("web-{}", selected(&installation, "web")));
    assert_eq!(uid(&installation.namespace, "service/web"), before[1]);
}
