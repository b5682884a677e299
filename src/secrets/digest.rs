//! Keyed digests: they tell whether a value changed, and nothing about it to whoever has no key.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::value::SecretBytes;
use crate::domain::digest::Digest;
use crate::domain::secret::KEYED;

/// What is hashed before the value, so that a digest is no other protocol's MAC.
const DOMAIN: &[u8] = b"trimtab/secret/v1\0";

/// The key for keyed digests of one repository.
#[derive(Clone)]
pub struct DigestKey(Zeroizing<[u8; 32]>);

impl DigestKey {
    /// A new one.
    pub fn generate() -> Self {
        DigestKey(Zeroizing::new(rand::random()))
    }

    /// The key as it is kept (encrypted) in the repository: a line with a prefix, so that no other secret passes for it.
    pub fn to_text(&self) -> SecretBytes {
        format!("trimtab-digest-key-1 {}\n", hex::encode(*self.0)).into_bytes().into()
    }

    /// Reads a key back; `None` for what is none.
    pub fn from_text(text: &SecretBytes) -> Option<Self> {
        let text = std::str::from_utf8(text.expose()).ok()?.trim();
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.strip_prefix("trimtab-digest-key-1 ")?, &mut *key).ok()?;
        Some(DigestKey(key))
    }

    /// The digest of a value.
    pub fn digest(&self, value: &SecretBytes) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.0).expect("HMAC takes keys of every length");
        mac.update(DOMAIN);
        mac.update(value.expose());
        Digest::from_text(format!("{KEYED}:{}", hex::encode(mac.finalize().into_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_under_the_same_key_has_the_same_digest() {
        let (key, other) = (DigestKey(Zeroizing::new([7; 32])), DigestKey::generate());
        let value = SecretBytes::from("hunter2");
        let digest = key.digest(&value);
        assert_eq!(
            digest.as_str(),
            "s1:b0c1000d176205eb88150079e5356cfcbe211bcd960d9065148bbaec522c68a7",
            "the method is frozen"
        );
        assert_eq!(DigestKey::from_text(&key.to_text()).unwrap().digest(&value), digest);
        assert_ne!(other.digest(&value), digest);
        assert!(DigestKey::from_text(&SecretBytes::from("hunter2")).is_none());
    }
}
