//! Clocks: the machine's, and one that a test moves.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use crate::domain::span::Span;
use crate::ports::clock::Clock;

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        crate::clock::now()
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows this time.
    pub fn new(now: Timestamp) -> Self {
        ManualClock(Mutex::new(now))
    }

    /// Moves it on. It stops at the end of the calendar.
    pub fn advance(&self, by: Span) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_add(by.duration()).unwrap_or(Timestamp::MAX);
    }

    /// Sets it, also back: wall clocks do that.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let clock = ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap());
        clock.advance(Span::from_secs(7 * 86_400));
        assert_eq!(clock.now(), "2026-01-08T00:00:00Z".parse::<Timestamp>().unwrap());
        clock.set("2025-12-31T23:00:00Z".parse().unwrap());
        assert_eq!(clock.now(), "2025-12-31T23:00:00Z".parse::<Timestamp>().unwrap());
        assert_ne!(SystemClock.now(), clock.now());
    }
}
