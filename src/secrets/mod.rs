//! Secrets at rest and in hand: age and SOPS files, identities and recipients, keyed digests, and the redactor.
//!
//! Plain functions over bytes, shared by daemon, supervisor and command line. Values live in [`SecretBytes`], which are
//! wiped when dropped and can't be printed by accident.

pub mod digest;
pub mod file;
pub mod find;
pub mod harden;
pub mod identity;
pub mod local;
pub mod open;
pub mod outline;
pub mod plain;
pub mod post_quantum;
pub mod recipient;
pub mod redact;
pub mod seal;
pub mod sops;
pub mod value;

pub use identity::Identities;
pub use redact::Redactor;
pub use value::SecretBytes;

/// The largest file with secrets that is read, in bytes.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// The largest value, in bytes: what a process can be given as a variable is less than that.
pub const MAX_VALUE_BYTES: usize = 256 << 10;
