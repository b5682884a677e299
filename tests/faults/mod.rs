//! Faults and abuse by name: `fault_NN_` is case NN of docs/faults.md, with the outcome that is told there.

mod absence;
mod documents;
mod repository;
mod scripts;
mod source;
mod store;
