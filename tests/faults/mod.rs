//! Faults and abuse by name: `fault_NN_` is case NN of docs/faults.md, with the outcome that is told there.

mod absence;
mod audit;
mod clocks;
mod documents;
mod kills;
mod power_cut;
mod proxy;
mod recorder;
mod repository;
mod restore;
mod reverts;
mod scripts;
mod secrets;
mod source;
mod ssrf;
mod stale_holder;
mod store;
mod webhooks;
