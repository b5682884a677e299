//! A unit's stream.

use jiff::Timestamp;
use serde_json::Value;

use super::log::Fold;
use crate::domain::id::UnitId;
use crate::domain::unit::event::{UnitEvent, VERSION, upcast};
use crate::domain::unit::state::UnitState;

/// What the names of units' streams begin with.
pub const PREFIX: &str = "unit/";

/// The name of a unit's stream.
pub fn stream(unit: &UnitId) -> String {
    format!("{PREFIX}{unit}")
}

/// The unit that a stream belongs to.
pub fn unit_of(stream: &str) -> Option<UnitId> {
    stream.strip_prefix(PREFIX)?.parse().ok()
}

impl Fold for UnitState {
    type Event = UnitEvent;
    const EVENT_VERSION: u32 = VERSION;
    const STATE_VERSION: u32 = 1;

    fn decode(version: u32, event: Value) -> Result<UnitEvent, String> {
        upcast(version, event).map_err(|error| error.to_string())
    }

    fn take(&mut self, event: &UnitEvent, at: Timestamp) -> Result<(), String> {
        self.apply(event, at).map_err(|error| error.to_string())
    }
}
