//! The daemon's HTTP API: its types, its client, and the one place where requests enter the use cases.

pub mod audited;
pub mod auth;
pub mod client;
pub mod handlers;
pub mod hooks;
pub mod listen;
pub mod openapi;
pub mod operations;
pub mod page;
pub mod problem;
pub mod redact;
pub mod resources;
mod schema;
pub mod server;
pub mod shape;
pub mod sse;
pub mod traced;
pub mod types;
pub mod written;
