//! Everything that the use cases reach outside for, behind ports.

use std::sync::Arc;

use jiff::Timestamp;

use super::blobs::Blobs;
use super::hub::Hub;
use super::platforms::Platforms;
use super::telemetry::Telemetry;
use super::turns::Turns;
use crate::domain::id::{Epoch, Name};
use crate::ports::artifacts::Artifacts;
use crate::ports::audit::Audit;
use crate::ports::clock::Clock;
use crate::ports::journal::Journal;
use crate::ports::metrics::Metrics;
use crate::ports::objects::ObjectTools;
use crate::ports::secrets::Secrets;
use crate::ports::source::Source;
use crate::ports::traffic::Traffic;

/// The ports and what is fixed for the life of the process.
pub struct World {
    /// The installation's name.
    pub installation: Name,
    /// The epoch that this process holds.
    pub epoch: Epoch,
    /// What happened.
    pub journal: Arc<dyn Journal>,
    /// The desired states and plans, by digest.
    pub blobs: Blobs,
    /// Who did what.
    pub audit: Arc<dyn Audit>,
    /// Where the desired state comes from.
    pub source: Arc<dyn Source>,
    /// What runs the workloads.
    pub platforms: Platforms,
    /// What carries the traffic.
    pub traffic: Arc<dyn Traffic>,
    /// The files that workloads run from.
    pub artifacts: Arc<dyn Artifacts>,
    /// What reads secrets.
    pub secrets: Arc<dyn Secrets>,
    /// What makes objects of kustomizations and charts.
    pub tools: Arc<dyn ObjectTools>,
    /// What analyses measure.
    pub metrics: Arc<dyn Metrics>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who waits for changes.
    pub hub: Hub,
    /// The daemon's own metrics.
    pub telemetry: Telemetry,
    /// Who is at work.
    pub turns: Turns,
}

impl World {
    /// Now.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
