//! Whether the target can do what the App asks for, told before anything runs.

use crate::domain::capabilities::{Capabilities, Split};
use crate::domain::manifest::app::AppSpec;
use crate::domain::manifest::decode::Context;
use crate::domain::manifest::environment::{Platform, Target};
use crate::domain::manifest::node::Node;
use crate::domain::manifest::workload::Workload;
use crate::domain::manifest::{Layer, Location};
use crate::domain::strategy::Strategy;

/// What a kind of target can do for its kind of workload, with or without a route, by a strategy.
pub fn capabilities(platform: &Platform, routed: bool, strategy: &Strategy) -> Capabilities {
    match platform {
        Platform::Host => Capabilities {
            versioned_groups: true,
            in_place: false,
            surge: true,
            split: if routed { Split::Weights(100) } else { Split::None },
            hold: routed,
            preview: routed,
            drain: routed,
            measures: routed,
            runs: true,
        },
        // The rest depends on the objects, which are not looked at here.
        Platform::Kubernetes(_) if is_versioned(strategy) => {
            Capabilities { versioned_groups: true, surge: true, runs: true, ..Capabilities::NONE }
        }
        Platform::Kubernetes(_) => Capabilities::IN_PLACE,
    }
}

/// Whether a strategy has two versions side by side, each a whole group.
pub fn is_versioned(strategy: &Strategy) -> bool {
    matches!(strategy, Strategy::BlueGreen(_) | Strategy::Canary(_))
}

/// Reports what does not go together. `node` is the merged spec, for the places.
pub fn check(cx: &Context, node: &Node, spec: &AppSpec, target: &Target) {
    let can = capabilities(&target.platform, spec.route.is_some(), &spec.strategy);
    let report = |path: &[&str], message: String, remedy: &str| {
        cx.report(Layer::Compatibility, place(node, path), message, remedy);
    };
    if !fits(cx, node, spec, target) {
        return;
    }
    if let Some(route) = &spec.route
        && spec.workload.process().is_some_and(|process| !process.port)
    {
        let remedy = "delete `port: false`, or the route";
        cx.report(Layer::Compatibility, &route.at, "this route leads to a process without a port", remedy);
    }
    match &spec.strategy {
        Strategy::Recreate(_) => {
            let hold = node.get("strategy").and_then(|node| node.get("recreate")).and_then(|node| node.get("hold"));
            if let Some(hold) = hold.filter(|_| !can.hold) {
                let message = "without a route there are no requests to hold";
                cx.report(Layer::Compatibility, &hold.at, message, "delete `hold`, or add a route");
            }
        }
        Strategy::BlueGreen(blue_green) if matches!(target.platform, Platform::Kubernetes(_)) => {
            if blue_green.preview_host.is_some() {
                let message = "objects of a cluster have no host of their own to be previewed under".to_owned();
                let remedy = "delete `previewHost`: each Service has a second one, `NAME-preview`, that leads to the new version";
                report(&["strategy", "blueGreen", "previewHost"], message, remedy);
            }
        }
        Strategy::BlueGreen(blue_green) => {
            if blue_green.preview_host.is_some() && !can.preview {
                let message = "without a route there is nothing to preview".to_owned();
                report(&["strategy", "blueGreen", "previewHost"], message, "delete `previewHost`, or add a route");
            }
            let own_host = spec.route.as_ref().and_then(|route| route.host.as_ref());
            if blue_green.preview_host.is_some() && blue_green.preview_host.as_ref() == own_host {
                let message = "the preview has the same host as the route".to_owned();
                report(&["strategy", "blueGreen", "previewHost"], message, "give the preview a host of its own");
            }
        }
        Strategy::Rolling(_) if can.in_place => {
            for name in ["maxSurge", "maxUnavailable"] {
                if let Some(found) = node.get("strategy").and_then(|node| node.get("rolling")?.get(name)) {
                    let message = format!("`{name}` of objects stands in the objects");
                    let remedy = "delete it, and write it into the Deployment's own `strategy`";
                    cx.report(Layer::Compatibility, &found.at, message, remedy);
                }
            }
        }
        // What can be approximated (weights without a route, shares that round to nothing) is said by the plan.
        Strategy::Rolling(_) | Strategy::Canary(_) => {}
    }
    if !can.measures {
        for entry in node.get("analyses").map(Node::entries).unwrap_or_default() {
            if let Some(router) = entry.value.get("router") {
                let message = "the router measures requests, and this app has no route";
                let remedy = "use an `http` or `script` analysis, or add a route";
                cx.report(Layer::Compatibility, &router.at, message, remedy);
            }
        }
    }
}

/// Whether the workload is of the kind that runs on the target.
fn fits(cx: &Context, node: &Node, spec: &AppSpec, target: &Target) -> bool {
    let (message, remedy) = match (&spec.workload, &target.platform) {
        (Workload::Process(_), Platform::Host) | (Workload::Kubernetes(_), Platform::Kubernetes(_)) => return true,
        (Workload::Process(_), Platform::Kubernetes(_)) => {
            ("a cluster runs no processes of a host", "give the App a `kubernetes` workload, or release it on a host")
        }
        (Workload::Kubernetes(_), Platform::Host) => (
            "a host has no use for objects of Kubernetes",
            "give the App a `process` workload, or release it on a cluster",
        ),
    };
    let message = format!("{message}, and target `{}` is one", target.name.value);
    cx.report(Layer::Compatibility, place(node, &["workload"]), message, remedy);
    false
}

/// The place of the deepest part of a path that there is.
fn place<'n>(node: &'n Node, path: &[&str]) -> &'n Location {
    let mut node = node;
    for step in path {
        match node.get(step) {
            Some(next) => node = next,
            None => break,
        }
    }
    &node.at
}
