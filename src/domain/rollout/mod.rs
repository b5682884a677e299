//! The saga of one rollout: events in a journal, a state that is a fold over them, and the next move that follows from both and
//! from what is observed.
//!
//! # Flow
//! The executor asks [`next_move::next_move`], does what it says, appends the event that says so, folds it with
//! [`state::RolloutState::apply`], and asks again. A `Started` event is durable before its effect and a `Succeeded` after it.
//!
//! # Guarantees
//! - Which move comes next depends on the journal, the plan and the observation alone: cutting the journal anywhere and going
//!   on from there leads to the same end.
//! - No phase is skipped or entered twice, but for an operator's full promotion.
//! - A hook whose end nobody knows runs again only if it is idempotent or an operator says so.

pub mod clock;
pub mod command;
pub mod event;
pub mod next_move;
pub mod state;
