//! The units: how far they are locked up, and how they live in a machine with systemd.

mod client;
mod daemon;
mod machine;
mod router;
mod supervisor;
mod units;
mod whole;
