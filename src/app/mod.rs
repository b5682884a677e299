//! The use cases: what turns a commit into running software, and a bad one into a revert.

pub mod catalog;
pub mod config;
pub mod installation_log;
pub mod log;
