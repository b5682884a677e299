//! What runs the workloads.
