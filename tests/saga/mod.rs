//! The rollout saga on the fake platform.

pub mod bed;
mod cases;
mod commands;
mod crash;
mod golden;
mod health;
mod hooks;
mod told;
mod week;
