//! An object as it is sent: marked as ours, without what is left to others, its secret values filled in last.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::fields;
use super::health;
use super::labels;
use crate::domain::digest::Digest;
use crate::domain::secret::SecretRef;
use crate::domain::workload::kubernetes::{KubernetesSpec, Object, ObjectId, secret_at};
use crate::secrets::value::SecretValues;

/// The version of the digest of what was applied: a change of the method is not a change of the object.
const APPLIED: &str = "a1";

/// An object on its way to a cluster, without secret values.
#[derive(Clone, Debug)]
pub struct Composed {
    /// What it is called, its namespace filled in.
    pub id: ObjectId,
    /// `apps/v1`
    pub api_version: String,
    /// A digest of what is applied, which stands on the object.
    pub applied: String,
    /// It says itself that it shall rest.
    pub rests: bool,
    /// Values of secrets stand in it.
    pub secret: bool,
    /// The wave in which it is sent.
    pub wave: i32,
    /// The version that it must have on the server, where it is there.
    pub at: Option<u64>,
    body: Value,
}

/// What is the same for all objects of a group.
pub struct Frame<'a> {
    /// The group's objects.
    pub spec: &'a KubernetesSpec,
    /// The installation.
    pub installation: &'a str,
    /// The unit's key.
    pub unit: &'a str,
    /// The restarts that were asked for.
    pub restarts: u32,
}

impl Frame<'_> {
    /// An object with all but its secret values. `namespace` is where it goes; none where its kind has no namespaces.
    pub fn compose(&self, object: &Object, namespace: Option<&str>) -> Composed {
        let mut body = Value::Object(object.fields().clone());
        let id = ObjectId { namespace: namespace.map(str::to_owned), ..object.id() };
        for ignored in self.spec.ignore.iter().filter(|ignored| ignored.concerns(&id)) {
            ignored.paths.iter().for_each(|path| leave_out(&mut body, path));
        }
        self.restart(object, &mut body);
        let metadata = member(&mut body, "metadata");
        match namespace {
            Some(namespace) => drop(metadata.insert("namespace".into(), namespace.into())),
            None => drop(metadata.remove("namespace")),
        }
        for server in ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"] {
            metadata.remove(server);
        }
        let metadata = member(&mut body, "metadata");
        let marks = inner(metadata, "labels");
        marks.entry(labels::MANAGED_BY).or_insert_with(|| labels::MANAGER.into());
        marks.insert(labels::INSTALLATION.into(), self.installation.into());
        marks.insert(labels::UNIT.into(), self.unit.into());
        if let Value::Object(members) = &mut body {
            members.remove("status");
        }
        let secrets = named(&body, &self.spec.secrets);
        let applied = Digest::of(APPLIED, &json!({ "object": body, "secrets": secrets })).short().to_owned();
        inner(member(&mut body, "metadata"), "annotations").insert(labels::APPLIED.into(), applied.as_str().into());
        let (rests, secret) = (health::rests(&body), !secrets.is_empty());
        Composed { id, api_version: object.api_version().to_owned(), applied, rests, secret, wave: 0, at: None, body }
    }

    /// A restart is a change of the pods' template: its controller replaces them as it does for any other.
    fn restart(&self, object: &Object, body: &mut Value) {
        let runs = matches!((object.group(), object.kind()), ("apps", "Deployment" | "StatefulSet" | "DaemonSet"));
        if runs && self.restarts > 0 && body.pointer("/spec/template").is_some_and(Value::is_object) {
            let metadata = inner(inner(member(body, "spec"), "template"), "metadata");
            inner(metadata, "annotations").insert(labels::RESTARTS.into(), self.restarts.to_string().into());
        }
    }
}

impl Composed {
    /// The object to be sent, with the values of its secrets.
    ///
    /// # Errors
    ///
    /// A value is missing, or is no text where a text must stand.
    pub fn filled(&self, values: &SecretValues) -> Result<Value, String> {
        let mut body = self.body.clone();
        if self.secret {
            let is_secret = self.is_secret();
            fill(&mut body, values, &|path: &[String]| is_secret && path.first().is_some_and(|first| first == "data"))?;
        }
        Ok(body)
    }

    /// Whether it is a Secret: what a server says of one may hold its values.
    pub fn is_secret(&self) -> bool {
        self.id.group.is_empty() && self.id.kind == "Secret"
    }

    /// What is applied, secret values apart.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// Leaves a field to whoever has it.
    pub fn leave(&mut self, field: &str) {
        fields::leave_out(&mut self.body, field);
    }
}

/// The member of an object that is an object; made where there is none.
pub(super) fn member<'a>(value: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(members) => inner(members, name),
        _ => unreachable!("it was made an object"),
    }
}

pub(super) fn inner<'a>(members: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let value = members.entry(name).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(members) => members,
        _ => unreachable!("it was made an object"),
    }
}

/// Takes away what a JSON pointer names; `*` is any one step.
fn leave_out(value: &mut Value, pointer: &str) {
    let Some(path) = pointer.strip_prefix('/') else { return };
    let (step, rest) = path.split_once('/').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let step = step.replace("~1", "/").replace("~0", "~");
    match (value, rest) {
        (Value::Object(members), Some(rest)) if step == "*" => {
            members.values_mut().for_each(|value| leave_out(value, &format!("/{rest}")));
        }
        (Value::Object(members), Some(rest)) => {
            if let Some(value) = members.get_mut(&step) {
                leave_out(value, &format!("/{rest}"));
            }
        }
        (Value::Object(members), None) if step == "*" => members.clear(),
        (Value::Object(members), None) => drop(members.remove(&step)),
        (Value::Array(items), Some(rest)) if step == "*" => {
            items.iter_mut().for_each(|value| leave_out(value, &format!("/{rest}")));
        }
        (Value::Array(items), Some(rest)) => {
            if let Some(value) = step.parse::<usize>().ok().and_then(|at| items.get_mut(at)) {
                leave_out(value, &format!("/{rest}"));
            }
        }
        (Value::Array(items), None) if step == "*" => items.clear(),
        (Value::Array(items), None) => {
            if let Some(at) = step.parse::<usize>().ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
        }
        _ => {}
    }
}

/// The secrets that an object names, with their digests: a new value is a new object.
fn named(value: &Value, secrets: &BTreeMap<String, SecretRef>) -> BTreeMap<String, Option<Digest>> {
    let mut found = BTreeMap::new();
    let mut left = vec![value];
    while let Some(value) = left.pop() {
        if let Some((name, _)) = secret_at(value) {
            found.insert(name.to_owned(), secrets.get(name).and_then(|secret| secret.digest.clone()));
            continue;
        }
        match value {
            Value::Object(members) => left.extend(members.values()),
            Value::Array(items) => left.extend(items),
            _ => {}
        }
    }
    found
}

fn fill(value: &mut Value, values: &SecretValues, encoded: &dyn Fn(&[String]) -> bool) -> Result<(), String> {
    fn walk(
        value: &mut Value,
        path: &mut Vec<String>,
        values: &SecretValues,
        encoded: &dyn Fn(&[String]) -> bool,
    ) -> Result<(), String> {
        if let Some((name, as_it_is)) = secret_at(value) {
            let secret = values.get(name).ok_or_else(|| format!("the value of secret {name} is not at hand"))?;
            *value = match encoded(path) && !as_it_is {
                true => BASE64_STANDARD.encode(secret.expose()).into(),
                false => std::str::from_utf8(secret.expose())
                    .map_err(|_| {
                        format!("the value of secret {name} is no text: it can only stand under `data` of a Secret")
                    })?
                    .into(),
            };
            return Ok(());
        }
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    path.push(key.clone());
                    walk(value, path, values, encoded)?;
                    path.pop();
                }
            }
            Value::Array(items) => {
                for value in items {
                    walk(value, path, values, encoded)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
    walk(value, &mut Vec::new(), values, encoded)
}
