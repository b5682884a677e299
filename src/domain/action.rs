//! Effects on a platform and its data planes: few, absolute, and harmless when repeated.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::id::GroupId;
use super::observed::{ObservedBackend, ObservedTraffic, ObservedUnit, Seen};
use super::plan::GroupSource;
use super::span::Span;

/// One effect. Each states how something shall be, never a change to what was there, so that doing it twice is doing it once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Action {
    /// The group has so many instances, in slots 0 to `replicas` - 1. It is made if it is not there.
    EnsureGroup {
        /// Which.
        group: GroupId,
        /// What its instances are made from.
        source: GroupSource,
        /// How many.
        replicas: u32,
    },
    /// The route is so, on every data plane; done when all have confirmed it.
    SetTraffic {
        /// The route or the preview's.
        which: Which,
        /// How it shall be.
        traffic: TrafficSet,
    },
    /// There is no such route on any data plane.
    RemoveTraffic {
        /// The route or the preview's.
        which: Which,
    },
    /// The group's instances are stopped gracefully and the group is removed. It is done when that has been asked for and
    /// is durable; the stopping itself is waited for by looking.
    RetireGroup {
        /// Which.
        group: GroupId,
    },
}

/// The routes of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Which {
    /// The one that its users use.
    Main,
    /// The one that shows a blue-green rollout's new version before the switch.
    Preview,
}

/// A route as it shall be, down to the endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficSet {
    /// The rendered desired state whose route settings apply.
    pub route: Digest,
    /// The digest of those settings.
    pub settings: Digest,
    /// The groups, their weights, and the instances that serve. Without any (and without hold) requests are refused.
    pub backends: BTreeMap<GroupId, ObservedBackend>,
    /// Requests wait so long instead of being sent on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
}

impl TrafficSet {
    /// Whether this is what is in force.
    pub fn matches(&self, observed: &ObservedTraffic) -> bool {
        self.settings == observed.settings && self.hold.is_some() == observed.hold && self.backends == observed.backends
    }
}

/// Whether an action's effect is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Achieved {
    /// It is.
    Yes,
    /// Nothing of it is.
    No,
    /// Something else is there; what.
    Diverged(String),
    /// It can't be seen; why.
    Unknown(String),
}

/// Looks whether an action's effect is there.
pub fn achieved(action: &Action, observed: &ObservedUnit) -> Achieved {
    match action {
        Action::EnsureGroup { group, source, replicas } => match find(observed, group) {
            Err(reason) => Achieved::Unknown(reason),
            Ok(None) => Achieved::No,
            Ok(Some(seen)) if seen.retiring => Achieved::Diverged(format!("group {group} is being removed")),
            Ok(Some(seen)) if seen.rendered != source.rendered => {
                Achieved::Diverged(format!("group {group} is marked as made from {}", seen.rendered.short()))
            }
            Ok(Some(seen)) if seen.replicas == *replicas => Achieved::Yes,
            Ok(Some(seen)) => Achieved::Diverged(format!("group {group} has {} instances", seen.replicas)),
        },
        Action::RetireGroup { group } => match find(observed, group) {
            Err(reason) => Achieved::Unknown(reason),
            Ok(Some(seen)) if !seen.retiring => Achieved::No,
            Ok(_) => Achieved::Yes,
        },
        Action::SetTraffic { which, traffic } => match route(observed, *which) {
            Seen::Unknown(reason) => Achieved::Unknown(reason.clone()),
            Seen::Known(Some(seen)) if traffic.matches(seen) => Achieved::Yes,
            Seen::Known(Some(_)) => Achieved::Diverged("other traffic is in force".into()),
            Seen::Known(None) => Achieved::No,
        },
        Action::RemoveTraffic { which } => match route(observed, *which) {
            Seen::Unknown(reason) => Achieved::Unknown(reason.clone()),
            Seen::Known(None) => Achieved::Yes,
            Seen::Known(Some(_)) => Achieved::No,
        },
    }
}

fn find<'a>(observed: &'a ObservedUnit, group: &GroupId) -> Result<Option<&'a super::observed::ObservedGroup>, String> {
    match &observed.groups {
        Seen::Unknown(reason) => Err(reason.clone()),
        Seen::Known(groups) => Ok(groups.iter().find(|seen| seen.group == *group)),
    }
}

/// What is known of one of the unit's routes.
pub fn route(observed: &ObservedUnit, which: Which) -> &Seen<Option<ObservedTraffic>> {
    match which {
        Which::Main => &observed.traffic,
        Which::Preview => &observed.preview,
    }
}

impl fmt::Display for Action {
    /// For people: `start group 3f2a at 2 instances`, `send 10% to 3f2a, 90% to 91bc`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::EnsureGroup { group, source, replicas } => {
                write!(f, "run {replicas} of {} (group {group})", source.version)
            }
            Action::RetireGroup { group } => write!(f, "stop group {group}"),
            Action::RemoveTraffic { which } => write!(f, "remove the {which}"),
            Action::SetTraffic { which, traffic } if traffic.hold.is_some() => write!(f, "hold the {which}'s requests"),
            Action::SetTraffic { which, traffic } => {
                let shares: Vec<_> = traffic
                    .backends
                    .iter()
                    .map(|(group, backend)| format!("{} to {} of {group}", backend.weight, backend.endpoints.len()))
                    .collect();
                write!(f, "set the {which}: {}", if shares.is_empty() { "refuse".into() } else { shares.join(", ") })
            }
        }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Which::Main => "route",
            Which::Preview => "preview route",
        })
    }
}
