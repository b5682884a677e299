//! How a unit stood when it last looked, for everybody who asks.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::digest::Digest;
use crate::domain::id::UnitId;
use crate::domain::observed::ObservedUnit;
use crate::domain::plan::Plan;
use crate::domain::unit::held::HeldReason;
use crate::domain::unit::state::UnitState;
use crate::domain::workload::Place;

/// A unit at a glance.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Its journal, folded.
    pub state: Arc<UnitState>,
    /// Where it is.
    pub place: Place,
    /// What was seen of it last.
    pub observed: Option<ObservedUnit>,
    /// The plan of the rollout under way.
    pub plan: Option<Arc<Plan>>,
    /// Its digest, which takes a while to compute.
    pub plan_digest: Option<Digest>,
    /// What its rollout waits for.
    pub waits: Option<Waits>,
    /// Why nothing can be planned or done.
    pub blocked: Option<String>,
    /// Nobody but a person can make it go on: why.
    pub stuck: Option<String>,
    /// Whether the catalog has said anything of it yet.
    pub told: bool,
    /// Why its documents don't render.
    pub broken: Option<String>,
    /// Why somebody must look before the candidate becomes effective.
    pub needs_ack: Option<HeldReason>,
    /// The new name that it waits to be handed over to, and what for; as the unit keeps it.
    pub moving: Option<(UnitId, String)>,
}

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// What, for people.
    pub reason: String,
    /// Until when at the latest.
    pub until: Option<Timestamp>,
    /// What failed is tried again then.
    pub tries_again: bool,
}

impl Glance {
    /// A unit that has not been looked at.
    pub fn of(state: impl Into<Arc<UnitState>>) -> Self {
        Glance {
            state: state.into(),
            place: Place::Host,
            observed: None,
            plan: None,
            plan_digest: None,
            waits: None,
            blocked: None,
            stuck: None,
            told: false,
            broken: None,
            needs_ack: None,
            moving: None,
        }
    }

    /// Whether nobody could tell the two apart.
    pub fn is_like(&self, other: &Glance) -> bool {
        let plans = match (&self.plan, &other.plan) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (mine, theirs) => mine.is_none() && theirs.is_none(),
        };
        plans
            && Arc::ptr_eq(&self.state, &other.state)
            && self.place == other.place
            && self.observed == other.observed
            && self.waits == other.waits
            && self.blocked == other.blocked
            && self.stuck == other.stuck
            && self.told == other.told
            && self.broken == other.broken
            && self.needs_ack == other.needs_ack
            && self.moving == other.moving
    }
}
