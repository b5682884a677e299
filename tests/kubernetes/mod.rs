//! Units on a real cluster of one node, which `tests/kubernetes/bed` brings up: through daemon and supervisor, a bare repository,
//! the API and the command line.

mod adapter;
mod chart;
pub mod cluster;
pub mod control_plane;
mod documents;
mod drift;
mod foresight;
mod installation;
mod kubectl;
mod prune;
mod recovery;
mod rollout;
mod trouble;
mod versions;
