//! The supervisor and its shims: real processes of the real binary.

mod adoption;
pub mod bed;
mod health;
mod identity;
mod lifecycle;
pub mod limits;
mod logs;
mod protocol;
mod runs;
mod secrets;
mod stopping;
mod torture;
