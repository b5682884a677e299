//! trimtab
#![allow(missing_docs)]

pub mod adapters;
pub mod api;
pub mod app;
pub mod cli;
pub mod domain;
pub mod net;
pub mod ports;
pub mod protocol;
pub mod router;
pub mod supervisor;
