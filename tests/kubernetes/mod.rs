//! Units on a real cluster of one node, which `tests/kubernetes/bed` brings up: through daemon and supervisor, a bare repository,
//! the API and the command line.

mod adapter;
mod autoscaled;
mod chart;
mod clear;
pub mod cluster;
mod clusters;
pub mod control_plane;
mod counted;
mod documents;
mod drift;
mod encrypted;
mod faults;
mod foresight;
mod gateway;
mod gateway_double;
mod hooks;
mod installation;
mod kills;
mod kubectl;
mod logs;
mod others;
mod proxy;
mod prune;
mod recovery;
mod rights;
mod rollout;
mod sources;
mod strategies;
mod takeover;
mod traffic;
mod trouble;
mod unwell;
mod versions;
mod waves;
