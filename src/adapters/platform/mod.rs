//! What runs the workloads.

pub mod fake;
pub mod host;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
