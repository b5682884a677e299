//! One folder an adapter, below the port it serves.

pub mod artifacts;
pub mod audit;
pub mod backup;
pub mod clock;
pub mod journal;
pub mod metrics;
pub mod objects;
pub mod outgoing;
pub mod platform;
pub mod secrets;
pub mod source;
pub mod traffic;
pub(crate) mod web;
