//! How an object is doing, from the object alone: the rules of kstatus for the built-in kinds and for whatever follows their
//! conventions (`observedGeneration`, the conditions `Reconciling`, `Stalled` and `Ready`), what rests on purpose, and the kinds
//! of others that tell it in words of their own: most by a table, some by a rule.
//!
//! `cases.yaml` and `argo/*.yaml` hold, case by case, what kstatus and Argo CD say, and why where this says something else.
//!
//! Pure: the same object gives the same answer.

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod cases;
mod counted;
pub mod custom;
mod kinds;
mod others;
mod pods;
mod rest;
mod told;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::Value;

pub use self::rest::rests;

/// How an object is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is on its way; what is missing.
    Progressing(String),
    /// It is as it shall be.
    Healthy,
    /// Something is wrong.
    Degraded {
        /// What.
        message: String,
        /// It will not mend by itself.
        for_good: bool,
    },
    /// It rests on purpose; what says so.
    Suspended(String),
    /// The object says something that nobody understands.
    Unknown(String),
}

impl Health {
    /// Why it is not healthy, for people.
    pub fn message(&self) -> Option<&str> {
        match self {
            Health::Healthy => None,
            Health::Progressing(message) | Health::Suspended(message) | Health::Unknown(message) => Some(message),
            Health::Degraded { message, .. } => Some(message),
        }
    }

    fn failed(message: impl Into<String>) -> Self {
        Health::Degraded { message: message.into(), for_good: true }
    }
}

/// The health of an object, its `status` included.
pub fn health(object: &Value) -> Health {
    if text(object, "/metadata/deletionTimestamp").is_some() {
        return Health::Progressing("it is being deleted".into());
    }
    let (group, kind) = (group(object), text(object, "/kind").unwrap_or_default());
    // A Job may have ended before somebody suspended it, and says so.
    let ends = (group.as_ref(), kind) == ("batch", "Job");
    if let Some(rest) = rest::told(&group, kind, object).filter(|_| !ends) {
        return rest;
    }
    if let Some(health) = odd(object).or_else(|| generation(object)) {
        return health;
    }
    let rule = kinds::rule(&group, kind).or_else(|| others::rule(&group, kind)).or_else(|| counted::rule(&group, kind));
    let told = || match told::health(&group, kind, object)? {
        // A word of its own may tell of less than its readiness.
        Health::Healthy => ready_condition(object).or(Some(Health::Healthy)),
        told => Some(told),
    };
    let own = rule.map(|rule| rule(object)).or_else(told);
    match (own, standard_conditions(object)) {
        (_, Some(stalled @ Health::Degraded { .. })) => stalled,
        // The kind's own words say more than that its controller is at work.
        (Some(own @ (Health::Degraded { .. } | Health::Suspended(_))), _) => own,
        (_, Some(reconciling)) => reconciling,
        (Some(own), None) => own,
        (None, None) => ready_condition(object).unwrap_or(Health::Healthy),
    }
}

/// A status of another form than all have: what it says can't be told.
fn odd(object: &Value) -> Option<Health> {
    let status = object.get("status").filter(|status| !status.is_null())?;
    let conditions = status.get("conditions").filter(|conditions| !conditions.is_null());
    let what = match (status, conditions) {
        (Value::Object(_), None) => return None,
        (Value::Object(_), Some(Value::Array(all))) if all.iter().all(|one| one.is_object() || one.is_null()) => {
            return None;
        }
        (Value::Object(_), Some(Value::Object(none))) if none.is_empty() => return None,
        (Value::Object(_), _) => "its `status.conditions` is not a list of mappings",
        _ => "its `status` is not a mapping",
    };
    Some(Health::Unknown(format!("{what}; a rule of the App's `health` can tell how it is doing")))
}

fn unseen() -> Health {
    Health::Progressing("its controller has yet to see the newest version".into())
}

/// Its controller has not seen the newest version.
fn generation(object: &Value) -> Option<Health> {
    let asked = asked(object)?;
    let seen = object.pointer("/status/observedGeneration")?;
    let behind = match seen {
        Value::Null => false,
        // Some controllers write it as a text, and Argo Rollouts once wrote a hash.
        Value::String(text) => text.parse::<i64>().is_ok_and(|seen| seen < asked),
        seen => match seen.as_i64() {
            Some(seen) => seen != asked,
            None => return Some(Health::Unknown("its `status.observedGeneration` is no generation".into())),
        },
    };
    behind.then(unseen)
}

fn asked(object: &Value) -> Option<i64> {
    object.pointer("/metadata/generation").and_then(Value::as_i64)
}

fn standard_conditions(object: &Value) -> Option<Health> {
    conditions(object).filter(Condition::is_true).find_map(|condition| match condition.kind {
        "Reconciling" => Some(Health::Progressing(condition.words())),
        // What an older version got stuck at fails no newer one.
        "Stalled" if condition.old => Some(unseen()),
        "Stalled" => Some(Health::failed(condition.words())),
        _ => None,
    })
}

/// The last resort: many controllers tell by `Ready` alone.
fn ready_condition(object: &Value) -> Option<Health> {
    let ready = conditions(object).find(|condition| condition.kind == "Ready")?;
    Some(match ready.status {
        _ if ready.old => unseen(),
        "True" => Health::Healthy,
        "False" | "Unknown" => Health::Progressing(ready.words()),
        status => Health::Unknown(format!("its condition Ready is `{status}`, and not True, False or Unknown")),
    })
}

/// One of `status.conditions`.
#[derive(Clone, Copy)]
struct Condition<'a> {
    kind: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    /// It was said of an older version, by the condition itself.
    old: bool,
}

impl<'a> Condition<'a> {
    /// `asked` is the generation that it should be about, where only conditions tell which they are about.
    fn read(one: &'a Value, asked: Option<i64>) -> Self {
        let field = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
        let seen = one.get("observedGeneration").and_then(Value::as_i64);
        Condition {
            kind: field("type"),
            // Some write a boolean.
            status: match one.get("status").and_then(Value::as_bool) {
                Some(true) => "True",
                Some(false) => "False",
                None => field("status"),
            },
            reason: field("reason"),
            message: field("message"),
            old: asked.zip(seen).is_some_and(|(asked, seen)| seen < asked),
        }
    }
}

impl Condition<'_> {
    fn is_true(&self) -> bool {
        self.status == "True"
    }

    fn is_false(&self) -> bool {
        self.status == "False"
    }

    fn words(&self) -> String {
        match (self.reason, self.message) {
            ("", "") if self.kind.is_empty() => format!("a condition without a type is {}", self.status),
            ("", "") => format!("{} is {}", self.kind, self.status),
            (reason, "") => reason.to_owned(),
            ("", message) => message.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

fn conditions(object: &Value) -> impl Iterator<Item = Condition<'_>> {
    // Where the status as a whole says which version it is about, that counts.
    let asked = asked(object).filter(|_| object.pointer("/status/observedGeneration").is_none());
    conditions_at(object, "/status/conditions", asked)
}

/// The conditions at a place; `asked` is the generation they should be about.
fn conditions_at<'a>(value: &'a Value, at: &str, asked: Option<i64>) -> impl Iterator<Item = Condition<'a>> + use<'a> {
    list(value, at).map(move |one| Condition::read(one, asked))
}

fn list<'a>(object: &'a Value, pointer: &str) -> std::slice::Iter<'a, Value> {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

fn group(object: &Value) -> Cow<'_, str> {
    let version = text(object, "/apiVersion").unwrap_or_default();
    version.rsplit_once('/').map_or("".into(), |(group, _)| group.into())
}

fn text<'a>(object: &'a Value, pointer: &str) -> Option<&'a str> {
    object.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

fn number(object: &Value, pointer: &str, default: i64) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(default)
}
