//! The daemon's own code on a simulated world: its ports are implemented in memory, one thread runs everything, and time passes
//! only when nothing is left to do. A seed decides everything that is left to chance, so that it replays.
//!
//! - [`world`]: Git, platform, router and journal, that outlive the daemon.
//! - [`ports`]: the daemon's ports on them. Each call is a place where the daemon may die and where the other side may fail.
//! - [`machine`]: the daemon, turn by turn, and the clock.
//! - [`judge`]: what must hold, whatever happens.
//! - [`storm`]: random worlds. [`positions`]: death at every single place. [`people`]: what people decided stays decided.

mod audit;
pub mod dice;
pub mod documents;
pub mod judge;
pub mod machine;
mod people;
mod ports;
pub mod positions;
mod repository;
mod storm;
pub mod world;
