//! The settings of a route apart from where its requests go, so that "is it set as it should be?" is one comparison.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::action::Which;
use super::desired::DesiredUnit;
use super::digest::Digest;
use super::span::Span;
use super::strategy::Strategy;
use super::tls::Tls;
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
    /// TLS at the listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What instances are spoken to in.
    #[serde(default, skip_serializing_if = "Upstream::is_default")]
    pub upstream: Upstream,
    /// Requests that go to the new version whatever its share.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testers: Vec<Tester>,
}

/// The digest of the settings of a route, by which they are compared; `None` where the desired state has no such route.
pub fn settings(desired: &DesiredUnit, which: Which) -> Option<Digest> {
    if let Some(settings) = RouteSettings::of(desired, which) {
        return Some(settings.digest());
    }
    if which == Which::Preview && !matches!(desired.strategy, Strategy::BlueGreen(_)) {
        return None;
    }
    let routing = desired.workload.routing()?;
    Some(Digest::of("s1", &serde_json::json!({ "which": which, "routing": routing })))
}

/// The most kinds of request that go to a new version.
pub const MAX_TESTERS: usize = 16;

/// What a request must carry to go to the new version: a header or a cookie of this very value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Tester {
    /// A header.
    Header {
        /// Its name, in lower case.
        name: String,
        /// Its value.
        value: String,
    },
    /// A cookie.
    Cookie {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

impl Tester {
    /// Checks what a request can carry at all.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let (kind, name, value) = match self {
            Tester::Header { name, value } => ("header", name, value),
            Tester::Cookie { name, value } => ("cookie", name, value),
        };
        let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !(1..=128).contains(&name.len()) || !name.bytes().all(token) {
            return Err(format!("{name:?} is no {kind}'s name: use letters, digits, `-`, `_` and `.`, at most 128"));
        }
        let reserved = ["host", "connection", "content-length", "transfer-encoding", "cookie", "upgrade", "te"];
        if kind == "header" && reserved.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(format!("the header {name} says something else already: choose one of your own"));
        }
        let fits = (1..=256).contains(&value.len())
            && value.bytes().all(|byte| byte.is_ascii_graphic() || (byte == b' ' && kind == "header"))
            && value.trim() == value
            && (kind == "header" || !value.contains([';', ',', '"']));
        fits.then_some(())
            .ok_or_else(|| format!("{value:?} can't be a {kind}'s value: use 1 to 256 visible characters"))
    }
}

/// What instances are spoken to in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Upstream {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, from the first byte on.
    Http2,
}

impl Upstream {
    /// Whether it is what is taken where nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Upstream::default()
    }
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
            tls: route.tls.clone(),
            upstream: route.upstream,
            testers: if which == Which::Main { route.testers.clone() } else { Vec::new() },
        })
    }

    /// The digest by which settings are compared.
    pub fn digest(&self) -> Digest {
        Digest::of("s1", self)
    }
}
