//! How an object is doing, from the object alone: the rules of kstatus for the built-in kinds and for whatever follows their
//! conventions (`observedGeneration`, the conditions `Reconciling`, `Stalled` and `Ready`), and what rests on purpose.
//!
//! Pure: the same object gives the same answer.

pub mod custom;
mod kinds;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::Value;

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
    if let Some(rest) = suspended(&group, kind, object) {
        return rest;
    }
    if let Some(health) = generation(object).or_else(|| standard_conditions(object)) {
        return health;
    }
    match kinds::rule(&group, kind) {
        Some(rule) => rule(object),
        None => ready_condition(object).unwrap_or(Health::Healthy),
    }
}

/// What says that it shall rest: `spec.paused` of a Deployment; `spec.suspend` of a CronJob, a Job and of the kinds that follow
/// them.
pub fn rests(object: &Value) -> bool {
    let kind = text(object, "/kind").unwrap_or_default();
    suspended(&group(object), kind, object).is_some()
}

fn suspended(group: &str, kind: &str, object: &Value) -> Option<Health> {
    let set = |field: &str| object.pointer(field).and_then(Value::as_bool) == Some(true);
    match (group, kind) {
        ("apps" | "extensions", "Deployment") => set("/spec/paused").then(|| Health::Suspended("it is paused".into())),
        _ => set("/spec/suspend").then(|| Health::Suspended("it is suspended".into())),
    }
}

/// Its controller has not seen the newest version.
fn generation(object: &Value) -> Option<Health> {
    let asked = object.pointer("/metadata/generation").and_then(Value::as_i64)?;
    let seen = object.pointer("/status/observedGeneration").and_then(Value::as_i64)?;
    (seen != asked).then(|| Health::Progressing("its controller has yet to see the newest version".into()))
}

fn standard_conditions(object: &Value) -> Option<Health> {
    conditions(object).filter(Condition::is_true).find_map(|condition| match condition.kind {
        "Reconciling" => Some(Health::Progressing(condition.words())),
        "Stalled" => Some(Health::failed(condition.words())),
        _ => None,
    })
}

/// The last resort: many controllers tell by `Ready` alone.
fn ready_condition(object: &Value) -> Option<Health> {
    let ready = conditions(object).find(|condition| condition.kind == "Ready")?;
    Some(if ready.is_true() { Health::Healthy } else { Health::Progressing(ready.words()) })
}

/// One of `status.conditions`.
#[derive(Clone, Copy)]
struct Condition<'a> {
    kind: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
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
            ("", "") => format!("{} is {}", self.kind, self.status),
            (reason, "") => reason.to_owned(),
            ("", message) => message.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

fn conditions(object: &Value) -> impl Iterator<Item = Condition<'_>> {
    let all = object.pointer("/status/conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|one| {
        let field = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
        Condition { kind: field("type"), status: field("status"), reason: field("reason"), message: field("message") }
    })
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
