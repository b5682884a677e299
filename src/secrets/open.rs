//! Opening: from a ciphertext and identities to the one value that is meant.

use serde_json::Value;

use super::file::Sealed;
use super::identity::Identities;
use super::outline::outline;
use super::plain::{self, Format, Tree};
use super::seal::{self, UnsealError};
use super::sops::{self, SopsError};
use super::value::SecretBytes;
use super::{MAX_FILE_BYTES, MAX_VALUE_BYTES};

/// Why a value can't be had. Nothing of any value is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no identity at all.
    #[error("there is no identity to decrypt it with")]
    NoIdentity,
    /// It is for others.
    #[error("none of the identities here is among its recipients{}", listed(.recipients))]
    NotARecipient {
        /// Its recipients, where it names them.
        recipients: Vec<String>,
    },
    /// It is not whole, not authentic, or not what it should be.
    #[error("{0}")]
    Unusable(String),
    /// There is no such value in it.
    #[error("it holds no value at `{key}`; its values are {known}")]
    NoSuchKey {
        /// What was asked for.
        key: String,
        /// What there is.
        known: String,
    },
}

fn listed(recipients: &[String]) -> String {
    if recipients.is_empty() { String::new() } else { format!(" ({})", recipients.join(", ")) }
}

/// The value of a ciphertext.
///
/// # Errors
///
/// It can't be read with these identities, is damaged, or holds no such value.
pub fn open(sealed: &Sealed, identities: &Identities) -> Result<SecretBytes, OpenError> {
    let value = open_any(sealed, identities)?;
    if value.expose().len() > MAX_VALUE_BYTES {
        return Err(OpenError::Unusable(format!("its value has more than {MAX_VALUE_BYTES} bytes")));
    }
    Ok(value)
}

fn open_any(sealed: &Sealed, identities: &Identities) -> Result<SecretBytes, OpenError> {
    let bytes = checked(sealed)?;
    if seal::is_age(bytes) {
        let plain = unseal(bytes, identities)?;
        return match &sealed.key {
            None => Ok(plain),
            Some(key) => within(&plain, &sealed.path, key),
        };
    }
    let format = Format::of(&sealed.path);
    let text = std::str::from_utf8(bytes).map_err(|_| neither())?;
    if !sops::is_sops(text, format) {
        return Err(neither());
    }
    if identities.is_empty() {
        return Err(OpenError::NoIdentity);
    }
    // Files in other formats are kept by SOPS as JSON with one member.
    let tree = sops::open(text, format.unwrap_or(Format::Json), identities).map_err(|error| match error {
        SopsError::NotARecipient { recipients } => OpenError::NotARecipient { recipients },
        other => OpenError::Unusable(other.to_string()),
    })?;
    match (&sealed.key, format) {
        (Some(key), _) => pick(&tree, key),
        (None, None) => pick(&tree, "data"),
        (None, Some(_)) => Err(OpenError::Unusable("it holds several values: say with `key` which is meant".into())),
    }
}

/// The objects of an age file, places in place of their values: see [`super::outline`].
///
/// # Errors
///
/// It can't be read with these identities, is damaged, or holds something else.
pub fn objects(sealed: &Sealed, identities: &Identities) -> Result<Vec<Value>, OpenError> {
    let plain = unseal(checked(sealed)?, identities)?;
    // JSON is YAML too.
    let documents = documents(&plain, Format::Yaml)?;
    outline(&sealed.path, &documents).map_err(OpenError::Unusable)
}

fn checked(sealed: &Sealed) -> Result<&[u8], OpenError> {
    match sealed.bytes.len() {
        0 => Err(OpenError::Unusable("it is empty".into())),
        1..=MAX_FILE_BYTES => Ok(sealed.bytes.as_slice()),
        _ => Err(OpenError::Unusable(format!("it has more than {MAX_FILE_BYTES} bytes"))),
    }
}

fn unseal(bytes: &[u8], identities: &Identities) -> Result<SecretBytes, OpenError> {
    if identities.is_empty() {
        return Err(OpenError::NoIdentity);
    }
    seal::unseal(bytes, identities).map_err(|error| unsealed(error, bytes))
}

fn neither() -> OpenError {
    OpenError::Unusable(
        "it is neither an age file nor a file of SOPS: it may not be encrypted at all, or be cut off at its beginning"
            .into(),
    )
}

fn unsealed(error: UnsealError, bytes: &[u8]) -> OpenError {
    match error {
        UnsealError::NotARecipient => {
            let kinds = seal::stanzas(bytes);
            let count = kinds.len();
            let mut different = kinds;
            different.sort();
            different.dedup();
            OpenError::NotARecipient { recipients: vec![format!("{count} of kind {}", different.join(", "))] }
        }
        other => OpenError::Unusable(other.to_string()),
    }
}

/// A value of an age file whose name says how its content is written: `production.env.age`.
fn within(plain: &SecretBytes, path: &str, key: &str) -> Result<SecretBytes, OpenError> {
    let inner = path.strip_suffix(".age").unwrap_or(path);
    let format = Format::of(inner).ok_or_else(|| {
        OpenError::Unusable(
            "its name does not say how its values are written: name it NAME.yaml.age, .json.age, .env.age or .ini.age, or \
             leave `key` away"
                .into(),
        )
    })?;
    let mut documents = documents(plain, format)?;
    let tree = if documents.len() == 1 { documents.remove(0) } else { Tree::List(documents) };
    pick(&tree, key)
}

/// The documents of a file in clear, of which there are several in YAML only.
fn documents(plain: &SecretBytes, format: Format) -> Result<Vec<Tree>, OpenError> {
    let text = std::str::from_utf8(plain.expose())
        .map_err(|_| OpenError::Unusable("its content is not UTF-8 text, so it holds no keys".into()))?;
    let read = match format {
        Format::Yaml => plain::read_documents(text),
        _ => plain::read(text, format).map(|tree| vec![tree]),
    };
    read.map_err(OpenError::Unusable)
}

fn pick(tree: &Tree, key: &str) -> Result<SecretBytes, OpenError> {
    if let Some(text) = tree.at(key).and_then(Tree::as_text) {
        return Ok(text.into());
    }
    let mut keys = tree.keys();
    let count = keys.len();
    keys.truncate(20);
    let more = if count > keys.len() { format!(" and {} more", count - keys.len()) } else { String::new() };
    Err(OpenError::NoSuchKey { key: key.to_owned(), known: format!("{}{more}", keys.join(", ")) })
}
