//! The demo: everything that trimtab is, on this machine, in one folder that goes away again.
//!
//! - [`layout`]: the folder, and what lies where in it
//! - [`files`], [`repository`]: the example repository in the binary, and the Git repositories made of it
//! - [`processes`]: supervisor, router and daemon as processes of their own, started again when they are killed
//! - [`run`]: putting it up, and taking it down with everything that it started
//! - [`tour`], [`traffic`]: what a newcomer reads, and the requests sent meanwhile
//! - [`play`]: the whole story without hands, each part of it checked

pub mod error;
pub mod files;
pub mod git;
pub mod http;
pub mod layout;
pub mod play;
pub mod processes;
pub mod repository;
pub mod run;
pub mod tour;
pub mod traffic;
