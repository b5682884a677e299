//! The router as its users see it: the real binary between real clients and real servers.

mod admin;
mod bench;
mod drain;
mod failure;
mod fuzz;
mod health;
mod hold;
mod http;
mod restart;
pub mod secure;
mod sticky;
mod storm;
mod systemd;
mod traffic;
mod upstream;
mod wire;
