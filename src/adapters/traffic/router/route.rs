//! A route between the domain's words and the router's. Pure.

use std::collections::BTreeMap;

use serde_json::json;

use crate::domain::{
    action::Which,
    desired::DesiredUnit,
    digest::Digest,
    id::UnitId,
    observed::{ObservedBackend, ObservedTraffic},
    route::RouteSettings,
    strategy::Strategy,
    workload::{Check, Probe},
};
use crate::ports::traffic::{RouteKind, SetTraffic};
use crate::protocol::{
    Markers,
    router::{Backend, Endpoint, Hold, RouteConfig, RouteStatus, Sticky},
};

/// So many requests wait at once while a route holds; one more is refused at once, so that waiting ones can't use up all memory.
const MAX_HELD: u32 = 10_000;

/// The identity of a unit's route.
pub(super) fn key(unit: &UnitId, kind: RouteKind) -> String {
    match kind {
        RouteKind::Main => unit.to_string(),
        RouteKind::Preview => format!("{unit}#preview"),
    }
}

/// The route that is asked for, as the router is told; why not, where the desired state has none.
pub(super) fn config(request: &SetTraffic, installation: &str) -> Result<RouteConfig, String> {
    let SetTraffic { desired, rendered, kind, backends, hold } = request;
    let mut config = settings(desired, *kind)?;
    config.markers.installation = installation.to_owned();
    config.markers.rendered = rendered.clone();
    config.hold = hold.map(|timeout| Hold { timeout, max: MAX_HELD });
    config.backends = backends
        .iter()
        .map(|(group, (weight, endpoints))| Backend {
            group: group.clone(),
            weight: *weight,
            endpoints: endpoints.iter().map(|(id, address)| Endpoint { id: id.clone(), address: *address }).collect(),
        })
        .collect();
    Ok(config)
}

/// The route of a desired state without backends: what [`settings_digest`] covers.
fn settings(desired: &DesiredUnit, kind: RouteKind) -> Result<RouteConfig, String> {
    let Some(route) = &desired.route else {
        return Err(format!("{} has no route", desired.unit));
    };
    let host = match (kind, &desired.strategy) {
        (RouteKind::Main, _) => route.host.clone(),
        (RouteKind::Preview, Strategy::BlueGreen(strategy)) if strategy.preview_host.is_some() => {
            strategy.preview_host.clone()
        }
        (RouteKind::Preview, _) => return Err(format!("{} names no preview host", desired.unit)),
    };
    let key = key(&desired.unit, kind);
    // Cookies are shared by all ports of a host: the name tells routes apart.
    let cookie = format!("trimtab-{}", Digest::of_bytes("cookie", key.as_bytes()).short());
    Ok(RouteConfig {
        markers: Markers {
            installation: String::new(),
            unit: desired.unit.clone(),
            rendered: Digest::from_text(""),
            version: desired.version.clone(),
        },
        key,
        listen: route.listen,
        host: host.map(|host| host.to_ascii_lowercase()),
        path: route.path.clone(),
        backends: Vec::new(),
        hold: None,
        sticky: route.sticky.map(|max_age| Sticky { cookie, max_age }),
        probe: probe(desired),
        drain: route.drain,
        timeout: route.timeout,
    })
}

/// The router can ask and connect, but not run a command inside an instance: there it connects.
fn probe(desired: &DesiredUnit) -> Option<Probe> {
    desired.health.readiness.clone().filter(|probe| !matches!(probe.check, Check::Exec { .. }))
}

/// The digest of a desired state's route settings.
pub(super) fn settings_of(desired: &DesiredUnit, kind: RouteKind) -> Digest {
    let which = match kind {
        RouteKind::Main => Which::Main,
        RouteKind::Preview => Which::Preview,
    };
    match RouteSettings::of(desired, which) {
        Some(settings) => settings.digest(),
        None => Digest::of("s1", &json!(null)),
    }
}

/// The digest of everything about a route but groups, weights, endpoints, the hold and whom it was made for: in the planner's own
/// terms, so that a route that was set as planned is seen to be so.
fn settings_digest(config: &RouteConfig) -> Digest {
    let settings = RouteSettings {
        listen: config.listen,
        host: config.host.clone(),
        path: config.path.clone(),
        sticky: config.sticky.as_ref().map(|sticky| sticky.max_age),
        probe: config.probe.clone(),
        drain: config.drain,
        timeout: config.timeout,
    };
    settings.digest()
}

/// A route as one plane has confirmed it.
pub(super) fn observed(status: &RouteStatus) -> ObservedTraffic {
    let backend = |backend: &Backend| ObservedBackend {
        weight: backend.weight,
        endpoints: backend.endpoints.iter().map(|endpoint| (endpoint.id.clone(), endpoint.address)).collect(),
    };
    let mut observed = ObservedTraffic {
        backends: status.route.backends.iter().map(|entry| (entry.group.clone(), backend(entry))).collect(),
        hold: status.route.hold.is_some(),
        settings: settings_digest(&status.route),
        draining: BTreeMap::new(),
    };
    add_draining(&mut observed.draining, status);
    observed
}

/// Adds what instances that were taken out still have on one plane.
pub(super) fn add_draining(draining: &mut BTreeMap<String, u64>, status: &RouteStatus) {
    for endpoint in status.endpoints.iter().filter(|endpoint| endpoint.draining && endpoint.in_flight > 0) {
        *draining.entry(endpoint.endpoint.id.clone()).or_default() += endpoint.in_flight;
    }
}

/// Whether anything still drains.
pub(super) fn drains(status: &RouteStatus) -> bool {
    status.endpoints.iter().any(|endpoint| endpoint.draining && endpoint.in_flight > 0)
}
