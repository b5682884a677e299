//! A route between the domain's words and the router's. Pure.

use std::collections::BTreeMap;

use crate::domain::{
    action::Which,
    desired::DesiredUnit,
    digest::Digest,
    id::UnitId,
    observed::{ObservedBackend, ObservedTraffic},
    route::RouteSettings,
};
use crate::ports::traffic::SetTraffic;
use crate::protocol::{
    Markers,
    router::{Backend, Endpoint, Hold, RouteConfig, RouteStatus, Sticky},
};

/// So many requests wait at once while a route holds; one more is refused at once, so that waiting ones can't use up all memory.
const MAX_HELD: u32 = 10_000;

/// What ends the key of a preview route.
const PREVIEW: &str = "#preview";

/// The identity of a unit's route, as long as no unit that was renamed still has it.
pub(super) fn key(unit: &UnitId, kind: Which) -> String {
    numbered(unit, kind, 1)
}

/// The first key that is free for a unit's route: a unit that was renamed keeps the keys of its old name.
pub(super) fn free_key(unit: &UnitId, kind: Which, taken: impl Fn(&str) -> bool) -> String {
    let mut keys = (1..).map(|number| numbered(unit, kind, number));
    keys.find(|key| !taken(key)).unwrap_or_else(|| key(unit, kind))
}

fn numbered(unit: &UnitId, kind: Which, number: u32) -> String {
    let number = if number > 1 { format!("~{number}") } else { String::new() };
    match kind {
        Which::Main => format!("{unit}{number}"),
        Which::Preview => format!("{unit}{number}{PREVIEW}"),
    }
}

/// Whether a route is a unit's, whatever the unit was called when the route was made.
pub(super) fn is_of(config: &RouteConfig, unit: &UnitId, kind: Which) -> bool {
    config.markers.unit == *unit && config.key.ends_with(PREVIEW) == (kind == Which::Preview)
}

/// The route that is asked for, as the router is told; why not, where the desired state has none.
pub(super) fn config(request: &SetTraffic, key: String, installation: &str) -> Result<RouteConfig, String> {
    let SetTraffic { desired, rendered, kind, backends, hold } = request;
    let Some(settings) = RouteSettings::of(desired, *kind) else {
        let what = if *kind == Which::Preview { "preview route" } else { "route" };
        return Err(format!("the desired state of {} has no {what}", desired.unit));
    };
    // Cookies are shared by all ports of a host: the name tells routes apart.
    let cookie = format!("trimtab-{}", Digest::of_bytes("cookie", key.as_bytes()).short());
    Ok(RouteConfig {
        key,
        markers: Markers {
            installation: installation.to_owned(),
            unit: desired.unit.clone(),
            rendered: rendered.clone(),
            version: desired.version.clone(),
        },
        listen: settings.listen,
        host: settings.host,
        path: settings.path,
        backends: backends
            .iter()
            .map(|(group, backend)| Backend {
                group: group.clone(),
                weight: backend.weight,
                endpoints: backend
                    .endpoints
                    .iter()
                    .map(|(id, address)| Endpoint { id: id.clone(), address: *address })
                    .collect(),
                testers: backend.testers,
            })
            .collect(),
        hold: hold.map(|timeout| Hold { timeout, max: MAX_HELD }),
        sticky: settings.sticky.map(|max_age| Sticky { cookie, max_age }),
        probe: settings.probe,
        drain: settings.drain,
        timeout: settings.timeout,
        tls: settings.tls,
        upstream: settings.upstream,
        testers: settings.testers,
    })
}

/// The digest of a desired state's route settings.
pub(super) fn settings_of(desired: &DesiredUnit, kind: Which) -> Digest {
    RouteSettings::of(desired, kind).map_or_else(|| Digest::of("s1", &()), |settings| settings.digest())
}

/// The digest of the settings that are in force.
fn settings_in_force(config: &RouteConfig) -> Digest {
    let RouteConfig { listen, host, path, sticky, probe, drain, timeout, tls, upstream, testers, .. } = config.clone();
    let sticky = sticky.map(|sticky| sticky.max_age);
    RouteSettings { listen, host, path, sticky, probe, drain, timeout, tls, upstream, testers }.digest()
}

/// A route as one plane has confirmed it.
pub(super) fn observed(status: &RouteStatus) -> ObservedTraffic {
    let backend = |backend: &Backend| ObservedBackend {
        weight: backend.weight,
        endpoints: backend.endpoints.iter().map(|endpoint| (endpoint.id.clone(), endpoint.address)).collect(),
        testers: backend.testers,
    };
    let mut observed = ObservedTraffic {
        backends: status.route.backends.iter().map(|entry| (entry.group.clone(), backend(entry))).collect(),
        hold: status.route.hold.is_some(),
        settings: settings_in_force(&status.route),
        draining: BTreeMap::new(),
        unconfirmed: None,
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
