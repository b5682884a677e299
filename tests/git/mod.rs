//! The Git source against real repositories, served by the real `git`.

mod bed;
mod fetching;
mod hostile;
mod http;
mod mirror;
mod reading;
mod ssh;
mod watching;
mod writing;
