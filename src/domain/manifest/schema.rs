//! The documents' JSON Schema, for editors.
//!
//! It says less than the decoders do: what depends on other documents, on the target or on several fields is left to
//! `trimtab validate`. A test holds its fields to those that the decoders read.

/// The schema of one document, draft 2020-12, as JSON.
pub const JSON: &str = include_str!("schema.json");
