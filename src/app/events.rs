//! The journal's records as events of the API.

use http::StatusCode;
use serde_json::Value;

use super::operations::{Daemon, unavailable};
use super::unit_log;
use crate::api::handlers::events::{EventFilter, EventView, Events};
use crate::api::operations::problem;
use crate::api::types::Problem;
use crate::ports::journal::Record;

/// So many records are looked at for one page, whether they are meant or not.
const MOST_LOOKED_AT: usize = 5_000;

impl Daemon {
    /// The events after a number, at most so many of those that are meant.
    pub(super) async fn events_since(&self, filter: &EventFilter, after: u64, limit: usize) -> Result<Events, Problem> {
        if self.shared.stop.is_cancelled() {
            // Whoever follows comes back to the next daemon, and goes on after the last event of this one.
            return Err(unavailable(&"the daemon stops"));
        }
        let newest = self.newest_event().await?;
        let removed = self.world.journal.removed().await.map_err(|error| unavailable(&error))?;
        if after > newest || after < removed {
            // Of another journal, or with a hole behind it: it goes on where nothing is missing.
            let seen = if after > newest { newest } else { removed };
            return Ok(Events { events: Vec::new(), seen, gone: true });
        }
        let records = self.world.journal.since(after, limit).await.map_err(|error| unavailable(&error))?;
        let seen = records.last().map_or(after, |(_, record)| record.global);
        let events = records.into_iter().map(|(stream, record)| view(&stream, record));
        let events = events.filter(|event| filter.matches(event.unit.as_ref())).collect();
        Ok(Events { events, seen, gone: false })
    }

    /// The newest events, or those before one, the newest first, and the number to go on before.
    pub(super) async fn events_until(
        &self,
        filter: &EventFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<(Vec<EventView>, Option<u64>), Problem> {
        if let Some(before) = before
            && self.was_removed(before).await?
        {
            let message = format!("event {before} was removed, and others with it: begin with the first page again");
            return Err(problem(StatusCode::GONE, "gone", message));
        }
        let mut events = Vec::new();
        let (mut before, mut looked_at) = (before.unwrap_or(u64::MAX), 0);
        loop {
            let records =
                self.world.journal.before(before, limit.max(100)).await.map_err(|error| unavailable(&error))?;
            if records.is_empty() {
                return Ok((events, None));
            }
            looked_at += records.len();
            for (stream, record) in records {
                if events.len() == limit {
                    return Ok((events, Some(before)));
                }
                before = record.global;
                let event = view(&stream, record);
                if filter.matches(event.unit.as_ref()) {
                    events.push(event);
                }
            }
            if looked_at >= MOST_LOOKED_AT {
                return Ok((events, Some(before)));
            }
        }
    }

    /// Whether the journal had an event that it has no more.
    async fn was_removed(&self, id: u64) -> Result<bool, Problem> {
        let removed = self.world.journal.removed().await.map_err(|error| unavailable(&error))?;
        if id == 0 || id > removed {
            return Ok(false);
        }
        let found = self.world.journal.before(id.saturating_add(1), 1).await.map_err(|error| unavailable(&error))?;
        Ok(found.first().is_none_or(|(_, record)| record.global != id))
    }

    /// The number of the newest event.
    pub(super) async fn newest_event(&self) -> Result<u64, Problem> {
        let kept = self.world.journal.before(u64::MAX, 1).await.map_err(|error| unavailable(&error))?;
        let removed = self.world.journal.removed().await.map_err(|error| unavailable(&error))?;
        Ok(kept.first().map_or(removed, |(_, record)| record.global.max(removed)))
    }
}

fn view(stream: &str, record: Record) -> EventView {
    let (kind, data) = split(record.event);
    EventView { id: record.global, at: record.at, unit: unit_log::unit_of(stream), kind, version: record.version, data }
}

/// An event's name and the rest of it. Names are the keys of maps with one entry, or stand beside the rest as `event`; what happens
/// in a rollout is named within it.
fn split(event: Value) -> (String, Value) {
    match event {
        Value::String(name) => (name, Value::Object(serde_json::Map::new())),
        Value::Object(mut map) => {
            if let Some(Value::String(name)) = map.get("event").cloned() {
                map.remove("event");
                return (name, Value::Object(map));
            }
            let mut entries = map.into_iter();
            let Some((name, inner)) = entries.next() else { return ("unknown".into(), Value::Null) };
            if name == "rollout" {
                let (inner, data) = split(inner);
                return (format!("rollout.{inner}"), data);
            }
            let data = if inner.is_object() { inner } else { serde_json::json!({ "value": inner }) };
            (name, data)
        }
        other => ("unknown".into(), serde_json::json!({ "value": other })),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_told_by_their_names() {
        assert_eq!(
            split(json!({ "candidateSeen": { "version": "1" } })),
            ("candidateSeen".into(), json!({ "version": "1" }))
        );
        let phase = json!({ "rollout": { "phaseEntered": { "phase": 1 } } });
        assert_eq!(split(phase), ("rollout.phaseEntered".into(), json!({ "phase": 1 })));
        let head = json!({ "event": "headSeen", "revision": "abc" });
        assert_eq!(split(head), ("headSeen".into(), json!({ "revision": "abc" })));
        assert_eq!(split(json!("removed")), ("removed".into(), json!({})));
    }
}
