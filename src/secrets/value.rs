//! A secret value in memory.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Values by the names of their secrets.
pub type SecretValues = BTreeMap<String, SecretBytes>;

/// Bytes that are wiped when dropped. `Debug` shows nothing of them; they are serialised as base64, for the way over a
/// socket only.
#[derive(Clone, Default)]
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// The bytes, for whoever must hand them on.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// As the text of an environment variable: UTF-8 without NUL, one line break at the end left away.
    pub fn as_variable(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let text = text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text));
        (!text.contains('\0')).then_some(text)
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        SecretBytes(Zeroizing::new(bytes))
    }
}

impl From<&str> for SecretBytes {
    fn from(text: &str) -> Self {
        text.as_bytes().to_vec().into()
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretBytes {}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(BASE64_STANDARD.encode(&*self.0));
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        // The text itself must not be in the error.
        let bytes = BASE64_STANDARD.decode(text.as_bytes());
        bytes.map(Into::into).map_err(|_| serde::de::Error::custom("a secret's value is not base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_not_show_itself_and_comes_back_whole() {
        let secret = SecretBytes::from("hunter2\n");
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.as_variable(), Some("hunter2"));
        let json = serde_json::to_string(&secret).unwrap();
        assert!(!json.contains("hunter2"));
        assert_eq!(serde_json::from_str::<SecretBytes>(&json).unwrap(), secret);
        assert!(!serde_json::from_str::<SecretBytes>("\"hunter2!\"").unwrap_err().to_string().contains("hunter2"));
        assert_eq!(SecretBytes::from(vec![0xff]).as_variable(), None);
        assert_eq!(SecretBytes::from("a\0b").as_variable(), None);
    }
}
