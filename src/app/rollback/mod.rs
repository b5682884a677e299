//! Rollback as a Git revert. Traffic goes first, by the unit itself; this records it: one commit, proven, exactly once.

pub mod compose;
mod edit;
pub mod recorder;
