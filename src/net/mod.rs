//! JSON over HTTP on Unix sockets: how daemon, router, supervisor and command line speak to each other.

pub mod client;
pub mod lines;
pub mod notify;
pub mod server;
