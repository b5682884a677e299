//! A YAML document as a tree in which every part knows where it stands.
//!
//! The text of a scalar is kept as it was written: `1.10` is a version and not a number until a decoder asks for a number,
//! and a decoder that fails can go on with the next field, so that all problems are told at once.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::source::{Location, SourceFile};

/// A part of a document.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands.
    pub at: Location,
    /// What it is.
    pub value: Value,
}

/// The kinds of parts.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing: `null`, `~`, or an empty place.
    Null,
    /// A text, number or boolean: the reader decides which.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the text, keys unique.
    Map(Vec<Entry>),
}

/// A text, number or boolean.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The text without quotes, escapes resolved.
    pub text: String,
    /// Written without quotes, so that it may be a number or a boolean.
    pub plain: bool,
    /// Holds `{{ port }}` or the like, which only the supervisor can fill in.
    pub runtime: bool,
    /// The text before its placeholders were filled in.
    pub template: Option<Box<str>>,
}

/// A member of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_at: Location,
    /// The key is written without quotes.
    pub key_plain: bool,
    /// The value.
    pub value: Node,
}

impl Node {
    /// An empty mapping at a place, for what may be left out entirely.
    pub fn empty_map(at: Location) -> Self {
        Node { at, value: Value::Map(Vec::new()) }
    }

    /// The member of a mapping; `None` too where this is no mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value),
            _ => None,
        }
    }

    /// The text of a scalar.
    pub fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The items of a list; none where this is no list.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The members of a mapping; none where this is no mapping.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether there is nothing here.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What it is, in words: `a list`.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(scalar) if !scalar.plain => "a text",
            Value::Scalar(scalar) if scalar.text.parse::<f64>().is_ok() => "a number",
            Value::Scalar(scalar) if matches!(scalar.text.as_str(), "true" | "false") => "a boolean",
            Value::Scalar(_) => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Whether the content is the same, whatever the order of keys, the quotes and the places are.
    pub fn says_the_same(&self, other: &Node) -> bool {
        let hash = |node: &Node| {
            let mut hash = Sha256::new();
            node.hash_into(&mut hash);
            hash.finalize()
        };
        hash(self) == hash(other)
    }

    /// Adds the content to a hash: the same for every order of keys, white space, comments, quotes and places.
    pub fn hash_into(&self, hash: &mut Sha256) {
        let mut sized = |tag: u8, bytes: &[u8]| {
            hash.update([tag]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        match &self.value {
            Value::Null => sized(b'n', b""),
            Value::Scalar(scalar) => {
                // A quoted number is another thing than a number.
                let tag = if scalar.plain && self.kind() != "a text" { b'p' } else { b's' };
                sized(tag, scalar.text.as_bytes());
            }
            Value::List(items) => {
                sized(b'l', &(items.len() as u64).to_be_bytes());
                items.iter().for_each(|item| item.hash_into(hash));
            }
            Value::Map(entries) => {
                sized(b'm', &(entries.len() as u64).to_be_bytes());
                let mut sorted: Vec<&Entry> = entries.iter().collect();
                sorted.sort_by(|a, b| a.key.cmp(&b.key));
                for entry in sorted {
                    hash.update((entry.key.len() as u64).to_be_bytes());
                    hash.update(entry.key.as_bytes());
                    entry.value.hash_into(hash);
                }
            }
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// Where it stands.
    pub at: Location,
    /// The value.
    pub value: T,
}

impl<T> Located<T> {
    /// A value at a place.
    pub fn new(at: &Location, value: T) -> Self {
        Located { at: at.clone(), value }
    }

    /// The file it was written in.
    pub fn file(&self) -> &Arc<SourceFile> {
        &self.at.file
    }
}
