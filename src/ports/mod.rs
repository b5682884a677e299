//! The ports: what the use cases need from the outside, as traits in the words of the domain.
//!
//! A port is one file: the trait, the types that cross it, and the error enum beside it. Its documentation is the
//! contract that every adapter behind it keeps and that the same contract tests check: what is guaranteed, what is
//! assumed, what each error asks of the caller. Adapters (`crate::adapters`) implement ports and are named only by the
//! wiring; the domain knows neither.

pub mod artifacts;
pub mod audit;
pub mod clock;
pub mod journal;
pub mod metrics;
pub mod objects;
pub mod platform;
pub mod scripts;
pub mod secrets;
pub mod source;
pub mod traffic;
