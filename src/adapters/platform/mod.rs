//! What runs the workloads.

pub mod fake;
pub mod host;
