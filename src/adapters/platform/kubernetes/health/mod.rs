//! How an object is doing, from the object alone: the rules of kstatus for the built-in kinds and for whatever follows their
//! conventions (`observedGeneration`, the conditions `Reconciling`, `Stalled` and `Ready`), what rests on purpose, and a few kinds
//! of others that tell it in words of their own. `cases.yaml` holds, case by case, what kstatus and Argo CD say, and why where this
//! says something else.
//!
//! Pure: the same object gives the same answer.

#[cfg(test)]
mod cases;
pub mod custom;
mod kinds;
mod others;
mod pods;
mod told;

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
    // A Job may have ended before somebody suspended it, and says so.
    let ends = (group.as_ref(), kind) == ("batch", "Job");
    if let Some(rest) = suspended(&group, kind, object).filter(|_| !ends) {
        return rest;
    }
    if let Some(health) = odd(object).or_else(|| generation(object)).or_else(|| standard_conditions(object)) {
        return health;
    }
    match kinds::rule(&group, kind).or_else(|| others::rule(&group, kind)) {
        Some(rule) => rule(object),
        None => match (told::health(&group, kind, object), ready_condition(object)) {
            // Both have a say: what is wrong or rests goes before what is on its way.
            (Some(told @ (Health::Degraded { .. } | Health::Suspended(_))), _) => told,
            (told, None | Some(Health::Healthy)) => told.unwrap_or(Health::Healthy),
            (_, Some(unready)) => unready,
        },
    }
}

/// What says that it shall rest: `spec.paused` of a Deployment, a Rollout and the kinds of Cluster API; `spec.suspend` of a CronJob, a Job and of the kinds that follow
/// them.
pub fn rests(object: &Value) -> bool {
    let kind = text(object, "/kind").unwrap_or_default();
    suspended(&group(object), kind, object).is_some()
}

fn suspended(group: &str, kind: &str, object: &Value) -> Option<Health> {
    let set = |field: &str| object.pointer(field).and_then(Value::as_bool) == Some(true);
    match (group, kind) {
        ("apps" | "extensions", "Deployment") => {
            set("/spec/paused").then(|| Health::Suspended("it is paused until `kubectl rollout resume`".into()))
        }
        ("argoproj.io", "Rollout") | ("cluster.x-k8s.io", _) => {
            set("/spec/paused").then(|| Health::Suspended("it is paused".into()))
        }
        _ => set("/spec/suspend").then(|| Health::Suspended("it is suspended".into())),
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
    // Some controllers write it as a text.
    let behind = match seen.as_i64() {
        Some(seen) => seen != asked,
        None => seen.as_str().and_then(|text| text.parse::<i64>().ok()).is_some_and(|seen| seen < asked),
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
    list(object, "/status/conditions").map(move |one| Condition::read(one, asked))
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
