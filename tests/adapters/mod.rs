//! The adapters between the daemon and the world, against the world: real supervisors, routers and servers.

mod artifacts;
mod host;
mod host_cache;
mod metrics;
mod router;
mod world;
