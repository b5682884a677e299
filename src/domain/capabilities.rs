//! What platform, workload kind and data plane can do together. Strategies know these, never a platform.

use serde::{Deserialize, Serialize};

/// The capabilities of one unit's surroundings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Groups of different versions can run side by side.
    pub versioned_groups: bool,
    /// A new group takes the place of the one before it: the platform replaces instance by instance by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_place: bool,
    /// More instances than asked for can run for a while.
    pub surge: bool,
    /// How finely traffic can be split between groups.
    pub split: Split,
    /// Requests can be made to wait.
    pub hold: bool,
    /// A second route can show a version before it has traffic.
    pub preview: bool,
    /// The data plane can tell how many requests an instance still has.
    pub drain: bool,
    /// The data plane measures errors and latency by group.
    pub measures: bool,
    /// Scripts can be run with a durable outcome.
    pub runs: bool,
}

impl Capabilities {
    /// Those of surroundings that nothing is known of.
    pub const NONE: Capabilities = Capabilities {
        versioned_groups: false,
        in_place: false,
        surge: false,
        split: Split::None,
        hold: false,
        preview: false,
        drain: false,
        measures: false,
        runs: false,
    };

    /// The same while another version has the requests: what leads to that one divides them.
    #[must_use]
    pub fn beside(self, base: &Capabilities) -> Capabilities {
        match (self.split, base.split) {
            (Split::Weights(_), Split::Replicas) => Capabilities { split: Split::Replicas, ..self },
            _ => self,
        }
    }

    /// Those where the platform replaces what runs by itself, within bounds of its own, and carries the requests too.
    pub const IN_PLACE: Capabilities = Capabilities { in_place: true, runs: true, ..Capabilities::NONE };
}

/// How finely traffic can be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Split {
    /// Not at all: the unit has no route.
    None,
    /// By the number of instances only.
    Replicas,
    /// By weights of one in so many.
    Weights(u32),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_to_the_version_that_has_the_requests_divides_them() {
        let of = |split| Capabilities { split, ..Capabilities::NONE };
        let weights = Split::Weights(100);
        for (asked, base, split) in [
            (weights, weights, weights),
            (weights, Split::Replicas, Split::Replicas),
            (weights, Split::None, weights),
            (Split::Replicas, weights, Split::Replicas),
        ] {
            assert_eq!(of(asked).beside(&of(base)).split, split, "{asked:?} beside {base:?}");
        }
    }
}
