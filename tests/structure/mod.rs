//! The rules of the house, kept by tests: docs/architecture.md says why each of them is there.

mod documents;
mod hygiene;
mod layers;
mod source;
