//! trimtab: a push to Git becomes a safe rollout, and a bad one becomes a Git revert.
//!
//! This page is the map of the modules. What they mean to a user is told in `README.md` and `docs/`.
#![allow(missing_docs)]

pub mod adapters;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod net;
pub mod ports;
pub mod protocol;
pub mod router;
pub mod supervisor;
