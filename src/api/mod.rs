//! The daemon's HTTP API: its types, and the one place where requests enter the use cases.

pub mod operations;
pub mod server;
pub mod types;
