//! The whole of trimtab on this machine: a Git repository, daemon, supervisor and router, real processes and real requests.

mod bed;
mod rollout;
