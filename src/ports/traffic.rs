//! What carries the traffic: a set of data planes that must all confirm.

use std::collections::BTreeMap;

use async_trait::async_trait;
use tokio::sync::watch;

pub use crate::domain::counters::{Counters, GroupCounters};
use crate::domain::{
    action::Which,
    desired::DesiredUnit,
    digest::Digest,
    id::{Epoch, GroupId, UnitId},
    observed::{ObservedBackend, ObservedTraffic, Seen},
    span::Span,
};

/// Why traffic was not set.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TrafficError {
    /// A data plane can't be reached. Others may have taken the setting already.
    #[error("{plane} can't be reached: {reason}")]
    Unreachable {
        /// Which.
        plane: String,
        /// The system's word.
        reason: String,
    },
    /// A holder with a higher epoch acts; this one must stop.
    #[error("{plane} refused epoch {epoch}: another daemon has taken over")]
    Stale {
        /// Which.
        plane: String,
        /// The epoch that was refused.
        epoch: Epoch,
    },
    /// It can't be set as it is; trying again changes nothing.
    #[error("{plane} refused: {reason}")]
    Refused {
        /// Which.
        plane: String,
        /// Its word.
        reason: String,
    },
    /// A data plane failed; trying again may help.
    #[error("{plane} failed: {reason}")]
    Failed {
        /// Which.
        plane: String,
        /// Its word.
        reason: String,
    },
}

/// A route as it shall be.
#[derive(Clone, Debug)]
pub struct SetTraffic {
    /// The desired state whose route settings and probe apply.
    pub desired: DesiredUnit,
    /// Its rendered digest.
    pub rendered: Digest,
    /// Which route.
    pub kind: Which,
    /// The groups: weight, instances, and whether testers go there.
    pub backends: BTreeMap<GroupId, ObservedBackend>,
    /// Requests wait so long; `None`: they do not.
    pub hold: Option<Span>,
}

/// The data planes of an environment's target.
///
/// **Guarantees.** A setting is absolute, applied atomically by each plane, durable there, and read back. `observe` answers
/// what *all* planes have confirmed: planes that differ are `Unknown` with the reason, which stops a phase.
#[async_trait]
pub trait Traffic: Send + Sync {
    /// The route as it is in force.
    async fn observe(&self, unit: &UnitId, kind: Which) -> Seen<Option<ObservedTraffic>>;

    /// The digest that `observe` gives for the settings of a route made from this desired state: a route whose digest differs is set again.
    fn settings(&self, desired: &DesiredUnit, kind: Which) -> Digest;

    /// Sets a route.
    async fn set(&self, epoch: Epoch, request: &SetTraffic) -> Result<(), TrafficError>;

    /// Makes a route of a unit that was renamed that of the unit that it is called now, its endpoints and connections
    /// untouched. It need not be there.
    async fn take_over(&self, epoch: Epoch, from: &UnitId, to: &UnitId, kind: Which) -> Result<(), TrafficError> {
        let _ = epoch;
        let reason = format!("it can't rename the {kind} of {from} to {to}");
        Err(TrafficError::Refused { plane: "this data plane".into(), reason })
    }

    /// Removes a route; it need not be there.
    async fn remove(&self, epoch: Epoch, unit: &UnitId, kind: Which) -> Result<(), TrafficError>;

    /// What the main route's groups have served.
    async fn counters(&self, unit: &UnitId) -> Seen<Counters>;

    /// A number that changes when something observable may have changed by itself (a plane was restarted).
    fn changes(&self) -> watch::Receiver<u64>;

    /// Whether all planes answer, for `trimtab check`.
    async fn check(&self) -> Result<Vec<String>, TrafficError>;

    /// The highest epoch that any plane that answers has seen: whoever claims a lower one would be refused.
    async fn epoch(&self) -> Result<Epoch, TrafficError> {
        Ok(Epoch(0))
    }
}
