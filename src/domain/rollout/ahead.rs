//! The next move that does something, and what is to be written down before it: so that both are durable at once.

use super::event::RolloutEvent;
use super::next_move::{Move, MoveFacts, next_move};
use super::state::RolloutState;
use crate::domain::observed::ObservedUnit;
use crate::domain::plan::Plan;

/// The most records of one turn; what is left comes in the next.
const MOST: usize = 16;

/// See [`ahead`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// To be appended before it, in order. They need nothing done, so nothing can have changed between them.
    pub records: Vec<RolloutEvent>,
    /// What then is to be done. The end of a rollout is a move of its own.
    pub next: Move,
}

/// The moves up to the next one that does something, waits, or ends the rollout: what [`next_move`] would say one after the
/// other, were each written down and asked again at the same instant.
pub fn ahead(plan: &Plan, state: &RolloutState, observed: &ObservedUnit, facts: &MoveFacts<'_>) -> Ahead {
    let mut records = Vec::new();
    let mut then = None;
    loop {
        let state = then.as_ref().unwrap_or(state);
        let event = match next_move(plan, state, observed, facts) {
            Move::Record(event) if !matches!(event, RolloutEvent::Ended { .. }) && records.len() < MOST => event,
            next => return Ahead { records, next },
        };
        let mut after = state.clone();
        if after.apply(&event, facts.now).is_err() {
            // Whoever appends it says what is wrong with it.
            return Ahead { records, next: Move::Record(event) };
        }
        records.push(event);
        then = Some(after);
    }
}
