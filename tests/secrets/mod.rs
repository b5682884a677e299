//! Secrets as users meet them: official vectors, and the verbs.

mod vectors;
mod verbs;

use std::path::PathBuf;

/// A file of the vectors, made with age 1.3.1 and SOPS 3.13.3.
pub fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/secrets").join(name)
}
