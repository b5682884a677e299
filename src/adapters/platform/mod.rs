//! What runs the workloads.

pub mod host;
