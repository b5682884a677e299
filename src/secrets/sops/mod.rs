//! Files of SOPS with age recipients, read: YAML, JSON, dotenv and ini, the MAC verified.
//!
//! A file holds its values as `ENC[AES256_GCM,...]` under a data key, and beside them how the data key is encrypted to
//! each recipient, which values are left in clear, and a MAC over all values (or, with `mac_only_encrypted`, over the
//! encrypted ones) in their order.

mod cipher;
mod clear;
mod metadata;
mod rules;

use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use self::cipher::Kind;
use self::metadata::Metadata;
use self::rules::Rules;
use super::identity::Identities;
use super::plain::{self, Format, Scalar, Tree};
use super::recipient::shorten;
use super::seal::{self, UnsealError};

/// What the hash begins with where only encrypted values count, so that the two kinds of MAC are never the same.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b,
    0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Why a file of SOPS can't be read. Nothing of any value is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SopsError {
    /// It is not written as SOPS writes.
    #[error("it can't be read as a file of SOPS: {0}")]
    Format(String),
    /// It is for others.
    #[error("none of the identities here is among its age recipients ({})", .recipients.join(", "))]
    NotARecipient {
        /// Its recipients.
        recipients: Vec<String>,
    },
    /// Its data key is there and can't be had.
    #[error("its data key can't be read: {0}")]
    DataKey(String),
    /// A value does not decrypt.
    #[error("the value at `{0}` was changed, or moved there from elsewhere: it does not decrypt")]
    Value(String),
    /// The MAC is wrong.
    #[error("its MAC does not match: a value was changed, added, removed or moved without SOPS")]
    Mac,
}

/// Whether a text is a file of SOPS.
pub fn is_sops(text: &str, format: Option<Format>) -> bool {
    match format.unwrap_or(Format::Json) {
        Format::Dotenv => text.lines().any(|line| line.starts_with("sops_version=") || line.starts_with("sops_mac=")),
        Format::Ini => text.lines().any(|line| line.trim() == "[sops]"),
        Format::Yaml => text.lines().any(|line| line.starts_with("sops:") || line.starts_with("\"sops\":")),
        Format::Json => text.contains("\"sops\""),
    }
}

/// The age recipients of a file, for people.
///
/// # Errors
///
/// It is not written as SOPS writes.
pub fn recipients(text: &str, format: Format) -> Result<Vec<String>, SopsError> {
    let (_, metadata) = split(text, format)?;
    Ok(metadata.age.into_iter().map(|(recipient, _)| recipient).collect())
}

/// Decrypts a file: its tree in clear, without what SOPS keeps beside it. Several documents are a list of theirs.
///
/// # Errors
///
/// It is for others, was changed without SOPS, or uses something that is not read here.
pub fn open(text: &str, format: Format, identities: &Identities) -> Result<Tree, SopsError> {
    let (mut documents, metadata) = split(text, format)?;
    let key = data_key(&metadata, identities)?;
    let mut walk = Walk {
        key: &key,
        rules: Rules::of(&metadata)?,
        only_encrypted: metadata.mac_only_encrypted,
        numbers_are_floats: format == Format::Json,
        hash: Sha512::new(),
        path: Vec::new(),
    };
    if walk.only_encrypted {
        walk.hash.update(ONLY_ENCRYPTED);
    }
    documents.iter_mut().try_for_each(|document| walk.tree(document))?;
    let computed = Zeroizing::new(hex::encode_upper(walk.hash.finalize()));
    let mac = cipher::decrypt(&metadata.mac, &key, &metadata.last_modified).map_err(|_| SopsError::Mac)?;
    let same = mac.bytes.as_slice().ct_eq(computed.as_bytes());
    if !bool::from(same) {
        return Err(SopsError::Mac);
    }
    Ok(if documents.len() == 1 { documents.remove(0) } else { Tree::List(documents) })
}

/// The documents of a file, of which there are several in YAML only, without what SOPS keeps beside the values. Each has the same of it.
fn split(text: &str, format: Format) -> Result<(Vec<Tree>, Metadata), SopsError> {
    let documents = match format {
        Format::Yaml => plain::read_documents(text).map_err(SopsError::Format)?,
        _ => vec![plain::read(text, format).map_err(SopsError::Format)?],
    };
    let (mut all, mut first) = (Vec::new(), None);
    for document in documents {
        if document == Tree::Null {
            all.push(document);
            continue;
        }
        let (values, metadata) = metadata::split(document, format)?;
        all.push(values);
        first.get_or_insert(metadata);
    }
    match first {
        Some(metadata) => Ok((all, metadata)),
        None => Err(SopsError::Format("it is empty".into())),
    }
}

fn data_key(metadata: &Metadata, identities: &Identities) -> Result<Zeroizing<[u8; 32]>, SopsError> {
    let mut refused = Vec::new();
    for (recipient, sealed) in &metadata.age {
        match seal::unseal(sealed.as_bytes(), identities) {
            Ok(key) => {
                let key = <[u8; 32]>::try_from(key.expose()).map(Zeroizing::new);
                return key.map_err(|_| SopsError::DataKey("it has not the length of one".into()));
            }
            Err(UnsealError::NotARecipient) => refused.push(shorten(recipient)),
            Err(error) => return Err(SopsError::DataKey(format!("the part for {}: {error}", shorten(recipient)))),
        }
    }
    Err(SopsError::NotARecipient { recipients: refused })
}

struct Walk<'a> {
    key: &'a [u8; 32],
    rules: Rules,
    only_encrypted: bool,
    numbers_are_floats: bool,
    hash: Sha512,
    path: Vec<String>,
}

impl Walk<'_> {
    /// Decrypts a tree in place, in the order in which the MAC was made. The path of a list's items is the list's.
    fn tree(&mut self, tree: &mut Tree) -> Result<(), SopsError> {
        match tree {
            Tree::Null => Ok(()),
            Tree::List(items) => {
                for item in std::mem::take(items) {
                    let comment = item.as_text().is_some_and(cipher::is_comment);
                    let mut item = item;
                    self.tree(&mut item)?;
                    // What SOPS keeps as an item for a comment is none.
                    if !comment {
                        items.push(item);
                    }
                }
                Ok(())
            }
            Tree::Map(entries) => {
                for (name, value) in entries.iter_mut() {
                    self.path.push(name.clone());
                    self.tree(value)?;
                    self.path.pop();
                }
                Ok(())
            }
            Tree::Scalar(scalar) => self.scalar(scalar),
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar) -> Result<(), SopsError> {
        let here = || self.path.join(".");
        if !self.rules.encrypts(&self.path, &scalar.text) {
            if !self.only_encrypted {
                let canonical = clear::canonical(scalar, self.numbers_are_floats);
                self.hash.update(canonical.as_bytes());
            }
            return Ok(());
        }
        // An empty text stays one.
        if scalar.text.is_empty() {
            return Ok(());
        }
        let mut associated = self.path.join(":");
        associated.push(':');
        let opened = cipher::decrypt(&scalar.text, self.key, &associated).map_err(|_| SopsError::Value(here()))?;
        if opened.kind != Kind::Comment {
            self.hash.update(opened.bytes.as_slice());
        }
        let text = std::str::from_utf8(&opened.bytes).map_err(|_| SopsError::Value(here()))?;
        scalar.text = Zeroizing::new(match opened.kind {
            Kind::Bool => text.to_ascii_lowercase(),
            Kind::Text | Kind::Number | Kind::Comment => text.to_owned(),
        });
        Ok(())
    }
}
