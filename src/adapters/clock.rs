//! Clocks: the machine's as it is, one that does not jump with it, and one that a test moves.

mod anchor;

use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

pub use anchor::{Anchor, Machine};

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

/// What a [`SteadyClock`] goes by.
pub trait Sources: Send + Sync {
    /// The wall clock, which may be off and may jump.
    fn wall(&self) -> Timestamp;
    /// Which start of the machine this is, and the time since then, which never jumps.
    fn since_boot(&self) -> (String, SignedDuration);
    /// What was kept last, if it can be read.
    fn anchor(&self) -> Option<Anchor>;
    /// Keeps it over a restart of the daemon.
    fn keep(&self, anchor: &Anchor);
}

/// One part in so many of the time that passes goes into catching up with the wall clock.
const CATCH_UP: i32 = 100;
/// Wall clocks that are off by more are set, not adjusted: the machine had no time when it started.
const WITHOUT_TIME: SignedDuration = SignedDuration::from_hours(24);
/// When what is kept is off by more, it is kept anew.
const KEPT: SignedDuration = SignedDuration::from_secs(1);

/// A clock that runs evenly, whatever happens to the wall clock: it follows the time since the machine's start, also over restarts
/// of the daemon, and catches up with the wall clock by one part in a hundred. A wall clock that is set by an hour therefore
/// neither ends a pause nor a deadline. Only when the machine starts is the wall clock believed as it is.
pub struct SteadyClock<S> {
    sources: S,
    state: Mutex<State>,
}

struct State {
    told: Timestamp,
    elapsed: SignedDuration,
    kept: Anchor,
}

impl<S: Sources> SteadyClock<S> {
    /// A clock that goes on from what was kept.
    pub fn new(sources: S) -> Self {
        let (boot, elapsed) = sources.since_boot();
        let wall = sources.wall();
        let went_on = sources.anchor().filter(|anchor| anchor.boot == boot && anchor.elapsed <= elapsed);
        let told = went_on.map(|anchor| later(anchor.told, elapsed - anchor.elapsed));
        let told = told.filter(|told| wall.duration_since(*told).abs() <= WITHOUT_TIME).unwrap_or(wall);
        let kept = Anchor { boot, elapsed, told };
        sources.keep(&kept);
        SteadyClock { sources, state: Mutex::new(State { told, elapsed, kept }) }
    }
}

impl<S: Sources> Clock for SteadyClock<S> {
    fn now(&self) -> Timestamp {
        let (boot, elapsed) = self.sources.since_boot();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = (elapsed - state.elapsed).max(SignedDuration::ZERO);
        let even = later(state.told, passed);
        let most = passed / CATCH_UP;
        let off = self.sources.wall().duration_since(even).clamp(-most, most);
        (state.told, state.elapsed) = (later(even, off), state.elapsed + passed);
        let projected = later(state.kept.told, state.elapsed - state.kept.elapsed);
        if state.told.duration_since(projected).abs() > KEPT {
            state.kept = Anchor { boot, elapsed: state.elapsed, told: state.told };
            self.sources.keep(&state.kept);
        }
        state.told
    }
}

/// The instant so much later; the end of the calendar where that is beyond it.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
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
    use std::sync::Arc;

    use super::*;

    /// A machine whose clocks are set by hand.
    #[derive(Clone)]
    struct Hands(Arc<Mutex<Shown>>);

    struct Shown {
        wall: Timestamp,
        boot: String,
        elapsed: SignedDuration,
        kept: Option<Anchor>,
    }

    impl Hands {
        fn new() -> Self {
            let start = Timestamp::from_second(1_800_000_000).unwrap();
            let elapsed = SignedDuration::from_secs(50);
            Hands(Arc::new(Mutex::new(Shown { wall: start, boot: "one".into(), elapsed, kept: None })))
        }

        fn pass(&self, seconds: i64) {
            let mut hands = self.0.lock().unwrap();
            hands.wall += SignedDuration::from_secs(seconds);
            hands.elapsed += SignedDuration::from_secs(seconds);
        }

        fn set_wall(&self, by: i64) {
            self.0.lock().unwrap().wall += SignedDuration::from_secs(by);
        }
    }

    impl Sources for Hands {
        fn wall(&self) -> Timestamp {
            self.0.lock().unwrap().wall
        }
        fn since_boot(&self) -> (String, SignedDuration) {
            let hands = self.0.lock().unwrap();
            (hands.boot.clone(), hands.elapsed)
        }
        fn anchor(&self) -> Option<Anchor> {
            self.0.lock().unwrap().kept.clone()
        }
        fn keep(&self, anchor: &Anchor) {
            self.0.lock().unwrap().kept = Some(anchor.clone());
        }
    }

    #[test]
    fn a_steady_clock_does_not_jump_with_the_wall_clock() {
        for jump in [3_600, -3_600] {
            let hands = Hands::new();
            let clock = SteadyClock::new(hands.clone());
            let before = clock.now();
            hands.set_wall(jump);
            assert_eq!(clock.now(), before);
            hands.pass(100);
            let told = clock.now().duration_since(before).as_secs();
            assert!((99..=101).contains(&told), "{told}");
            // Nor over a restart of the daemon.
            let again = SteadyClock::new(hands.clone());
            let told = again.now().duration_since(before).as_secs();
            assert!((98..=102).contains(&told), "{told}");
            // In time it is right again, and never goes back.
            let mut last = again.now();
            for _ in 0..600 {
                hands.pass(1_000);
                assert!(again.now() > last);
                last = again.now();
            }
            assert_eq!(again.now(), hands.wall());
        }
    }

    #[test]
    fn a_machine_that_has_started_anew_or_had_no_time_believes_its_wall_clock() {
        let hands = Hands::new();
        SteadyClock::new(hands.clone());
        hands.set_wall(3_600);
        hands.0.lock().unwrap().boot = "two".into();
        hands.0.lock().unwrap().elapsed = SignedDuration::ZERO;
        assert_eq!(SteadyClock::new(hands.clone()).now(), hands.wall());
        hands.set_wall(40 * 365 * 86_400);
        assert_eq!(SteadyClock::new(hands.clone()).now(), hands.wall());
    }

    #[test]
    fn the_machine_keeps_its_anchor() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clock");
        let first = SteadyClock::new(Machine::new(file.clone())).now();
        let second = SteadyClock::new(Machine::new(file.clone())).now();
        assert!(second >= first && second.duration_since(first).as_secs() < 60);
        std::fs::write(&file, "nonsense").unwrap();
        SteadyClock::new(Machine::new(file)).now();
    }

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
