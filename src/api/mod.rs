//! The daemon's HTTP API: its types, its client, and the one place where requests enter the use cases.

pub mod client;
pub mod operations;
pub mod server;
pub mod types;
