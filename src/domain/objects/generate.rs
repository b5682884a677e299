//! ConfigMaps and Secrets that are made from configuration and secrets, named by their content: a change is another object, so that
//! what uses it is rolled, and a rollback finds the old one.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::finish::Refused;
use crate::domain::digest::Digest;
use crate::domain::manifest::source::Location;
use crate::domain::secret::SecretRef;
use crate::domain::workload::kubernetes::{Object, SECRET_KEY, secret_at};

/// How many hexadecimal digits of its content's digest a name ends with.
const DIGITS: usize = 10;

/// An object that is made.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Where it is written.
    pub at: Location,
    /// The name by which other objects refer to it.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// What a generated object holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A ConfigMap's texts.
    Config(BTreeMap<String, String>),
    /// A Secret's values by key: the name of each secret, and the digest of its value where that is known.
    Secret(BTreeMap<String, (String, Option<Digest>)>),
}

impl Generated {
    fn kind(&self) -> &'static str {
        match self.content {
            Content::Config(_) => "ConfigMap",
            Content::Secret(_) => "Secret",
        }
    }

    /// Its name with the beginning of its content's digest.
    fn full_name(&self) -> String {
        let ending = match &self.content {
            Content::Config(data) => ending(&json!({ "config": data })),
            Content::Secret(data) => ending_of_secret(data.iter().map(|(key, (_, digest))| (key, digest.as_ref()))),
        };
        format!("{}{ending}", self.name)
    }

    fn object(&self, name: &str, namespace: &str) -> Value {
        let data: Map<String, Value> = match &self.content {
            Content::Config(data) => data.iter().map(|(key, text)| (key.clone(), text.as_str().into())).collect(),
            Content::Secret(data) => {
                data.iter().map(|(key, (secret, _))| (key.clone(), json!({ SECRET_KEY: secret }))).collect()
            }
        };
        let metadata = json!({ "name": name, "namespace": namespace });
        json!({ "apiVersion": "v1", "kind": self.kind(), "metadata": metadata, "data": data })
    }
}

/// What a name ends with for its content.
fn ending(content: &Value) -> String {
    format!("-{}", Digest::of("g1", content).short().get(..DIGITS).unwrap_or_default())
}

fn ending_of_secret<'d>(digests: impl Iterator<Item = (&'d String, Option<&'d Digest>)>) -> String {
    let digests: BTreeMap<_, _> = digests.map(|(key, digest)| (key, digest.map(Digest::as_str))).collect();
    ending(&json!({ "secret": digests }))
}

/// Names generated Secrets anew where digests of their values have become known that were not `before`.
pub fn follow(objects: &mut [Object], before: &BTreeMap<String, SecretRef>, now: &BTreeMap<String, SecretRef>) {
    let mut names = Names::new();
    for object in objects.iter().filter(|object| object.group().is_empty() && object.kind() == "Secret") {
        let Some(Value::Object(data)) = object.fields().get("data") else { continue };
        let of = |known: &BTreeMap<String, SecretRef>| {
            let digest = |value: &Value| known.get(value.get(SECRET_KEY)?.as_str()?)?.digest.clone();
            let digests: Vec<_> = data.iter().map(|(key, value)| (key, digest(value))).collect();
            ending_of_secret(digests.iter().map(|(key, digest)| (*key, digest.as_ref())))
        };
        if let Some(name) = object.name().strip_suffix(&of(before)) {
            names.insert(("Secret", object.name().to_owned()), format!("{name}{}", of(now)));
        }
    }
    names.retain(|(_, old), new| old != new);
    if names.is_empty() {
        return;
    }
    for object in objects.iter_mut() {
        let mut value = Value::from(object.clone());
        let own = names.get(&("Secret", object.name().to_owned())).filter(|_| object.kind() == "Secret");
        if let Some(name) = own {
            value["metadata"]["name"] = name.as_str().into();
        }
        refer(&mut value, "", &names);
        // Only names were replaced, so it is an object as before.
        *object = Object::try_from(value).unwrap_or_else(|_| object.clone());
    }
    objects.sort_by_cached_key(Object::id);
}

/// Adds the generated objects and lets all others refer to them by their full names.
pub fn add(objects: &mut Vec<Value>, generated: &[Generated], namespace: &str, refused: &mut Vec<Refused>) {
    let mut names = BTreeMap::new();
    let mut made = Vec::new();
    for one in generated {
        let clash = |object: &Value| object["kind"] == one.kind() && object["metadata"]["name"] == one.name.as_str();
        if objects.iter().any(clash) {
            refused.push(Refused {
                at: Some(one.at.clone()),
                message: format!("{} {} is in the files already", one.kind(), one.name),
                remedy: "delete it there, or give this one another name".to_owned(),
            });
        }
        let name = one.full_name();
        made.push(one.object(&name, namespace));
        names.insert((one.kind(), one.name.clone()), name);
    }
    if made.is_empty() {
        return;
    }
    for object in objects.iter_mut().filter(|object| object["kind"] != "CustomResourceDefinition") {
        refer(object, "", &names);
    }
    objects.append(&mut made);
}

/// The secrets whose values stand in objects.
pub fn secrets_named(objects: &[Object]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for object in objects {
        object.fields().values().for_each(|value| named(value, &mut found));
    }
    found
}

fn named(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| named(item, found)),
        Value::Object(map) => match secret_at(value) {
            Some((name, _)) => drop(found.insert(name.to_owned())),
            None => map.values().for_each(|value| named(value, found)),
        },
        _ => {}
    }
}

type Names = BTreeMap<(&'static str, String), String>;

/// Rewrites references below a value that stands under a key.
fn refer(value: &mut Value, under: &str, names: &Names) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, under, names)),
        Value::Object(map) => {
            for (key, inner) in map {
                match kind_of(under, key) {
                    Some(kind) if inner.is_string() => {
                        let name = inner.as_str().and_then(|name| names.get(&(kind, name.to_owned())));
                        if let Some(name) = name {
                            *inner = name.as_str().into();
                        }
                    }
                    _ => refer(inner, key, names),
                }
            }
        }
        _ => {}
    }
}

/// The kind of object whose name stands at a key below another key.
fn kind_of(under: &str, key: &str) -> Option<&'static str> {
    match (under, key) {
        ("configMapRef" | "configMapKeyRef" | "configMap", "name") => Some("ConfigMap"),
        ("secretRef" | "secretKeyRef" | "secret" | "imagePullSecrets", "name") | (_, "secretName") => Some("Secret"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::manifest::SourceFile;

    fn generated(name: &str, content: Content) -> Generated {
        Generated { at: Location::start_of(Arc::new(SourceFile::new("app.yaml", ""))), name: name.into(), content }
    }

    #[test]
    fn references_follow_the_content() {
        let pod = json!({ "kind": "Deployment", "spec": { "template": { "spec": {
            "imagePullSecrets": [{ "name": "pull" }],
            "containers": [{ "envFrom": [{ "configMapRef": { "name": "web" } }], "env": [
                { "name": "web", "valueFrom": { "secretKeyRef": { "name": "db", "key": "url" } } },
                { "valueFrom": { "configMapKeyRef": { "name": "other", "key": "a" } } }] }],
            "volumes": [{ "name": "web", "configMap": { "name": "web" } }, { "secret": { "secretName": "db" } },
                { "projected": { "sources": [{ "secret": { "name": "db" } }, { "configMap": { "name": "web" } }] } }],
        } } } });
        let secret = |digest: &str| {
            let value = ("DB".to_owned(), Some(Digest::from_text(digest)));
            Content::Secret(BTreeMap::from([("url".to_owned(), value)]))
        };
        let config = Content::Config(BTreeMap::from([("LEVEL".to_owned(), "info".to_owned())]));
        let names = |digest: &str| {
            let (mut objects, mut refused) = (vec![pod.clone()], Vec::new());
            let all = [generated("web", config.clone()), generated("db", secret(digest))];
            add(&mut objects, &all, "shop", &mut refused);
            assert!(refused.is_empty());
            objects
        };
        let objects = names("s1:aa");
        let (map, secret) = (&objects[1], &objects[2]);
        assert_eq!(secret["data"]["url"], json!({ SECRET_KEY: "DB" }));
        let text = objects[0].to_string();
        let count = |name: &Value| text.matches(name.as_str().unwrap()).count();
        assert_eq!((count(&map["metadata"]["name"]), count(&secret["metadata"]["name"])), (3, 3), "{text}");
        assert!(text.contains("\"name\":\"web\"") && text.contains("other") && text.contains("pull"), "{text}");
        assert_ne!(names("s1:bb")[2]["metadata"]["name"], secret["metadata"]["name"]);
        assert_eq!(names("s1:bb")[1], *map);
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        let mut objects = vec![json!({ "kind": "ConfigMap", "metadata": { "name": "web" } })];
        let mut refused = Vec::new();
        add(&mut objects, &[generated("web", Content::Config(BTreeMap::new()))], "shop", &mut refused);
        assert_eq!(refused.len(), 1);
    }
}
