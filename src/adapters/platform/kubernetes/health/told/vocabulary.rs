//! The vocabulary of the tables: what can be asked of a status.

use std::borrow::Cow;

use serde_json::Value;

use crate::adapters::platform::kubernetes::health::{Condition, asked, conditions_at};

/// Something that a status may say. Places are JSON pointers from the object, or from the entry in `Any` and `Every`.
pub(in super::super) enum Test {
    /// The condition of this type is True.
    Is(&'static str),
    /// The condition of this type is False.
    Not(&'static str),
    /// The condition of this type is Unknown.
    Unsure(&'static str),
    /// The condition of this type has one of these reasons, whatever its status is.
    For(&'static str, &'static [&'static str]),
    /// Some condition is False.
    SomeFalse,
    /// Here stands one of these words; numbers and booleans count as words too.
    Word(&'static str, &'static [&'static str]),
    /// Here stands a word that begins so.
    Begins(&'static str, &'static str),
    /// Here stands something that is not empty.
    Set(&'static str),
    /// The same stands at both places.
    Same(&'static str, &'static str),
    /// Some entry of this list or mapping is so.
    Any(&'static str, &'static Test),
    /// There is a list or mapping, and each of its entries is so.
    Every(&'static str, &'static Test),
    /// Where there are entries, the same stands at a place in all of them.
    Alike(&'static str, &'static str),
    /// All of them hold.
    Both(&'static [Test]),
    /// It does not hold.
    No(&'static Test),
    /// It holds of each object.
    Always,
}

/// What decides was said of an older version of the object.
#[derive(Debug)]
pub(super) struct Old;

/// What is asked: an object, or an entry of one of its lists.
pub(super) struct Scope<'a> {
    value: &'a Value,
    conditions: &'static str,
    asked: Option<i64>,
}

impl<'a> Scope<'a> {
    pub(super) fn of(object: &'a Value) -> Self {
        // Where the status as a whole says which version it is about, that counts.
        let asked = asked(object).filter(|_| object.pointer("/status/observedGeneration").is_none());
        Scope { value: object, conditions: "/status/conditions", asked }
    }

    fn entry(&self, value: &'a Value) -> Self {
        Scope { value, conditions: "/conditions", asked: self.asked }
    }

    fn conditions(&self) -> impl Iterator<Item = Condition<'a>> {
        conditions_at(self.value, self.conditions, self.asked)
    }

    fn condition(&self, kind: &str) -> Option<Condition<'a>> {
        self.conditions().find(|condition| condition.kind == kind)
    }

    fn entries(&self, at: &str) -> Option<Vec<Scope<'a>>> {
        match self.value.pointer(at)? {
            Value::Array(all) => Some(all.iter().map(|one| self.entry(one)).collect()),
            Value::Object(all) => Some(all.values().map(|one| self.entry(one)).collect()),
            _ => None,
        }
    }

    /// The word at a place, for people, with what stands beside it as the message.
    fn told(&self, at: &str, word: &str) -> String {
        let (around, name) = at.rsplit_once('/').unwrap_or(("", at));
        let message = self.value.pointer(&format!("{around}/message")).and_then(Value::as_str).unwrap_or_default();
        match message {
            "" => format!("its {name} is {word}"),
            message => format!("its {name} is {word}: {message}"),
        }
    }
}

impl Test {
    /// What the place that it looks at says, whether it holds or not.
    pub(super) fn seen(&self, scope: &Scope<'_>) -> Option<String> {
        match self {
            Test::Word(at, _) | Test::Begins(at, _) if at.starts_with("/status/") => {
                scope.value.pointer(at).and_then(word).map(|word| scope.told(at, &word))
            }
            Test::Is(kind) | Test::Not(kind) | Test::For(kind, _) => scope
                .condition(kind)
                .filter(|condition| matches!(condition.status, "False" | "Unknown"))
                .map(|condition| condition.words()),
            Test::Both(all) => all.iter().find_map(|test| test.seen(scope)),
            _ => None,
        }
    }

    /// Whether it holds, and if so what to tell people of it.
    pub(super) fn holds(&self, scope: &Scope<'_>) -> Result<Option<String>, Old> {
        let by = |condition: Option<Condition<'_>>| match condition {
            Some(condition) if condition.old => Err(Old),
            found => Ok(found.map(|condition| condition.words())),
        };
        let of = |kind: &str, status: &str| by(scope.condition(kind).filter(|condition| condition.status == status));
        match self {
            Test::Is(kind) => of(kind, "True"),
            Test::Not(kind) => of(kind, "False"),
            Test::Unsure(kind) => of(kind, "Unknown"),
            Test::For(kind, reasons) => {
                by(scope.condition(kind).filter(|condition| reasons.contains(&condition.reason)))
            }
            Test::SomeFalse => by(scope.conditions().find(Condition::is_false)),
            Test::Word(at, words) => match scope.value.pointer(at).and_then(word) {
                Some(word) if words.contains(&word.as_ref()) => scope.now(scope.told(at, &word)),
                _ => Ok(None),
            },
            Test::Begins(at, with) => match scope.value.pointer(at).and_then(word) {
                Some(word) if word.starts_with(with) => scope.now(scope.told(at, &word)),
                _ => Ok(None),
            },
            Test::Set(at) => match scope.value.pointer(at).filter(|value| !is_empty(value)) {
                Some(value) => scope.now(value.as_str().unwrap_or_default().to_owned()),
                None => Ok(None),
            },
            Test::Same(one, other) => {
                let (one, other) = (scope.value.pointer(one), scope.value.pointer(other));
                Ok((one.is_some() && one == other).then(String::new))
            }
            Test::Any(at, test) => {
                let found = scope.entries(at).unwrap_or_default().iter().find_map(|one| test.holds(one).transpose());
                found.transpose()
            }
            Test::Every(at, test) => {
                let Some(all) = scope.entries(at) else { return Ok(None) };
                every(all.iter().map(|one| test.holds(one)))
            }
            Test::Alike(at, place) => {
                let all = scope.entries(at).unwrap_or_default();
                let mut values = all.iter().map(|one| one.value.pointer(place));
                let first = values.next().flatten();
                Ok((first.is_some() && values.all(|value| value == first)).then(String::new))
            }
            Test::Both(all) => every(all.iter().map(|test| test.holds(scope))),
            Test::No(test) => Ok(test.holds(scope)?.is_none().then(String::new)),
            Test::Always => Ok(Some(String::new())),
        }
    }
}

impl Scope<'_> {
    /// What is said of an older version is no news.
    fn now(&self, words: String) -> Result<Option<String>, Old> {
        if self.conditions().any(|condition| condition.old) { Err(Old) } else { Ok(Some(words)) }
    }
}

/// The words of the first that has any, where all hold.
fn every(all: impl Iterator<Item = Result<Option<String>, Old>>) -> Result<Option<String>, Old> {
    let mut words = String::new();
    for one in all {
        match one? {
            None => return Ok(None),
            Some(more) if words.is_empty() => words = more,
            Some(_) => {}
        }
    }
    Ok(Some(words))
}

fn word(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(word) if !word.is_empty() => Some(word.into()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string().into()),
        _ => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
