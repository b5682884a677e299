//! Journals.

pub mod sqlite;
