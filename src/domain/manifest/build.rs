//! Builds the tree of one document from the parser's events: aliases, merge keys, duplicates, and the limit of parts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, ScalarStyle, Span, StructureStyle, Tag};

use super::node::{Entry, Node, Scalar, Value};
use super::problem::{Layer, Problem, Problems, is_direction};
use super::source::{Location, SourceFile};
use super::yaml::{Limits, locate};

/// A list or mapping that is still open.
struct Frame {
    at: Location,
    flow: bool,
    anchor: usize,
    /// How many parts there were before it.
    before: usize,
    open: Open,
}

enum Open {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: HashMap<String, u32>,
        merged: Vec<Node>,
        key: Option<Key>,
        unquoted: Option<String>,
    },
}

/// A key whose value comes next.
enum Key {
    Text {
        key: String,
        at: Location,
        plain: bool,
        /// It takes the place of the same key before it.
        again: bool,
    },
    /// `<<`: the members of its value are taken over where they are not given.
    Merge(Location),
    /// The inner braces of `{{ name }}` without quotes.
    Placeholder(String),
    /// No text: already told, its value is passed over.
    Wrong,
}

/// Builds one tree after another.
pub struct Builder<'a> {
    file: &'a Arc<SourceFile>,
    nodes: usize,
    limits: Limits,
    stack: Vec<Frame>,
    root: Option<Node>,
    /// What anchors stand for, and of how many parts it is.
    anchors: HashMap<usize, (Node, usize)>,
    problems: Problems,
}

impl<'a> Builder<'a> {
    /// A builder for the documents of a file.
    pub fn new(file: &'a Arc<SourceFile>, limits: Limits) -> Self {
        Builder {
            file,
            nodes: 0,
            limits,
            stack: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            problems: Problems::default(),
        }
    }

    /// Ends the document and begins the next.
    pub fn finish(&mut self) -> (Option<Node>, Vec<Problem>) {
        self.stack.clear();
        self.anchors.clear();
        (self.root.take(), std::mem::take(&mut self.problems).into_vec())
    }

    /// Takes the next event. An error means that a limit of the whole file was passed.
    pub fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), String> {
        let at = locate(self.file, span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1)?;
                let node = self.scalar(&text, style, tag, at);
                self.keep(anchor, &node, 1);
                self.add(node);
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.open(Open::List(Vec::new()), style, anchor, tag.as_deref(), at)?;
            }
            Event::MappingStart(style, anchor, tag) => {
                let open = Open::Map {
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    merged: Vec::new(),
                    key: None,
                    unquoted: None,
                };
                self.open(open, style, anchor, tag.as_deref(), at)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(&at),
            Event::Alias(id) => match self.anchors.get(&id).cloned() {
                Some((node, size)) => {
                    self.count(size)?;
                    self.add(node);
                }
                None => self.wrong_alias(at, "this alias refers to a part that it is itself in"),
            },
            Event::UnresolvedAlias(name) => {
                self.wrong_alias(at, &format!("there is no anchor `&{name}` before this alias"));
            }
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, parts: usize) -> Result<(), String> {
        self.nodes = self.nodes.saturating_add(parts);
        let most = self.limits.nodes;
        if self.nodes > most {
            return Err(format!("this file has more than {most} parts, those behind aliases counted each time"));
        }
        Ok(())
    }

    fn problem(&mut self, layer: Layer, at: &Location, message: impl Into<String>, remedy: &str) {
        self.problems.push(layer, at, message, remedy);
    }

    fn wrong_alias(&mut self, at: Location, message: &str) {
        let remedy = "write the value out; a text that begins with `*` needs quotes";
        self.problem(Layer::Schema, &at, message, remedy);
        self.add(Node { at, value: Value::Null });
    }

    fn check_tag(&mut self, tag: Option<&Tag>, at: &Location) -> bool {
        let Some(tag) = tag else { return false };
        // Some tools write it before `<<`.
        if !tag.is_yaml_core_schema() && tag.original() != "!!merge" {
            let remedy = "leave the tag away; a text that begins with `!` needs quotes";
            self.problem(Layer::Schema, at, format!("the tag `{}` is not known", tag.original()), remedy);
        }
        tag.is_yaml_core_schema_tag("str")
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<Cow<'_, Tag>>, at: Location) -> Node {
        let is_text = self.check_tag(tag.as_deref(), &at);
        if text.chars().any(|c| is_direction(c) || c == '\0') {
            self.problem(
                Layer::Security,
                &at,
                "this text holds characters that cannot be seen and make it read as something else",
                "delete them; the lines above show them written out",
            );
        }
        // A tag says what quotes would hide.
        let typed = |tag: &Tag| ["int", "bool", "float", "null"].iter().any(|kind| tag.is_yaml_core_schema_tag(kind));
        let plain = tag.as_deref().is_some_and(typed) || style == ScalarStyle::Plain && !is_text;
        if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Node { at, value: Value::Null };
        }
        Node { at, value: Value::Scalar(Scalar { text: text.to_owned(), plain, runtime: false, template: None }) }
    }

    fn keep(&mut self, anchor: usize, node: &Node, size: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
    }

    fn open(
        &mut self,
        open: Open,
        style: StructureStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Location,
    ) -> Result<(), String> {
        self.check_tag(tag, &at);
        let before = self.nodes;
        self.count(1)?;
        self.stack.push(Frame { at, flow: style == StructureStyle::Flow, anchor, before, open });
        Ok(())
    }

    fn close(&mut self, end: &Location) {
        let Some(frame) = self.stack.pop() else { return };
        let Frame { mut at, flow, anchor, before, open } = frame;
        let value = match open {
            Open::List(items) => Value::List(items),
            Open::Map { entries, unquoted: Some(name), .. } if entries.is_empty() && flow => {
                let text = format!("{{{{ {name} }}}}");
                (at.end_line, at.end_column) = (end.end_line, end.end_column);
                let remedy = format!("write \"{text}\", quotes around the whole text");
                self.problem(Layer::Schema, &at, "a placeholder without quotes is a mapping to YAML", &remedy);
                Value::Scalar(Scalar { text, plain: false, runtime: false, template: None })
            }
            Open::Map { mut entries, mut seen, merged, unquoted, .. } => {
                if unquoted.is_some() {
                    let remedy = "write each key as a text";
                    self.problem(Layer::Schema, &at, "a key of this mapping is a mapping itself", remedy);
                }
                take_over(&mut entries, &mut seen, merged);
                Value::Map(entries)
            }
        };
        // A block ends where its last part does; the parser's own end is where the next thing begins.
        let last = match &value {
            Value::List(items) => items.last().map(|item| &item.at),
            Value::Map(entries) => entries.last().map(|entry| &entry.value.at),
            _ => None,
        };
        let last = if flow { Some(end) } else { last };
        if let Some(last) = last.filter(|last| (last.end_line, last.end_column) >= (at.line, at.column)) {
            (at.end_line, at.end_column) = (last.end_line, last.end_column);
        }
        let node = Node { at, value };
        let size = self.nodes - before;
        self.keep(anchor, &node, size);
        self.add(node);
    }

    /// Puts a finished part where it belongs: the root, the open list, or the open mapping as key or value.
    fn add(&mut self, mut node: Node) {
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut frame.open {
            Open::List(items) => items.push(node),
            Open::Map { entries, seen, merged, key, unquoted } => match key.take() {
                None => {
                    *key = Some(read_key(&node, seen, self.limits.last_of_keys, &mut self.problems));
                }
                Some(Key::Text { key, at, plain, again }) => {
                    if again {
                        entries.retain(|entry| entry.key != key);
                    }
                    if node.is_null() {
                        // An empty place is shown by its key.
                        node.at = at.clone();
                    }
                    entries.push(Entry { key, key_at: at, key_plain: plain, value: node });
                }
                Some(Key::Merge(at)) => {
                    let sources = if let Value::List(items) = node.value { items } else { vec![node] };
                    if sources.iter().any(|source| !matches!(source.value, Value::Map(_))) {
                        let remedy = "write `<<: *anchor`, the anchor at a mapping";
                        self.problems.push(Layer::Schema, &at, "`<<` takes over mappings only", remedy);
                    }
                    merged.extend(sources);
                }
                Some(Key::Placeholder(name)) => *unquoted = Some(name),
                Some(Key::Wrong) => {}
            },
        }
    }
}

/// Reads a key, or says why it is none. `seen` holds the lines of the keys before it.
fn read_key(node: &Node, seen: &mut HashMap<String, u32>, last: bool, problems: &mut Problems) -> Key {
    let at = &node.at;
    let (text, plain) = match &node.value {
        Value::Scalar(scalar) if scalar.plain && scalar.text == "<<" => return Key::Merge(at.clone()),
        Value::Scalar(scalar) => (&scalar.text, scalar.plain),
        Value::Map(entries) if matches!(entries.as_slice(), [one] if one.value.is_null()) => {
            return Key::Placeholder(entries.iter().map(|entry| entry.key.as_str()).collect());
        }
        _ => {
            let message = format!("a key is a text, and this is {}", node.kind());
            let remedy = "put a text before the colon, in quotes if it begins with one of { [ * & !";
            problems.push(Layer::Schema, at, message, remedy);
            return Key::Wrong;
        }
    };
    let before = seen.insert(text.clone(), at.line);
    if let Some(line) = before.filter(|_| !last) {
        let message = format!("`{text}` is given twice, before in line {line}");
        problems.push(Layer::Schema, at, message, "keep one of them");
        return Key::Wrong;
    }
    Key::Text { key: text.clone(), at: at.clone(), plain, again: before.is_some() }
}

/// Adds the members of merged mappings that are not given; of several mappings the first wins.
fn take_over(entries: &mut Vec<Entry>, seen: &mut HashMap<String, u32>, merged: Vec<Node>) {
    for source in merged {
        if let Value::Map(members) = source.value {
            for member in members {
                if seen.insert(member.key.clone(), member.key_at.line).is_none() {
                    entries.push(member);
                }
            }
        }
    }
}
