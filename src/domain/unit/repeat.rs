//! When a plan that has just ended may be executed once more: what does not stay true must not spin.

use super::state::UnitState;
use crate::domain::digest::Digest;
use crate::domain::rollout::clock;
use crate::domain::span::Span;
use jiff::Timestamp;

/// The same plan is not executed twice within this time.
const REPEAT: Span = Span::from_secs(2);

/// How long to wait before a plan is executed, if it was the last to be and has only just ended; never no time at all.
pub fn wait(state: &UnitState, plan: &Digest, now: Timestamp) -> Option<Span> {
    let last = state.history.last().filter(|last| last.plan == *plan)?;
    let left = REPEAT.as_millis().saturating_sub(clock::between(last.ended, now).as_millis());
    (left > 0).then(|| Span::from_millis(left))
}

#[cfg(test)]
mod tests {
    use super::super::state::Past;
    use super::*;
    use crate::domain::rollout::event::Outcome;

    #[test]
    fn a_plan_is_repeated_once_it_has_waited_and_not_one_moment_later() {
        let at = |millis| Timestamp::from_millisecond(millis).unwrap();
        let plan = |text: &str| Digest::of_bytes("p1", text.as_bytes());
        let past = |text: &str, ended| Past {
            id: text.into(),
            plan: plan(text),
            began: at(0),
            ended: at(ended),
            outcome: Outcome::Superseded,
            revision: None,
            traffic_back: None,
            cause: None,
        };
        let state = UnitState { history: vec![past("b", 0), past("a", 10_000)], ..UnitState::default() };
        for (text, now, left) in [
            ("a", 10_000, Some(2_000)),
            ("a", 11_999, Some(1)),
            ("a", 12_000, None),
            ("a", 60_000, None),
            // The clock went back.
            ("a", 5_000, Some(2_000)),
            ("b", 10_000, None),
            ("c", 10_000, None),
        ] {
            assert_eq!(wait(&state, &plan(text), at(now)), left.map(Span::from_millis), "{text} at {now}");
        }
        assert_eq!(wait(&UnitState::default(), &plan("a"), at(0)), None);
    }
}
