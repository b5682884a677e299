//! The whole of trimtab on this machine: a Git repository, daemon, supervisor and router, real processes and real requests.

mod absence;
mod artifacts;
pub mod bed;
mod crash;
mod demo;
pub mod documents;
mod git_revert;
mod gradual;
pub mod kills;
mod logs;
mod paused;
mod planes;
pub mod positions;
mod recovery;
pub mod remotes;
mod rename;
mod rollout;
mod shared_revert;
mod source;
pub mod strategies;
mod testers;
mod tls;
mod tunnels;
