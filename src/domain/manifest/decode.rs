//! Decoding trees into typed values, collecting every problem on the way.
//!
//! A decoder returns `None` only after it has reported a problem (or met a placeholder whose value is not known yet), so
//! that its caller can go on with the next field and give up at the end.

use std::cell::RefCell;

use super::node::{Entry, Node, Value};
use super::problem::{Layer, Problem, Problems};
use super::source::Location;

/// Where problems and defaults are collected.
#[derive(Debug, Default)]
pub struct Context {
    problems: RefCell<Problems>,
    path: RefCell<Vec<String>>,
    defaults: RefCell<Option<Vec<(String, String)>>>,
    /// What objects are called, and where they are written.
    objects: RefCell<Vec<(String, String)>>,
    /// Placeholders have not been filled in: what holds one is passed over.
    open: bool,
}

impl Context {
    /// For documents whose placeholders are filled in, if they had any.
    pub fn new() -> Self {
        Context::default()
    }

    /// For documents on their own: scalars with placeholders are passed over.
    pub fn open() -> Self {
        Context { open: true, ..Context::default() }
    }

    /// Notes also every default that is taken, with its path.
    pub fn explaining() -> Self {
        Context { defaults: RefCell::new(Some(Vec::new())), ..Context::default() }
    }

    /// Whether placeholders are still to be filled in.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// All that was found.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner().into_vec()
    }

    /// The problems so far, taken out.
    pub fn take_problems(&self) -> Vec<Problem> {
        self.problems.take().into_vec()
    }

    /// The defaults that were taken: path and value.
    pub fn take_defaults(&self) -> Vec<(String, String)> {
        self.defaults.take().unwrap_or_default()
    }

    /// Notes where objects are written, should anybody want to know.
    pub fn explain_objects(&self, places: impl FnOnce() -> Vec<(String, String)>) {
        if self.defaults.borrow().is_some() {
            self.objects.borrow_mut().extend(places());
        }
    }

    /// The objects that were noted: what they are called, and where they are written.
    pub fn take_objects(&self) -> Vec<(String, String)> {
        self.objects.take()
    }

    /// Reports a problem of the document itself.
    pub fn schema(&self, at: &Location, message: impl Into<String>, remedy: impl Into<String>) {
        self.report(Layer::Schema, at, message, remedy);
    }

    /// Reports a problem.
    pub fn report(&self, layer: Layer, at: &Location, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.borrow_mut().push(layer, at, message, remedy);
    }

    /// Takes over problems found elsewhere.
    pub fn extend(&self, problems: impl IntoIterator<Item = Problem>) {
        self.problems.borrow_mut().extend(problems);
    }

    /// Runs a decoder one step deeper in the path.
    pub fn within<T>(&self, step: &str, decode: impl FnOnce() -> T) -> T {
        self.path.borrow_mut().push(step.to_owned());
        let result = decode();
        self.path.borrow_mut().pop();
        result
    }

    /// Notes that a default was taken for a field of what is being decoded.
    pub fn default_taken(&self, field: &str, value: impl ToString) {
        if let Some(defaults) = self.defaults.borrow_mut().as_mut() {
            let mut path = self.path.borrow().join(".");
            if !path.is_empty() && !field.is_empty() {
                path.push('.');
            }
            path.push_str(field);
            defaults.push((path, value.to_string()));
        }
    }

    /// The text of a scalar of any kind. Placeholders for the supervisor are refused.
    pub fn text<'n>(&self, node: &'n Node) -> Option<&'n str> {
        let text = self.runtime_text(node)?;
        if matches!(&node.value, Value::Scalar(scalar) if scalar.runtime) {
            self.schema(
                &node.at,
                "`{{ port }}`, `{{ instance }}` and `{{ slot }}` are known only once an instance is started",
                "use them in the process's `command` and `env` and in `exec` checks only",
            );
            return None;
        }
        Some(text)
    }

    /// The text of a scalar of any kind, which may hold placeholders for the supervisor.
    pub fn runtime_text<'n>(&self, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::Scalar(scalar) if self.open && scalar.text.contains("{{") => None,
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => {
                self.wrong_kind(node, "a text");
                None
            }
        }
    }

    /// Reports that something is not of the kind that is wanted.
    pub fn wrong_kind(&self, node: &Node, wanted: &str) {
        let remedy = match (&node.value, wanted) {
            (Value::Map(_), "a text") => {
                "write a text; one that begins with `{` (such as a placeholder) needs quotes".to_owned()
            }
            (Value::Scalar(_), "a list") => "put it in brackets: [a, b]".to_owned(),
            (Value::Scalar(_), "a number or a boolean") => "leave the quotes away".to_owned(),
            _ => format!("write {wanted} here, or leave the field out"),
        };
        self.schema(&node.at, format!("{wanted} is wanted here, and this is {}", node.kind()), remedy);
    }

    /// A whole number within a range. Texts in quotes are no numbers.
    pub fn number(&self, node: &Node, min: u32, max: u32) -> Option<u32> {
        let text = self.text(node)?;
        let plain = matches!(&node.value, Value::Scalar(scalar) if scalar.plain);
        let found = Some(text).filter(|text| plain && !is_old_octal(text)).and_then(|text| text.parse::<u32>().ok());
        match found {
            Some(number) if (min..=max).contains(&number) => Some(number),
            Some(number) => {
                self.schema(
                    &node.at,
                    format!("{number} is out of range"),
                    format!("write a whole number from {min} to {max}"),
                );
                None
            }
            None => {
                let message = format!("`{text}` is not a whole number{}", if plain { "" } else { " but a text" });
                let quotes = if plain { "" } else { ", without quotes" };
                self.schema(&node.at, message, format!("write a whole number from {min} to {max}{quotes}"));
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn boolean(&self, node: &Node) -> Option<bool> {
        let text = self.text(node)?;
        let plain = matches!(&node.value, Value::Scalar(scalar) if scalar.plain);
        match text {
            "true" | "True" | "TRUE" if plain => Some(true),
            "false" | "False" | "FALSE" if plain => Some(false),
            _ => {
                self.schema(&node.at, format!("`{text}` is not a boolean"), "write true or false, without quotes");
                None
            }
        }
    }

    /// A text that parses; its error and a remedy are told.
    pub fn parsed<T: std::str::FromStr>(&self, node: &Node, what: &str, example: &str) -> Option<T> {
        let text = self.text(node)?;
        let found = text.parse().ok();
        if found.is_none() {
            self.schema(&node.at, format!("`{text}` is not {what}"), format!("write {example}"));
        }
        found
    }

    /// The items of a list, each decoded.
    pub fn list<T>(&self, node: &Node, mut decode: impl FnMut(&Node) -> Option<T>) -> Option<Vec<T>> {
        let Value::List(items) = &node.value else {
            if self.open && node.as_text().is_some_and(|text| text.contains("{{")) {
                self.schema(
                    &node.at,
                    "a list is wanted here, and a placeholder only ever stands for a text",
                    "write a list, with the placeholder in one of its items",
                );
            } else {
                self.wrong_kind(node, "a list");
            }
            return None;
        };
        let decoded: Vec<Option<T>> =
            items.iter().enumerate().map(|(index, item)| self.within(&index.to_string(), || decode(item))).collect();
        decoded.into_iter().collect()
    }

    /// The fields of a mapping. `what` names it with an article: `an App's spec`.
    pub fn fields<'a>(&'a self, node: &'a Node, what: &'static str) -> Option<Fields<'a>> {
        match &node.value {
            Value::Map(entries) => Some(Fields { cx: self, entries, at: &node.at, what, asked: RefCell::default() }),
            _ => {
                self.schema(
                    &node.at,
                    format!("{what} is a mapping, and this is {}", node.kind()),
                    "write its fields as `name: value` lines, indented",
                );
                None
            }
        }
    }

    /// A mapping with exactly one key, the choice, or only the choice's name as a text. The value is `None` for the latter
    /// and for an empty place.
    pub fn choice<'a>(
        &self,
        node: &'a Node,
        what: &str,
        choices: &[&'static str],
    ) -> Option<(&'static str, Option<&'a Node>, &'a Location)> {
        let known = || format!("write one of {}", list_of(choices));
        let (key, at, value) = match &node.value {
            Value::Scalar(_) => (self.text(node)?, &node.at, None),
            Value::Map(entries) => match entries.as_slice() {
                [one] => (one.key.as_str(), &one.key_at, Some(&one.value).filter(|value| !value.is_null())),
                [] => {
                    self.schema(&node.at, format!("{what} is empty"), known());
                    return None;
                }
                [first, second, ..] => {
                    let message =
                        format!("{what} is one thing, and both `{}` and `{}` are given", first.key, second.key);
                    let remedy = format!("keep one; a Release changes the choice with `{}: null`", first.key);
                    self.schema(&second.key_at, message, remedy);
                    return None;
                }
            },
            _ => {
                self.schema(&node.at, format!("{what} is not {}", node.kind()), known());
                return None;
            }
        };
        match choices.iter().find(|choice| **choice == key) {
            Some(choice) => Some((choice, value, at)),
            None => {
                let remedy = did_you_mean(key, choices).unwrap_or_else(known);
                self.schema(at, format!("`{key}` is not {what}"), remedy);
                None
            }
        }
    }
}

/// `010` is eight to some readers and ten to others.
fn is_old_octal(text: &str) -> bool {
    text.len() > 1 && text.starts_with('0')
}

/// The fields of one mapping. Those that are never asked for are unknown.
pub struct Fields<'a> {
    /// Where problems go.
    pub cx: &'a Context,
    /// Where the mapping stands.
    pub at: &'a Location,
    entries: &'a [Entry],
    what: &'static str,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// The value of a field; `null` is as good as absent.
    pub fn get(&self, name: &'static str) -> Option<&'a Node> {
        self.asked.borrow_mut().push(name);
        self.entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value).filter(|node| !node.is_null())
    }

    /// A field that must be there.
    pub fn required<T>(&self, name: &'static str, example: &str, decode: impl FnOnce(&Node) -> Option<T>) -> Option<T> {
        let Some(node) = self.get(name) else {
            self.cx.schema(self.at, format!("{} needs `{name}`", self.what), format!("add `{name}: {example}`"));
            return None;
        };
        self.cx.within(name, || decode(node))
    }

    /// A field that may be left out. The outer `None` says that it is there and wrong.
    pub fn optional<T>(&self, name: &'static str, decode: impl FnOnce(&Node) -> Option<T>) -> Option<Option<T>> {
        match self.get(name) {
            None => Some(None),
            Some(node) => self.cx.within(name, || decode(node)).map(Some),
        }
    }

    /// A field with a default.
    pub fn or<T: ToString>(
        &self,
        name: &'static str,
        default: T,
        decode: impl FnOnce(&Node) -> Option<T>,
    ) -> Option<T> {
        match self.get(name) {
            None => {
                self.cx.default_taken(name, default.to_string());
                Some(default)
            }
            Some(node) => self.cx.within(name, || decode(node)),
        }
    }

    /// A field whose default has no text of its own, such as an empty list.
    pub fn or_else<T>(
        &self,
        name: &'static str,
        default: impl FnOnce() -> T,
        decode: impl FnOnce(&Node) -> Option<T>,
    ) -> Option<T> {
        match self.get(name) {
            None => Some(default()),
            Some(node) => self.cx.within(name, || decode(node)),
        }
    }

    /// Reports every field that was not asked for.
    pub fn finish(self) {
        let asked = self.asked.into_inner();
        for entry in self.entries.iter().filter(|entry| !asked.contains(&entry.key.as_str())) {
            let remedy = did_you_mean(&entry.key, &asked).unwrap_or_else(|| match asked.as_slice() {
                [] => "delete it; there are no fields here".to_owned(),
                _ => format!("delete it; the fields here are {}", list_of(&asked)),
            });
            self.cx.schema(&entry.key_at, format!("`{}` is not a field of {}", entry.key, self.what), remedy);
        }
    }
}

/// The nearest of the known names, as a remedy, if one is near.
pub fn did_you_mean<S: AsRef<str>>(name: &str, known: &[S]) -> Option<String> {
    nearest(name, known).map(|near| format!("did you mean `{near}`?"))
}

/// The nearest of the known names, if one is near enough to be a slip of the finger.
pub fn nearest<'k, S: AsRef<str>>(name: &str, known: &'k [S]) -> Option<&'k str> {
    let name: String = name.chars().take(64).collect::<String>().to_lowercase();
    let reach = (name.chars().count() / 3).clamp(1, 3);
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&name, &known.as_ref().to_lowercase()), known.as_ref()))
        .filter(|(distance, _)| *distance <= reach)
        .min()
        .map(|(_, known)| known)
}

/// The nearest of the known names, or what to add and which there are, as a remedy.
pub fn name_or_add<S: AsRef<str>>(name: &str, known: &[S], add: &str) -> String {
    did_you_mean(name, known).unwrap_or_else(|| match known {
        [] => add.to_owned(),
        _ => format!("{add}, or name one that there is: {}", list_of(known)),
    })
}

/// `a, b and c`, each in backticks.
pub fn list_of<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}
