//! What carries the traffic.
