//! The whole of trimtab on this machine: a Git repository, daemon, supervisor and router, real processes and real requests.

mod bed;
mod crash;
mod documents;
mod git_revert;
mod demo;
mod rollout;
mod source;
mod strategies;
