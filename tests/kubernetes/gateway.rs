//! A canary whose share an HTTPRoute carries, on a real cluster whose gateway is a double: what is written, in which order, and what is
//! waited for.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;

use serde_json::{Value, json};
use tokio::sync::watch;
use trimtab::adapters::platform::kubernetes::KubernetesPlatform;
use trimtab::api::types::UnitStatus;
use trimtab::domain::action::Which;
use trimtab::domain::capabilities::{Capabilities, Split};
use trimtab::domain::desired::DesiredUnit;
use trimtab::domain::id::Epoch;
use trimtab::domain::observed::ObservedBackend;
use trimtab::domain::prediction::Outcome;
use trimtab::ports::platform::{EnsureGroup, Platform, Predict};
use trimtab::ports::traffic::{SetTraffic, Traffic, TrafficError};

use super::adapter::{self, Bed};
use super::documents::{self, SERVICE, UNIT, release};
use super::gateway_double::{GatewayDouble, backends};
use super::installation::{Installation, tells};
use super::proxy::Answer;
use super::strategies::{group_of, waits, web};
use crate::e2e::bed::git;
use crate::support::{PATIENCE, eventually, eventually_async};

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: web }\nspec:\n  \
                     parentRefs: [ { name: edge } ]\n  rules:\n    - backendRefs: [ { name: web, port: 80 } ]\n    \
                     - matches: [ { path: { value: /api } } ]\n      backendRefs: [ { name: web, port: 80, weight: 3 }, { name: other, port: 80 } ]\n";

fn canary(more: &str) -> String {
    let steps = "{ canary: { steps: [ { weight: 20 }, { pause: {} } ], scaleDownDelay: 1s } }";
    format!("{}  strategy: {steps}\n", documents::app(more))
}

/// An installation at version 1, and its gateway, which says nothing yet.
async fn start() -> Option<(Installation, GatewayDouble)> {
    let app = canary("");
    let files = [
        ("app.yaml", &*app),
        ("deploy/web.yaml", &web("1")),
        ("deploy/service.yaml", SERVICE),
        ("deploy/route.yaml", ROUTE),
    ];
    let installation = Installation::start(&files)?;
    installation.verified(UNIT, "1").await;
    let gateway = GatewayDouble::silent(&installation.namespace);
    Some((installation, gateway))
}

fn push(installation: &Installation, version: &str) {
    installation.push(version, &[("deploy/web.yaml", &web(version)), ("release.yaml", &release(version))]);
}

/// What `plan` tells of a version that is not committed yet.
fn planned(installation: &Installation, version: &str) -> String {
    let folder = installation.clone_dir();
    fs::write(folder.join("deploy/web.yaml"), web(version)).unwrap();
    fs::write(folder.join("release.yaml"), release(version)).unwrap();
    let told = installation.told(&["plan", "--dir", folder.to_str().unwrap()]);
    git(&folder, &["checkout", "-q", "."]);
    told
}

fn rules(installation: &Installation) -> [String; 2] {
    let route = installation.namespace.object("httproute/web");
    [0, 1].map(|rule: usize| backends(&route["spec"]["rules"][rule]))
}

fn replicas(installation: &Installation, group: &str) -> Value {
    installation.namespace.object(&format!("deployment/web-{group}"))["spec"]["replicas"].clone()
}

/// argo-rollouts 3926 and 3333: nothing goes on before the gateway says that it has the weights.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_are_the_route_s_and_its_gateway_s_word_is_waited_for() {
    let Some((installation, gateway)) = start().await else { return };
    assert_eq!(rules(&installation), ["web:1", "web:3 other:1"], "as in Git");
    let plan = planned(&installation, "2");
    assert!(plan.contains("canary at 20%, 1 instance") && !plan.contains("approximated"), "{plan}");

    push(&installation, "2");
    let silent =
        |status: &UnitStatus| tells(status, &["HTTPRoute web", "no controller has said anything of it for edge"]);
    let status = installation.wait(UNIT, "the gateway is waited for", silent).await;
    let (old, new) = (group_of(&status, "1"), group_of(&status, "2"));
    let divided = [format!("web:80 web-{new}:20"), format!("web:240 web-{new}:60 other:100")];
    assert_eq!(rules(&installation), divided);
    assert_eq!((replicas(&installation, &old), replicas(&installation, &new)), (2.into(), 1.into()));
    let beside = installation.namespace.object(&format!("service/web-{new}"));
    assert_eq!(beside["spec"]["selector"], json!({ "app": "web", "trimtab.dev/group": new }));
    gateway.speak();
    installation.wait(UNIT, "the canary pauses", |status| waits(status, "2")).await;

    // Somebody turns it up, and somebody takes away what it leads to.
    let edit = r#"[{ "op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 80 }]"#;
    installation.namespace.must(&["patch", "httproute", "web", "--type=json", "--patch", edit]);
    eventually(PATIENCE, "the weights are as they were", || {
        let now = rules(&installation);
        if now == divided { Ok(()) } else { Err(format!("{now:?}; {}", installation.told(&["why", "web"]))) }
    });
    let edited = [format!("web:80 web-{new}:80"), divided[0].clone()];
    eventually(PATIENCE, "the gateway has looked at both", || gateway.seen().ends_with(&edited));
    installation.namespace.must(&["delete", "service", &format!("web-{new}")]);
    eventually(PATIENCE, "it is there again", || installation.namespace.get(&format!("service/web-{new}")));
    installation.wait(UNIT, "the canary pauses", |status| waits(status, "2")).await;

    // No request any more, then no share, then no pods.
    gateway.fall_silent();
    let told = installation.told(&["rollout", "abort", "web"]);
    eventually(PATIENCE, "it has no weight", || {
        let now = rules(&installation)[0].clone();
        if now == format!("web:100 web-{new}:0") { Ok(()) } else { Err(format!("{now}; {told}")) }
    });
    assert_eq!(replicas(&installation, &new), 1, "its gateway has not said that it took the weight away");
    gateway.speak();
    installation.wait(UNIT, "it was aborted", |status| status.groups.len() == 1).await;
    assert_eq!(rules(&installation), ["web:1", "web:3 other:1"]);
    assert_eq!(installation.namespace.names("services"), ["web"]);
    assert_eq!(gateway.wrong(), Vec::<String>::new());
}

/// argo-rollouts 3372, 4390 and 1690.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_outlive_a_lost_state_and_a_newer_commit_and_end_with_the_promotion() {
    let Some((mut installation, gateway)) = start().await else { return };
    gateway.speak();
    let first = gateway.seen();
    push(&installation, "2");
    let status = installation.wait(UNIT, "the canary pauses", |status| waits(status, "2")).await;
    let (old, second) = (group_of(&status, "1"), group_of(&status, "2"));
    installation.kill_daemon();
    fs::remove_dir_all(installation.path("state/daemon")).unwrap();
    installation.start_daemon();
    installation.wait(UNIT, "it asks whether to go on", |status| tells(status, &["nothing is remembered of"])).await;
    assert_eq!(rules(&installation)[0], format!("web:80 web-{second}:20"), "nothing is guessed meanwhile");
    installation.told(&["ack", "-e", "dev", "web"]);
    installation.wait(UNIT, "the canary pauses on", |status| waits(status, "2")).await;
    assert_eq!(rules(&installation)[0], format!("web:80 web-{second}:20"));

    push(&installation, "3");
    let status = installation.wait(UNIT, "the newer canary pauses", |status| waits(status, "3")).await;
    let third = group_of(&status, "3");
    installation.told(&["rollout", "promote", "web"]);
    installation.verified(UNIT, "3").await;
    assert_eq!(rules(&installation), ["web:1", "web:3 other:1"]);
    assert_eq!(installation.namespace.names("services"), ["web"]);
    let selector = installation.namespace.object("service/web")["spec"]["selector"].clone();
    assert_eq!(selector, json!({ "app": "web", "trimtab.dev/group": third }));
    let ways = [
        format!("web:80 web-{second}:20"),
        format!("web:100 web-{second}:0"),
        "web:1".to_owned(),
        format!("web:80 web-{third}:20"),
        format!("web:0 web-{third}:100"),
        "web:1".to_owned(),
    ];
    eventually(PATIENCE, "the gateway has looked at the last of them", || {
        let seen = gateway.seen();
        if seen.len() >= first.len() + ways.len() { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    assert_eq!(gateway.seen()[first.len()..], ways, "the stable version was {old}");
    assert_eq!(gateway.wrong(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_by_pods_says_that_it_is_approximated() {
    let app = canary("");
    let files = [("app.yaml", &*app), ("deploy/web.yaml", &web("1")), ("deploy/service.yaml", SERVICE)];
    let Some(installation) = Installation::start(&files) else { return };
    installation.verified(UNIT, "1").await;
    let plan = planned(&installation, "2");
    assert!(
        plan.contains("approximated: 20% is approximated by the number of instances: 1 new beside 1 old"),
        "{plan}"
    );
}

fn divided(host: &str) -> DesiredUnit {
    let labels = json!({ "app": "web" });
    let id = |group: &str, kind: &str| json!({ "group": group, "kind": kind, "name": "web" });
    let objects = json!([
        { "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": { "replicas": 0,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "web", "image": "web:1" }] } } } },
        { "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "HTTPRoute", "metadata": { "name": "web" },
            "spec": { "parentRefs": [{ "name": "edge" }], "hostnames": [host], "rules": [{ "backendRefs": [{ "name": "web", "port": 80 }] }] } },
        { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "web" },
            "spec": { "selector": labels, "ports": [{ "port": 80 }] } },
    ]);
    let versioned = json!({ "deployment": id("apps", "Deployment"), "services": [id("", "Service")],
        "routes": [id("gateway.networking.k8s.io", "HTTPRoute")] });
    adapter::desired("web", "1", "shop", objects, &json!({ "versioned": versioned }))
}

/// The kinds of the Gateway API.
fn define(bed: &Bed, definitions: &OsStr) {
    bed.must(&["apply", "--server-side", "--filename", definitions.to_str().unwrap()]);
    let established = ["wait", "--for=condition=Established", "crd/httproutes.gateway.networking.k8s.io"];
    // Until it has a status kubectl does not wait for it.
    eventually(PATIENCE, "the kind is established", || bed.kubectl(&established, &Value::Null));
}

async fn split(platform: &KubernetesPlatform, desired: &DesiredUnit) -> Option<Split> {
    platform.capabilities(desired).await.known().map(|can: &Capabilities| can.split)
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_divide_requests_only_where_the_server_knows_what_they_are() {
    let (Some(bed), Some(definitions)) = (Bed::start(), std::env::var_os("TRIMTAB_BED_GATEWAY")) else { return };
    let desired = divided("a.example.com");
    assert_eq!(split(&bed.platform, &desired).await, Some(Split::Replicas));
    let told = bed.platform.predict(Predict { desired: &desired, before: None, restarts: 0 }).await;
    let route = told.objects.iter().find(|one| one.object.starts_with("HTTPRoute"));
    let Some(Outcome::Unpredictable { reason }) = route.map(|route| &route.outcome) else { panic!("{told:?}") };
    assert!(reason.contains("has no kind HTTPRoute") && reason.contains("is its definition installed?"), "{reason}");
    define(&bed, &definitions);
    eventually_async(PATIENCE, "the new kind is known", || async {
        match split(&bed.platform, &desired).await {
            Some(Split::Weights(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// All requests to a group, by a route as a desired state has it.
fn all_to(group: &EnsureGroup, desired: DesiredUnit) -> SetTraffic {
    let all = ObservedBackend { weight: 100, endpoints: BTreeMap::new(), testers: false };
    let backends = [(group.group.clone(), all)].into();
    SetTraffic { rendered: desired.digest(), desired, kind: Which::Main, backends, hold: None }
}

/// It looked before another daemon took over, and writes after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_was_replaced_and_does_not_know_it_writes_no_route() {
    let (Some((bed, proxy)), Some(definitions)) =
        (Bed::behind_a_proxy().await, std::env::var_os("TRIMTAB_BED_GATEWAY"))
    else {
        return;
    };
    define(&bed, &definitions);
    bed.must(&["create", "namespace", "shop"]);
    let first = adapter::group(divided("first.example.com"));
    eventually_async(PATIENCE, "the group is there", || async {
        bed.ensure(1, &first).await.map_err(|error| error.to_string())
    })
    .await;
    bed.platform.set(Epoch(1), &all_to(&first, first.desired.clone())).await.unwrap();
    let writes = || proxy.asked().iter().filter(|asked| asked.patches("/httproutes/web")).count();
    let before = writes();
    let goes = watch::Sender::new(false);
    let mut held = Some(Answer::Held(goes.subscribe()));
    proxy.answer(move |asked| held.take_if(|_| asked.patches("/httproutes/web")));
    let (stale, newer) = (all_to(&first, divided("stale.example.com")), bed.another());
    let replaced = async {
        eventually_async(PATIENCE, "the stale one writes", || async {
            if writes() > before { Ok(()) } else { Err(format!("{before} writes as before")) }
        })
        .await;
        newer.set(Epoch(2), &all_to(&first, divided("newer.example.com"))).await.unwrap();
        goes.send_replace(true);
    };
    let (refused, ()) = tokio::join!(bed.platform.set(Epoch(1), &stale), replaced);
    assert!(matches!(refused, Err(TrafficError::Stale { .. })), "{refused:?}");
    let hosts = bed.must(&["get", "-n", "shop", "httproute/web", "-o", "jsonpath={.spec.hostnames}"]);
    assert_eq!(hosts, r#"["newer.example.com"]"#);
}
