//! The adapters between the daemon and the world, against the world.

mod artifacts;
