//! What is done next with an instance: decisions without effects, from a view of it and the time.

use std::time::{Duration, Instant};

use super::shim::records::StopCause;

/// An instance as the decision sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Whether it shall run.
    pub wanted: bool,
    /// Before this it must not be started again.
    pub start_at: Option<Instant>,
    /// Its process, when there is one.
    pub process: Option<ProcessView>,
}

/// A process as the decision sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessView {
    /// Why it is being stopped, if it is.
    pub stopping: Option<StopCause>,
    /// The liveness check's verdict.
    pub alive: bool,
    /// From when on it counts as available, if nothing happens until then.
    pub available_at: Option<Instant>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Todo {
    /// Start its process.
    Start,
    /// Stop its process.
    Stop(StopCause),
    /// Nothing until something happens, or this time comes.
    Wait(Option<Instant>),
    /// It is over: forget it.
    Remove,
}

/// Decides what to do next.
pub fn next(view: &View, now: Instant) -> Todo {
    match &view.process {
        None if !view.wanted => Todo::Remove,
        None => match view.start_at {
            Some(at) if at > now => Todo::Wait(Some(at)),
            _ => Todo::Start,
        },
        // A restart that is under way turns into a stop by itself: at its end the instance is not started again.
        Some(process) if process.stopping.is_some() => Todo::Wait(None),
        Some(_) if !view.wanted => Todo::Stop(StopCause::Requested),
        Some(process) if !process.alive => Todo::Stop(StopCause::Unhealthy),
        Some(process) => Todo::Wait(process.available_at.filter(|at| *at > now)),
    }
}

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(60);
/// Who ran this long has started well: the next end is a first one.
const HEALTHY_RUN: Duration = Duration::from_secs(60);

/// How long to wait before the start that follows this many failures in a row: 1s, 2s, 4s, up to 60s.
pub fn back_off(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        n => FIRST_BACK_OFF.saturating_mul(1 << (n - 1).min(16)).min(LONGEST_BACK_OFF),
    }
}

/// The failures in a row after one more end.
pub fn failures_after(failures: u32, ran: Duration) -> u32 {
    if ran >= HEALTHY_RUN { 1 } else { failures.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(stopping: Option<StopCause>, alive: bool, available_at: Option<Instant>) -> Option<ProcessView> {
        Some(ProcessView { stopping, alive, available_at })
    }

    #[test]
    fn every_situation_has_its_move() {
        let now = Instant::now();
        let (past, later) = (now.checked_sub(Duration::from_secs(1)).unwrap(), now + Duration::from_secs(1));
        let requested = Some(StopCause::Requested);
        let unhealthy = Some(StopCause::Unhealthy);
        for (wanted, start_at, process, expected) in [
            (true, None, None, Todo::Start),
            (true, Some(past), None, Todo::Start),
            (true, Some(later), None, Todo::Wait(Some(later))),
            (false, Some(later), None, Todo::Remove),
            (false, None, None, Todo::Remove),
            (true, None, process(None, true, None), Todo::Wait(None)),
            (true, None, process(None, true, Some(later)), Todo::Wait(Some(later))),
            (true, None, process(None, true, Some(past)), Todo::Wait(None)),
            (true, None, process(None, false, None), Todo::Stop(StopCause::Unhealthy)),
            (false, None, process(None, true, None), Todo::Stop(StopCause::Requested)),
            (false, None, process(None, false, None), Todo::Stop(StopCause::Requested)),
            (false, None, process(requested, true, None), Todo::Wait(None)),
            (true, None, process(requested, true, None), Todo::Wait(None)),
            (true, None, process(unhealthy, false, Some(later)), Todo::Wait(None)),
        ] {
            let view = View { wanted, start_at, process };
            assert_eq!(next(&view, now), expected, "{view:?}");
        }
    }

    #[test]
    fn the_back_off_doubles_up_to_its_limit() {
        let seconds: Vec<u64> = (0..9).map(|failures| back_off(failures).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(back_off(u32::MAX), LONGEST_BACK_OFF);
    }

    #[test]
    fn a_healthy_run_is_forgiven_what_came_before() {
        assert_eq!(failures_after(5, Duration::from_secs(59)), 6);
        assert_eq!(failures_after(5, HEALTHY_RUN), 1);
        assert_eq!(failures_after(u32::MAX, Duration::ZERO), u32::MAX);
    }
}
