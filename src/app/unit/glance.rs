//! How a unit stood when it last looked, for everybody who asks.

use std::sync::Arc;

use jiff::Timestamp;

use crate::domain::observed::ObservedUnit;
use crate::domain::plan::Plan;
use crate::domain::unit::state::UnitState;

/// A unit at a glance.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Its journal, folded.
    pub state: Arc<UnitState>,
    /// What was seen of it last.
    pub observed: Option<ObservedUnit>,
    /// The plan of the rollout under way, or of the last one.
    pub plan: Option<Arc<Plan>>,
    /// What it waits for, and until when at the latest.
    pub waits: Option<(String, Option<Timestamp>)>,
    /// Why nothing can be planned or done.
    pub blocked: Option<String>,
    /// Nobody but a person can make it go on: why.
    pub stuck: Option<String>,
    /// Why its documents don't render.
    pub broken: Option<String>,
    /// When it last looked.
    pub looked: Option<Timestamp>,
}

impl Glance {
    /// A unit that has not been looked at.
    pub fn of(state: UnitState) -> Self {
        Glance {
            state: Arc::new(state),
            observed: None,
            plan: None,
            waits: None,
            blocked: None,
            stuck: None,
            broken: None,
            looked: None,
        }
    }
}
