//! A ciphertext and what is meant of it.

use std::fmt;
use std::sync::Arc;

/// The bytes of a file (or of the text of a document), and the value in it that is meant.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Where it stands, for people and for its ending: `secrets/shop.yaml`.
    pub path: String,
    /// The value within; the whole where there is none.
    pub key: Option<String>,
    /// The ciphertext.
    pub bytes: Arc<Vec<u8>>,
}

impl fmt::Display for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "{}#{key}", self.path),
            None => f.write_str(&self.path),
        }
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
