//! Time in a rollout: instants from the journal, and stretches that do not count.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::span::Span;

/// The instant so much later; the latest there is, where that would be beyond it.
pub fn after(at: Timestamp, span: Span) -> Timestamp {
    let millis = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    at.checked_add(SignedDuration::from_millis(millis)).unwrap_or(Timestamp::MAX)
}

/// The time from one instant to a later one; none, where the clock went back.
pub fn between(from: Timestamp, to: Timestamp) -> Span {
    Span::from_millis(u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0))
}

/// An instant on a [`Clock`]: with the time that had stood still until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// How long the clock had stood still by then.
    pub still: Span,
}

/// A clock that stands still while the rollout is paused or suspended by an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    still: Span,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

impl Clock {
    /// How long it has stood still by now.
    fn still(&self, now: Timestamp) -> Span {
        let open = self.since.map_or(Span::ZERO, |since| between(since, now));
        Span::from_millis(self.still.as_millis().saturating_add(open.as_millis()))
    }

    /// Notes an instant.
    pub fn mark(&self, now: Timestamp) -> Mark {
        Mark { at: now, still: self.still(now) }
    }

    /// Lets it stand still from now on; nothing, where it does already.
    pub fn stop(&mut self, now: Timestamp) {
        self.since.get_or_insert(now);
    }

    /// Lets it go on.
    pub fn go(&mut self, now: Timestamp) {
        self.still = self.still(now);
        self.since = None;
    }

    /// The time that has counted since a mark.
    pub fn elapsed(&self, from: Mark, now: Timestamp) -> Span {
        let still = self.still(now).as_millis().saturating_sub(from.still.as_millis());
        Span::from_millis(between(from.at, now).as_millis().saturating_sub(still))
    }

    /// When so much time will have counted since a mark, if the clock goes on from now; `None` while it stands still.
    pub fn due(&self, from: Mark, span: Span, now: Timestamp) -> Option<Timestamp> {
        if self.since.is_some() {
            return None;
        }
        let still = self.still(now).as_millis().saturating_sub(from.still.as_millis());
        Some(after(from.at, Span::from_millis(span.as_millis().saturating_add(still))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_stands_still_does_not_count() {
        let mut clock = Clock::default();
        let start = clock.mark(at(100));
        clock.stop(at(110));
        clock.stop(at(115));
        assert_eq!(clock.elapsed(start, at(1_000)), Span::from_secs(10));
        assert_eq!(clock.due(start, Span::from_secs(30), at(1_000)), None);
        clock.go(at(1_000));
        assert_eq!(clock.elapsed(start, at(1_005)), Span::from_secs(15));
        assert_eq!(clock.due(start, Span::from_secs(30), at(1_005)), Some(at(1_020)));
        let later = clock.mark(at(1_010));
        assert_eq!(clock.elapsed(later, at(1_012)), Span::from_secs(2));
    }

    #[test]
    fn a_clock_set_back_counts_nothing() {
        let clock = Clock::default();
        assert_eq!(clock.elapsed(clock.mark(at(100)), at(50)), Span::ZERO);
    }
}
