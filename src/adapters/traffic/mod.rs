//! What carries the traffic.

pub mod router;
