//! The rollout saga on the fake platform.

pub mod bed;
mod cases;
mod crash;
