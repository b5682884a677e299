//! The nouns and the rules: pure. Nothing here does I/O, reads a clock or the environment, or knows an adapter.

pub mod digest;
pub mod id;
pub mod span;
pub mod workload;
