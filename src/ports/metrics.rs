//! What analyses measure: the router's counters and HTTP answers. Scripts are run by the use cases, through the platform.

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::analysis::{Measure, Measurement};
use crate::domain::id::{GroupId, UnitId};

/// One measurement to take.
#[derive(Clone, Debug)]
pub struct MeasureRequest {
    /// Of which unit.
    pub unit: UnitId,
    /// What.
    pub measure: Measure,
    /// The group in question.
    pub target: GroupId,
    /// The group that bounds may compare with.
    pub stable: Option<GroupId>,
    /// What [`Metrics::baseline`] answered when the analysis began.
    pub baseline: Option<Value>,
}

/// The measuring side.
///
/// **Guarantees.** No data is never success: what could not be measured is an inconclusive measurement that says why, so a
/// measurement always comes back. Baselines may be stored and given back after a restart of the daemon.
#[async_trait]
pub trait Metrics: Send + Sync {
    /// What has to be noted down when an analysis begins, to measure from there on.
    async fn baseline(&self, unit: &UnitId, measure: &Measure) -> Option<Value>;

    /// Takes a measurement.
    async fn measure(&self, request: &MeasureRequest) -> Measurement;
}
