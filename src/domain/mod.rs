//! The nouns and the rules: pure. Nothing here does I/O, reads a clock or the environment, or knows an adapter.

pub mod action;
pub mod analysis;
pub mod capabilities;
pub mod desired;
pub mod difference;
pub mod digest;
pub mod gate;
pub mod hook;
pub mod id;
pub mod installation;
pub mod manifest;
pub mod observed;
pub mod plan;
pub mod render;
pub mod revert;
pub mod rollout;
pub mod route;
pub mod span;
pub mod strategy;
pub mod unit;
pub mod verdict;
pub mod workload;
