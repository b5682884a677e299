//! The settings of a route apart from where its requests go, so that "is it set as it should be?" is one comparison.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::action::Which;
use super::desired::DesiredUnit;
use super::digest::Digest;
use super::span::Span;
use super::strategy::Strategy;
use super::workload::{Check, Probe};

/// Everything of a route but its backends and its hold. A data plane's adapter builds the same from what is in force and
/// reports its [`digest`](RouteSettings::digest) as [`super::observed::ObservedTraffic::settings`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteSettings {
    /// The address of the listener.
    pub listen: SocketAddr,
    /// The Host in lower case; `None` for any.
    pub host: Option<String>,
    /// The path prefix.
    pub path: String,
    /// How long a client stays on its group.
    pub sticky: Option<Span>,
    /// How the data plane itself sees whether an endpoint can serve. It can ask and connect, but not run a command inside an
    /// instance: there it connects.
    pub probe: Option<Probe>,
    /// How long requests to an instance that was taken out may go on.
    pub drain: Span,
    /// How long the answer's head may take.
    pub timeout: Span,
}

impl RouteSettings {
    /// The settings that a desired state asks for; `None` where it has no such route.
    pub fn of(desired: &DesiredUnit, which: Which) -> Option<Self> {
        let route = desired.route.as_ref()?;
        let (host, sticky) = match (which, &desired.strategy) {
            (Which::Main, _) => (route.host.clone(), route.sticky),
            (Which::Preview, Strategy::BlueGreen(settings)) => (Some(settings.preview_host.clone()?), None),
            (Which::Preview, _) => return None,
        };
        Some(RouteSettings {
            listen: route.listen,
            host: host.map(|host| host.to_ascii_lowercase()),
            path: route.path.clone(),
            sticky,
            probe: desired.health.readiness.clone().filter(|probe| !matches!(probe.check, Check::Exec { .. })),
            drain: route.drain,
            timeout: route.timeout,
        })
    }

    /// The digest by which settings are compared.
    pub fn digest(&self) -> Digest {
        Digest::of("s1", self)
    }
}
