//! One value: `ENC[AES256_GCM,data:...,iv:...,tag:...,type:...]`.

use aes_gcm::aead::consts::{U12, U32};
use aes_gcm::aead::generic_array::{ArrayLength, GenericArray};
use aes_gcm::aes::Aes256;
use aes_gcm::{AeadInPlace as _, AesGcm, KeyInit as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// What a value was before it was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Bool,
    Comment,
}

/// A decrypted value.
pub(super) struct Opened {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) kind: Kind,
}

/// Whether a text is an encrypted value.
pub(super) fn is_encrypted(text: &str) -> bool {
    text.starts_with("ENC[AES256_GCM,")
}

/// Whether a text is an encrypted comment.
pub(super) fn is_comment(text: &str) -> bool {
    is_encrypted(text) && text.ends_with(",type:comment]")
}

/// Decrypts a value that was encrypted at a place. The error says nothing: nothing is known.
pub(super) fn decrypt(text: &str, key: &[u8; 32], associated: &str) -> Result<Opened, ()> {
    let inner = text.strip_prefix("ENC[AES256_GCM,data:").and_then(|rest| rest.strip_suffix(']')).ok_or(())?;
    let (data, rest) = inner.split_once(",iv:").ok_or(())?;
    let (iv, rest) = rest.split_once(",tag:").ok_or(())?;
    let (tag, kind) = rest.split_once(",type:").ok_or(())?;
    let kind = match kind {
        "str" | "bytes" | "time" => Kind::Text,
        "int" | "float" => Kind::Number,
        "bool" => Kind::Bool,
        "comment" => Kind::Comment,
        _ => return Err(()),
    };
    let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| ());
    let (mut bytes, iv, tag) = (Zeroizing::new(decode(data)?), decode(iv)?, decode(tag)?);
    if tag.len() != 16 {
        return Err(());
    }
    match iv.len() {
        32 => in_place::<U32>(key, &iv, associated, &mut bytes, &tag)?,
        12 => in_place::<U12>(key, &iv, associated, &mut bytes, &tag)?,
        _ => return Err(()),
    }
    Ok(Opened { bytes, kind })
}

fn in_place<N: ArrayLength<u8>>(
    key: &[u8; 32],
    iv: &[u8],
    associated: &str,
    bytes: &mut [u8],
    tag: &[u8],
) -> Result<(), ()> {
    let cipher = AesGcm::<Aes256, N>::new(key.into());
    let opened = cipher.decrypt_in_place_detached(
        GenericArray::from_slice(iv),
        associated.as_bytes(),
        bytes,
        GenericArray::from_slice(tag),
    );
    opened.map_err(|_| ())
}
