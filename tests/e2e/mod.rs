//! The whole of trimtab on this machine: a Git repository, daemon, supervisor and router, real processes and real requests.

mod bed;
mod crash;
mod demo;
mod documents;
mod git_revert;
mod rollout;
mod source;
mod strategies;
