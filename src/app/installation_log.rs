//! The installation's stream.

use jiff::Timestamp;
use serde_json::Value;

use super::log::Fold;
use crate::domain::installation::{EVENT_VERSION, InstallationEvent, InstallationState};

/// The name of the stream.
pub const STREAM: &str = "installation";

impl Fold for InstallationState {
    type Event = InstallationEvent;
    const EVENT_VERSION: u32 = EVENT_VERSION;
    const STATE_VERSION: u32 = 1;

    fn decode(version: u32, event: Value) -> Result<InstallationEvent, String> {
        if version > EVENT_VERSION {
            return Err(format!("event version {version} is newer than {EVENT_VERSION}"));
        }
        serde_json::from_value(event).map_err(|error| error.to_string())
    }

    fn take(&mut self, event: &InstallationEvent, at: Timestamp) -> Result<(), String> {
        let mut next = self.clone();
        next.apply(event, at)?;
        *self = next;
        Ok(())
    }
}
