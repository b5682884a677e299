//! The use cases: what turns a commit into running software, and a bad one into a revert.
//!
//! [`reconciler`] reads the source and tells each [`unit`](mod@unit) what it is asked to be; a unit looks, plans in the domain and
//! executes, journalled in its [`log`]; [`rollback`] records in Git what a unit has taken back; [`operations`] is what the
//! API asks for. [`daemon`] holds them together, [`world`] is everything outside.

pub mod artifacts;
pub mod blobs;
pub mod catalog;
pub mod check;
pub mod config;
pub mod daemon;
pub mod deeds;
pub mod doors;
mod encrypted;
mod events;
mod front;
mod hooks;
pub mod hub;
pub mod installation;
pub mod installation_log;
mod lists;
pub mod log;
pub mod logs;
pub mod moves;
pub mod objects;
pub mod observe;
pub mod operations;
pub mod perform;
pub mod pins;
pub mod plan;
pub mod platforms;
mod readiness;
pub mod reconciler;
pub mod record;
pub mod registry;
pub mod reload;
pub mod restored;
pub mod retention;
pub mod rollback;
pub mod sealed;
mod standing;
pub mod telemetry;
pub mod turns;
pub mod unit;
pub mod unit_log;
pub mod view;
pub mod watchdog;
pub mod world;
