//! All integration tests in one binary: linking is what test time is spent on.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod adapters;
mod api;
mod cli;
mod e2e;
mod faults;
mod fuzz;
mod git;
mod journal;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod manifest;
mod planner;
mod router;
mod saga;
mod secrets;
mod sim;
mod structure;
mod supervisor;
mod support;
mod systemd;
