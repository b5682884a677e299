//! Digests of what is asked for: canonical, versioned, independent of key order and of the libraries in use.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// A versioned digest, such as `r1:9f86d0...`. The prefix names what was hashed and how, so that a change of the
/// method never looks like a change of the content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of a value under a prefix such as `r1`. See [`canonical`] for the form that is hashed.
    pub fn of<T: Serialize + ?Sized>(prefix: &str, value: &T) -> Self {
        let value = serde_json::to_value(value)
            .expect("domain types serialise to JSON: their maps have text keys and they hold no foreign serialisers");
        Self::of_bytes(prefix, &canonical(&value))
    }

    /// The digest of bytes under a prefix.
    pub fn of_bytes(prefix: &str, bytes: &[u8]) -> Self {
        Digest(format!("{prefix}:{}", hex::encode(Sha256::digest(bytes))))
    }

    /// A digest that was read back from a record.
    pub fn from_text(text: impl Into<String>) -> Self {
        Digest(text.into())
    }

    /// The whole text, prefix included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve hexadecimal digits, for people and for names.
    pub fn short(&self) -> &str {
        let hex = self.0.split_once(':').map_or(self.0.as_str(), |(_, hex)| hex);
        hex.get(..12).unwrap_or(hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The canonical JSON text of a value: keys sorted, no white space, and members left out whose value is null or an
/// empty list, so that a field added later with an empty default changes no digest. An empty map stays: it is what
/// a choice without settings (`recreate: {}`) looks like.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().filter(|(_, value)| !is_empty(value)).collect();
            members.sort_by_key(|(key, _)| key.as_str());
            out.push(b'{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_json(key, out);
                out.push(b':');
                write_canonical(value, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        scalar => write_json(scalar, out),
    }
}

fn write_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("texts and scalars serialise to JSON, and memory takes what is written");
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn key_order_and_empty_members_do_not_matter() {
        let a = json!({"b": 1, "a": {"x": [1, 2], "none": null}});
        let b = json!({"a": {"x": [1, 2]}, "b": 1, "list": []});
        assert_eq!(Digest::of("r1", &a), Digest::of("r1", &b));
    }

    #[test]
    fn choices_without_settings_differ() {
        assert_ne!(Digest::of("r1", &json!({"recreate": {}})), Digest::of("r1", &json!({"rolling": {}})));
    }

    #[test]
    fn the_method_is_pinned() {
        assert_eq!(canonical(&json!({"b": "x\n", "a": [true, {}, null]})), br#"{"a":[true,{},null],"b":"x\n"}"#);
        assert_eq!(
            Digest::of("r1", &json!({"a": 1})).as_str(),
            "r1:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
        );
    }
}
