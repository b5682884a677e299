//! Files of values in clear, once they are decrypted: YAML, JSON, dotenv and ini as one tree, and the value at a key.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::domain::manifest::node;
use crate::domain::manifest::{SourceFile, yaml};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// `NAME=value` lines.
    Dotenv,
    /// Sections of `name = value` lines.
    Ini,
}

impl Format {
    /// By the ending of a path.
    pub fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        match name.rsplit_once('.').map(|(_, ending)| ending)? {
            "yaml" | "yml" => Some(Format::Yaml),
            "json" => Some(Format::Json),
            "env" => Some(Format::Dotenv),
            "ini" => Some(Format::Ini),
            _ => None,
        }
    }
}

/// What a file holds, in its order. A scalar is the text that it stands for.
#[derive(Clone, PartialEq, Eq)]
pub enum Tree {
    /// Nothing.
    Null,
    /// A text, a number, a boolean.
    Scalar(Scalar),
    /// A list.
    List(Vec<Tree>),
    /// A mapping.
    Map(Vec<(String, Tree)>),
}

/// A scalar's text, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text.
    pub text: Zeroizing<String>,
    /// Whether it is a text for certain: written in quotes, or in a format that knows only texts.
    pub quoted: bool,
}

impl Tree {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Tree::Scalar(Scalar { text: Zeroizing::new(text.into()), quoted: true })
    }

    fn plain(text: impl Into<String>) -> Self {
        Tree::Scalar(Scalar { text: Zeroizing::new(text.into()), quoted: false })
    }

    /// The text of a scalar.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Tree::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The member of a mapping.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        match self {
            Tree::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The value at a key: names and list positions joined by dots. A name may hold dots itself: the longest that fits is taken.
    pub fn at(&self, key: &str) -> Option<&Tree> {
        match self {
            Tree::Map(_) => {
                if let Some(found) = self.get(key) {
                    return Some(found);
                }
                let dots: Vec<usize> = key.match_indices('.').map(|(at, _)| at).collect();
                dots.into_iter().rev().find_map(|dot| self.get(&key[..dot])?.at(&key[dot + 1..]))
            }
            Tree::List(items) => {
                let (position, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
                let item = items.get(position.parse::<usize>().ok()?)?;
                rest.map_or(Some(item), |rest| item.at(rest))
            }
            Tree::Null | Tree::Scalar(_) => None,
        }
    }

    /// All keys that lead to a scalar, for people.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        self.collect("", &mut keys);
        keys
    }

    fn collect(&self, path: &str, keys: &mut Vec<String>) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match self {
            Tree::Null => {}
            Tree::Scalar(_) => keys.push(path.to_owned()),
            Tree::List(items) => {
                items.iter().enumerate().for_each(|(index, item)| item.collect(&below(&index.to_string()), keys));
            }
            Tree::Map(entries) => entries.iter().for_each(|(name, value)| value.collect(&below(name), keys)),
        }
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secrets]")
    }
}

/// Reads a file. The error says where it is wrong and nothing of what stands there.
///
/// # Errors
///
/// It is not in its format.
pub fn read(text: &str, format: Format) -> Result<Tree, String> {
    match format {
        Format::Yaml => read_yaml(text),
        Format::Json => read_json(text),
        Format::Dotenv => read_dotenv(text),
        Format::Ini => read_ini(text),
    }
}

fn read_yaml(text: &str) -> Result<Tree, String> {
    let mut documents = read_documents(text)?;
    match documents.len() {
        0 => Ok(Tree::Map(Vec::new())),
        1 => Ok(documents.remove(0)),
        _ => Err("it holds more than one YAML document".into()),
    }
}

/// Reads all documents of a YAML file.
///
/// # Errors
///
/// It is not YAML.
pub fn read_documents(text: &str) -> Result<Vec<Tree>, String> {
    let file = Arc::new(SourceFile::new("", text));
    let read = |document: yaml::RawDocument| match document.problems.first() {
        // Neither message nor lines are told: they would show what stands there.
        Some(problem) => {
            Err(format!("it is not YAML as it is read here, at line {}, column {}", problem.line, problem.column))
        }
        None => Ok(document.root.as_ref().map_or(Tree::Null, from_node)),
    };
    yaml::read(&file).into_iter().map(read).collect()
}

fn from_node(found: &node::Node) -> Tree {
    match &found.value {
        node::Value::Null => Tree::Null,
        node::Value::Scalar(scalar) if scalar.plain => Tree::plain(scalar.text.clone()),
        node::Value::Scalar(scalar) => Tree::text(scalar.text.clone()),
        node::Value::List(items) => Tree::List(items.iter().map(from_node).collect()),
        node::Value::Map(entries) => {
            Tree::Map(entries.iter().map(|entry| (entry.key.clone(), from_node(&entry.value))).collect())
        }
    }
}

fn read_json(text: &str) -> Result<Tree, String> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let wrong = |error: serde_json::Error| {
        format!("it is not JSON as it is read here, at line {}, column {}", error.line(), error.column())
    };
    let tree = reader.deserialize_any(InOrder).map_err(wrong)?;
    reader.end().map_err(wrong)?;
    Ok(tree)
}

/// Keeps the order of members, and refuses one that is there twice.
struct InOrder;

impl<'de> de::DeserializeSeed<'de> for InOrder {
    type Value = Tree;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(InOrder)
    }
}

impl<'de> Visitor<'de> for InOrder {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::plain(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(InOrder)? {
            all.push(item);
        }
        Ok(Tree::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut all: Vec<(String, Tree)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(de::Error::custom("a member is there twice"));
            }
            all.push((name, entries.next_value_seed(InOrder)?));
        }
        Ok(Tree::Map(all))
    }
}

fn read_dotenv(text: &str) -> Result<Tree, String> {
    let mut all = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        if line.trim_end_matches('\r').is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| format!("line {} is not `NAME=value`", index + 1))?;
        all.push((name.to_owned(), Tree::text(value.replace("\\n", "\n"))));
    }
    Ok(Tree::Map(all))
}

/// Sections become mappings; what stands before the first is in `DEFAULT`.
fn read_ini(text: &str) -> Result<Tree, String> {
    let mut sections = vec![("DEFAULT".to_owned(), Vec::new())];
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push((name.trim().to_owned(), Vec::new()));
            continue;
        }
        let wrong = || format!("line {} is neither a section nor `name = value`", index + 1);
        let (name, value) = line.split_once(['=', ':']).ok_or_else(wrong)?;
        if let Some((_, entries)) = sections.last_mut() {
            entries.push((unquoted(name.trim()).to_owned(), Tree::text(unquoted(value.trim()))));
        }
    }
    Ok(Tree::Map(sections.into_iter().map(|(name, entries)| (name, Tree::Map(entries))).collect()))
}

fn unquoted(text: &str) -> &str {
    let within = |quote: &str| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    ["\"\"\"", "`", "\"", "'"].into_iter().find_map(within).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_gives_the_value_at_a_key() {
        let cases = [
            (Format::Yaml, "a:\n  b: [x, 1]\n  c.d: \"2\"\n", "a.b.1", "1"),
            (Format::Yaml, "a:\n  b: [x, 1]\n  c.d: \"2\"\n", "a.c.d", "2"),
            (Format::Json, "{\n\t\"a\": {\"b\": [\"x\", 1.5, true]}}", "a.b.2", "true"),
            (Format::Dotenv, "# x\nA=1=2\nB=x\\ny\n", "B", "x\ny"),
            (Format::Ini, "; x\n[db]\nurl = `x;y`\nname: \"z\"\n", "db.url", "x;y"),
        ];
        for (format, text, key, value) in cases {
            let tree = read(text, format).unwrap();
            assert_eq!(tree.at(key).and_then(Tree::as_text), Some(value), "{format:?} {key}");
            assert!(tree.at("nothing.here").is_none());
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_its_content() {
        for (format, text) in [
            (Format::Yaml, "a: hunter2\na: hunter2\n"),
            (Format::Yaml, "a: [hunter2\n"),
            (Format::Json, "{\"a\": \"hunter2\", \"a\": \"hunter2\"}"),
            (Format::Json, "{\"a\": \"hunter2\""),
            (Format::Dotenv, "hunter2\n"),
            (Format::Ini, "hunter2\n"),
        ] {
            let error = read(text, format).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
