//! The Git source against real repositories, served by the real `git`.

pub mod bed;
mod fetching;
mod hostile;
pub mod http;
mod mirror;
mod policy;
mod reading;
pub mod ssh;
mod watching;
mod writing;
