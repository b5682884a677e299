//! The messages of the router.
//!
//! - `GET /v1/hello` -> [`Hello`](super::Hello)
//! - `PUT /v1/routes/{key}` with [`PutRoute`] -> [`RouteStatus`]: the whole route, absolute; applied atomically and durable
//!   before the answer, which reads back what is in force. A listener that can't be bound is an error that names the address.
//! - `GET /v1/routes` -> `Vec<RouteStatus>`; `GET /v1/routes/{key}` -> [`RouteStatus`]
//! - `DELETE /v1/routes/{key}?epoch=N` -> 204, also when there is none
//! - `GET /healthz`, `GET /metrics` on the same socket
//!
//! `{key}` is percent-encoded.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Markers;
use crate::domain::{
    id::{Epoch, GroupId},
    route::{Tester, Upstream},
    span::Span,
    tls::Tls,
    workload::Probe,
};

/// Sets one route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutRoute {
    /// [`super::VERSION`].
    pub version: u32,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// The route as it shall be.
    pub route: RouteConfig,
}

/// A route: which requests, and to which groups they go. Always absolute, never a change to what was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteConfig {
    /// Its identity: the unit, and `#preview` for the preview of a blue-green rollout.
    pub key: String,
    /// Whose it is.
    pub markers: Markers,
    /// Where it listens. Several routes may share an address; host and path tell them apart.
    pub listen: SocketAddr,
    /// The Host that it answers to, without port, compared without case; `None` answers any host that no other route names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The path prefix it answers to, matched by whole segments, the longest first; `/` for all.
    pub path: String,
    /// The groups that requests go to. Weights are relative to their sum; a group of weight 0 gets nothing, also
    /// no request that stuck to it: such a client is drawn again, so that weight 0 takes a bad version out at once.
    pub backends: Vec<Backend>,
    /// While set, requests wait instead of being sent on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// Keeps a client on the group that it was first sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// How the router itself sees whether an endpoint can serve; without one, by connecting. After a start or a new endpoint
    /// nothing is assumed healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// How long requests to an endpoint that was taken out may go on before they are cut.
    pub drain: Span,
    /// How long the answer's head may take.
    pub timeout: Span,
    /// TLS at the listener. It speaks TLS as soon as one of its routes asks for it, with the certificates of all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// What instances are spoken to in.
    #[serde(default, skip_serializing_if = "Upstream::is_default")]
    pub upstream: Upstream,
    /// Requests that go to the group marked for testers, whatever its weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testers: Vec<Tester>,
}

/// One versioned group and where its instances listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backend {
    /// The group.
    pub group: GroupId,
    /// Its share of the requests, at most 1,000,000; 0 for none. Where requests stick, its share of new clients.
    pub weight: u32,
    /// Its instances. A group of positive weight without endpoints is refused as invalid, unless the route holds.
    pub endpoints: Vec<Endpoint>,
    /// Testers' requests go here, also at weight 0; at most one group is marked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub testers: bool,
}

/// One instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The instance's id.
    pub id: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// Requests wait: at most this many for at most this long, then 503 with `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// How long one request waits.
    pub timeout: Span,
    /// How many wait at once.
    pub max: u32,
}

/// A cookie that names the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sticky {
    /// The cookie's name.
    pub cookie: String,
    /// How long it lasts.
    pub max_age: Span,
}

/// A route as it is in force, and what went through it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteStatus {
    /// What is in force, read back.
    pub route: RouteConfig,
    /// This start of the router: counters begin at zero when it changes.
    pub start: String,
    /// The endpoints in force, and those taken out that still have requests.
    pub endpoints: Vec<EndpointStatus>,
    /// What each group has served since the start of the router. A group's counters stay until the route is
    /// deleted; of groups that left it the latest are kept, up to a hundred in all.
    pub groups: Vec<GroupStats>,
    /// Requests that wait now.
    #[serde(default)]
    pub held: u64,
}

/// One endpoint as the router sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointStatus {
    /// Its group.
    pub group: GroupId,
    /// The instance.
    pub endpoint: Endpoint,
    /// Whether it can serve.
    pub health: EndpointHealth,
    /// Requests in flight.
    pub in_flight: u64,
    /// Taken out: gets nothing new.
    pub draining: bool,
}

/// Whether an endpoint can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointHealth {
    /// Not yet seen.
    Unknown,
    /// It can.
    Up,
    /// It can't.
    Down,
}

/// What one group has served. Counters only grow while `start` stays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStats {
    /// The group.
    pub group: GroupId,
    /// Answers by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub classes: [u64; 5],
    /// Attempts that got no whole answer from the instance: no connection, a reset, a timeout, a truncated body. They count
    /// here also when another instance then gave the client its answer; what was truncated counts in `classes` as well.
    pub failed: u64,
    /// How many answers took how long until their head, in the buckets of [`latency_buckets_ms`] plus one for all above.
    pub latency: Vec<u64>,
    /// The sum of all those times in milliseconds.
    pub latency_sum_ms: f64,
}

/// Upper bounds of the latency buckets in milliseconds: each a quarter above the last, from 0.1 ms to over a minute, so
/// that a percentile read from them is off by at most a quarter before interpolation.
pub fn latency_buckets_ms() -> Vec<f64> {
    let mut bounds = Vec::with_capacity(64);
    let mut bound = 0.1_f64;
    while bound < 70_000.0 {
        bounds.push((bound * 1_000.0).round() / 1_000.0);
        bound *= 1.25;
    }
    bounds
}
