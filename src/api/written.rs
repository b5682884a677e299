//! The status of a unit as it is sent. In a list of a thousand units most are as they were when somebody asked last, and
//! writing them is what an answer costs.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::types::UnitStatus;

/// A [`UnitStatus`] in JSON.
#[derive(Clone, Debug)]
pub struct WrittenStatus(Arc<RawValue>);

impl WrittenStatus {
    /// Writes a status.
    pub fn of(status: &UnitStatus) -> Self {
        let written = serde_json::value::to_raw_value(status);
        WrittenStatus(written.expect("a status has texts, numbers and lists, and no keys but texts").into())
    }
}

impl Serialize for WrittenStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
