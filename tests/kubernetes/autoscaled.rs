//! A canary with an autoscaler on a real cluster: each version has one, bounds kept, and pods enough for its share.

use serde_json::Value;
use trimtab::api::types::UnitStatus;

use super::documents::{SERVICE, UNIT, release};
use super::gateway_double::GatewayDouble;
use super::installation::Installation;
use super::strategies::{self, alone, app};

const SCALER: &str = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: { name: web }\nspec:\n  minReplicas: 2\n  \
                      maxReplicas: 5\n  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }\n";
const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: { name: web }\nspec:\n  \
                     parentRefs: [ { name: edge } ]\n  rules: [ { backendRefs: [ { name: web, port: 80 } ] } ]\n";

fn web(version: &str) -> String {
    strategies::web(version).replace("  replicas: 2\n", "")
}

/// argo-rollouts 4973 and 1415, pipecd 5027 and flagger 944.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_of_a_canary_has_its_autoscaler_and_pods_for_its_share() {
    let steps = "{ canary: { steps: [ { weight: 50 }, { pause: {} } ], scaleDownDelay: 1s } }";
    let app = app(steps);
    let files = [
        ("app.yaml", &*app),
        ("deploy/web.yaml", &web("1")),
        ("deploy/service.yaml", SERVICE),
        ("deploy/hpa.yaml", SCALER),
        ("deploy/route.yaml", ROUTE),
    ];
    let Some(installation) = Installation::start(&files) else { return };
    installation.verified(UNIT, "1").await;
    let gateway = GatewayDouble::silent(&installation.namespace);
    gateway.speak();
    let old = alone(&installation);
    let replicas = |name: &str| {
        installation.namespace.object(&format!("deployment/{name}"))["spec"]["replicas"].as_u64().unwrap_or_default()
    };
    // As an autoscaler does it, without metrics to do it by.
    installation.namespace.must(&["scale", &format!("deployment/{old}"), "--replicas", "4"]);
    installation.push("2", &[("deploy/web.yaml", &web("2")), ("release.yaml", &release("2"))]);
    let pauses = |status: &UnitStatus| status.message.contains("waits until promoted");
    let status = installation.wait(UNIT, "the canary pauses", pauses).await;
    let group = status.groups.iter().find(|group| group.version == "2").unwrap();
    let new = format!("web-{}", &group.group.as_str()[..8]);
    assert_eq!((replicas(&old), replicas(&new)), (4, 2), "half of what serves, and never below the bound");
    let scalers = installation.namespace.object("hpa");
    let bounds = |one: &Value| (one["spec"]["minReplicas"].clone(), one["spec"]["maxReplicas"].clone());
    let all: Vec<_> = scalers["items"].as_array().unwrap().iter().map(bounds).collect();
    assert_eq!(all, [(2.into(), 5.into()), (2.into(), 5.into())], "{scalers:#}");

    // Whatever it makes of either is left to it.
    installation.namespace.must(&["scale", &format!("deployment/{old}"), "--replicas", "3"]);
    installation.namespace.must(&["scale", &format!("deployment/{new}"), "--replicas", "3"]);
    installation
        .wait(UNIT, "both are as they shall be", |status| {
            pauses(status) && status.groups.iter().all(|group| group.ready == group.replicas)
        })
        .await;
    installation.told(&["rollout", "promote", "web"]);
    installation.verified(UNIT, "2").await;
    assert_eq!(alone(&installation), new);
    assert_eq!(replicas(&new), 3, "as many as served");
    let left = installation.namespace.object("hpa");
    assert_eq!(left["items"].as_array().unwrap().len(), 1, "{left:#}");
    assert_eq!(gateway.wrong(), Vec::<String>::new());
}
