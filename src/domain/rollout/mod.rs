//! The saga of one rollout: events in a journal, a state that is a fold over them, and the next move that follows from both and
//! from what is observed.
//!
//! # Flow
//! The executor asks [`next_move::next_move`], does what it says, appends the event that says so, folds it with
//! [`state::RolloutState::apply`], and asks again. A `Started` event is durable before its effect and a `Succeeded` after it.
//! What needs nothing done is appended together with what follows it ([`ahead::ahead`]): a sync of the disk less for each.
//!
//! # Guarantees
//! - Which move comes next depends on the journal, the plan and the observation alone: cutting the journal anywhere and going
//!   on from there leads to the same end.
//! - No phase is skipped or entered twice, but for an operator's full promotion.
//! - A hook whose end nobody knows runs again only if it is idempotent or an operator says so.

pub mod ahead;
pub mod clock;
pub mod command;
pub mod event;
mod health;
pub mod hooks;
pub mod next_move;
pub mod state;

use crate::domain::plan::{HookCall, Plan};
use crate::domain::planner::undo;

/// The calls that undo the hooks that a rollout has started, the last first: what a rollback from it has to run.
pub fn undo_of(plan: &Plan, state: &state::RolloutState) -> Vec<HookCall> {
    let calls = plan.phases.iter().flat_map(|phase| &phase.enter);
    let started = calls.filter(|call| state.hooks.contains_key(&call.at));
    let mut undone: Vec<HookCall> = started.filter_map(undo).collect();
    undone.reverse();
    undone
}
