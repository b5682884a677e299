//! What is done with objects on their way to the cluster: images, labels, patches, ConfigMaps and Secrets that are made.

use std::collections::BTreeMap;

use super::decode::{Context, list_of};
use super::kubernetes::{kind_of_group, pointer, rules};
use super::node::{Node, Value};
use super::problem::{Layer, Problems};
use super::source::Location;
use super::values;
use crate::domain::objects::images::ImageOverride;
use crate::domain::objects::native;
use crate::domain::objects::patch::{Change, Patch, Step};

/// The most ConfigMaps or Secrets, and the most entries of one.
const MAX_ENTRIES: usize = 500;
/// The most bytes of a ConfigMap's texts; the API server takes 1 MiB.
const MAX_DATA: usize = 1_000_000;

/// A ConfigMap or a Secret that is made, before anything is looked up.
#[derive(Clone, Debug)]
pub struct Made<T> {
    /// Where its name stands.
    pub at: Location,
    /// What it holds; `None` for the whole configuration of the environment.
    pub data: Option<BTreeMap<String, T>>,
}

/// The name of a secret of the App, and where it is written.
pub type SecretName = super::node::Located<String>;

/// `images: { web: "1.2.3", registry.example/db: { name: mirror.example/db, digest: "sha256:..." } }`
pub fn images(cx: &Context, node: &Node) -> Option<Vec<ImageOverride>> {
    let entries = mapping(cx, node, "a mapping of images and what becomes of them")?;
    let all: Vec<_> = entries
        .iter()
        .filter(|entry| !entry.value.is_null())
        .map(|entry| cx.within(&entry.key, || image(cx, &entry.key, &entry.key_at, &entry.value)))
        .collect();
    all.into_iter().collect()
}

fn image(cx: &Context, key: &str, at: &Location, node: &Node) -> Option<ImageOverride> {
    if !is_image(key) || key.contains('@') || key.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        let remedy = "write it as the objects name it, without tag and digest: registry.example/web";
        cx.schema(at, format!("`{key}` is not the name of an image"), remedy);
        return None;
    }
    let mut found = ImageOverride { at: at.clone(), image: key.to_owned(), name: None, tag: None, digest: None };
    if matches!(node.value, Value::Scalar(_)) {
        let text = cx.text(node)?;
        match text.starts_with("sha256:") {
            true => found.digest = Some(digest(cx, node)?),
            false => found.tag = Some(tag(cx, node)?),
        }
        return Some(found);
    }
    let fields = cx.fields(node, "what becomes of an image")?;
    let name = fields.optional("name", |node| {
        let text = cx.text(node)?;
        if !is_image(text) {
            cx.schema(
                &node.at,
                format!("`{text}` is not the name of an image"),
                "write for example registry.example/web",
            );
            return None;
        }
        Some(text.to_owned())
    });
    let tag = fields.optional("tag", |node| tag(cx, node));
    let digest = fields.optional("digest", |node| digest(cx, node));
    fields.finish();
    (found.name, found.tag, found.digest) = (name?, tag?, digest?);
    if found.name.is_none() && found.tag.is_none() && found.digest.is_none() {
        cx.schema(at, "nothing becomes of this image", "add `tag`, `digest` or `name`");
        return None;
    }
    Some(found)
}

fn is_image(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte))
        && !text.starts_with(['/', ':', '-'])
}

fn tag(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let fine = (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !text.starts_with(['.', '-']);
    if !fine {
        let remedy = "use letters, digits, `.`, `_` and `-`, at most 128; a digest begins with `sha256:`";
        cx.schema(&node.at, format!("`{text}` is not a tag"), remedy);
        return None;
    }
    Some(text.to_owned())
}

fn digest(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let hex = text.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if hex.is_none() {
        cx.schema(&node.at, format!("`{text}` is not a digest"), "write `sha256:` and 64 hexadecimal digits");
        return None;
    }
    Some(text.to_owned())
}

/// Labels by name.
pub fn labels(cx: &Context, node: &Node) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    let mut complete = true;
    for entry in mapping(cx, node, "a mapping of labels")?.iter().filter(|entry| !entry.value.is_null()) {
        let part = |text: &str, most: usize| {
            (1..=most).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
                && text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.ends_with(|c: char| c.is_ascii_alphanumeric())
        };
        let name = match entry.key.split_once('/') {
            Some((prefix, name)) => part(prefix, 253) && part(name, 63),
            None => part(&entry.key, 63),
        };
        if !name || entry.key.starts_with("trimtab.dev/") {
            let remedy = "use letters, digits, `-`, `_` and `.`, at most 63, after a domain and `/` if you like";
            cx.schema(&entry.key_at, format!("`{}` can't be the name of a label here", entry.key), remedy);
            complete = false;
            continue;
        }
        match cx.text(&entry.value) {
            Some(text) if text.is_empty() || part(text, 63) => drop(labels.insert(entry.key.clone(), text.to_owned())),
            Some(text) => {
                let remedy = "use letters, digits, `-`, `_` and `.`, at most 63";
                cx.schema(&entry.value.at, format!("`{text}` can't be the value of a label"), remedy);
                complete = false;
            }
            None => complete = false,
        }
    }
    complete.then_some(labels)
}

/// `[{ target: { kind: Deployment, name: web }, merge: {..} }, { target: {..}, json: [{ op: add, path: /a, value: b }] }]`
pub fn patches(cx: &Context, node: &Node) -> Option<Vec<Patch>> {
    rules(cx, node, |node| patch(cx, node))
}

fn patch(cx: &Context, node: &Node) -> Option<Patch> {
    let fields = cx.fields(node, "a patch")?;
    let target = fields.required("target", "{ kind: Deployment, name: web }", |node| {
        let fields = cx.fields(node, "a patch's target")?;
        let kind = fields.optional("kind", |node| kind_of_group(cx, node));
        let name = fields.optional("name", |node| cx.text(node).map(str::to_owned));
        fields.finish();
        Some((kind?, name?))
    });
    let merge = fields.optional("merge", |node| {
        mapping(cx, node, "a part of an object")?;
        value(cx, node).map(Change::Merge)
    });
    let steps = fields.optional("json", |node| rules(cx, node, |node| step(cx, node)).map(Change::Steps));
    fields.finish();
    let (kind, name) = target?;
    let ((Some(change), None) | (None, Some(change))) = (merge?, steps?) else {
        cx.schema(&node.at, "a patch has one of `merge` and `json`", "write `merge:` and a part of the object");
        return None;
    };
    Some(Patch { at: node.at.clone(), kind, name, change })
}

const OPERATIONS: [&str; 4] = ["add", "remove", "replace", "test"];

fn step(cx: &Context, node: &Node) -> Option<Step> {
    let fields = cx.fields(node, "a step of a patch")?;
    let operation = fields.required("op", "replace", |node| {
        let text = cx.text(node)?;
        let found = OPERATIONS.into_iter().find(|known| *known == text);
        if found.is_none() {
            cx.schema(&node.at, format!("`{text}` is not a step"), format!("write one of {}", list_of(&OPERATIONS)));
        }
        found
    });
    let path = fields.required("path", "/spec/replicas", |node| pointer(cx, node));
    let given = fields.optional("value", |node| value(cx, node));
    fields.finish();
    let (operation, path, given) = (operation?, path?, given?);
    match (operation, given) {
        ("remove", None) => Some(Step::Remove(path)),
        ("add", Some(value)) => Some(Step::Add(path, value)),
        ("replace", Some(value)) => Some(Step::Replace(path, value)),
        ("test", Some(value)) => Some(Step::Test(path, value)),
        (operation, _) => {
            let message = format!("`{operation}` {} value", if operation == "remove" { "takes no" } else { "needs a" });
            cx.schema(&node.at, message, "write `{ op: replace, path: /spec/replicas, value: 3 }`");
            None
        }
    }
}

/// A part of an object, as it would be read from a file. A text that was filled in stays a text.
pub fn value(cx: &Context, node: &Node) -> Option<serde_json::Value> {
    let mut problems = Problems::default();
    let found = native::json(node, &mut problems);
    cx.extend(problems.into_vec());
    found
}

/// `config: { web: { LEVEL: info }, all: environment }`; `config: all` is short for the latter.
pub fn config(cx: &Context, node: &Node) -> Option<BTreeMap<String, Made<String>>> {
    made(cx, node, |node| {
        let mut bytes = 0;
        let found = entries(cx, node, |node| {
            let text = values::free_text(cx, node, false)?;
            bytes += text.len();
            Some(text)
        })?;
        if bytes > MAX_DATA {
            cx.report(Layer::Security, &node.at, format!("a ConfigMap has at most {MAX_DATA} bytes"), "split it");
            return None;
        }
        Some(found)
    })
}

/// `secrets: { db: { url: DATABASE_URL } }`: keys, and the names of the App's secrets.
pub fn secrets(cx: &Context, node: &Node) -> Option<BTreeMap<String, Made<SecretName>>> {
    let secret = |node: &Node| Some(SecretName::new(&node.at, cx.text(node)?.to_owned()));
    let all = made(cx, node, |node| match &node.value {
        // A list names secrets whose names are their keys.
        Value::List(_) => {
            let names = cx.list(node, secret)?;
            Some(names.into_iter().map(|name| (name.value.clone(), name)).collect())
        }
        _ => entries(cx, node, secret),
    })?;
    let without: Vec<_> = all.values().filter(|made| made.data.is_none()).collect();
    for made in &without {
        cx.schema(
            &made.at,
            "a Secret is made of secrets by name",
            "write `{ url: DATABASE_URL }`, or `[DATABASE_URL]`",
        );
    }
    without.is_empty().then_some(all)
}

fn made<T>(
    cx: &Context,
    node: &Node,
    mut read: impl FnMut(&Node) -> Option<BTreeMap<String, T>>,
) -> Option<BTreeMap<String, Made<T>>> {
    let name = |text: &str, at: &Location| {
        // What is made gets eleven more characters.
        let fine = text.len() <= 240 && text.split('.').all(|part| part.parse::<crate::domain::id::Name>().is_ok());
        if !fine {
            cx.schema(
                at,
                format!("`{text}` is not the name of an object"),
                "use lower-case letters, digits, `-` and `.`",
            );
        }
        fine
    };
    if let Value::Scalar(_) = &node.value {
        let text = cx.text(node)?;
        return name(text, &node.at)
            .then(|| BTreeMap::from([(text.to_owned(), Made { at: node.at.clone(), data: None })]));
    }
    let mut all = BTreeMap::new();
    let mut complete = true;
    let listed = mapping(cx, node, "a mapping of objects and what they hold")?;
    for entry in listed.iter().filter(|entry| !entry.value.is_null()) {
        let data = match entry.value.as_text() {
            Some("environment") => Some(None),
            _ => cx.within(&entry.key, || read(&entry.value)).map(Some),
        };
        match data.filter(|_| name(&entry.key, &entry.key_at)) {
            Some(data) => drop(all.insert(entry.key.clone(), Made { at: entry.key_at.clone(), data })),
            None => complete = false,
        }
    }
    complete.then_some(all)
}

fn entries<T>(cx: &Context, node: &Node, mut read: impl FnMut(&Node) -> Option<T>) -> Option<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    let mut complete = true;
    for entry in mapping(cx, node, "a mapping of keys and values")?.iter().filter(|entry| !entry.value.is_null()) {
        let fine = (1..=253).contains(&entry.key.len())
            && entry.key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            && !matches!(entry.key.as_str(), "." | "..");
        if !fine {
            cx.schema(&entry.key_at, format!("`{}` is not a key", entry.key), "use letters, digits, `-`, `_` and `.`");
        }
        match cx.within(&entry.key, || read(&entry.value)).filter(|_| fine) {
            Some(value) => drop(all.insert(entry.key.clone(), value)),
            None => complete = false,
        }
    }
    complete.then_some(all)
}

fn mapping<'n>(cx: &Context, node: &'n Node, what: &str) -> Option<&'n [super::node::Entry]> {
    let Value::Map(entries) = &node.value else {
        cx.wrong_kind(node, what);
        return None;
    };
    if entries.len() > MAX_ENTRIES {
        cx.schema(&node.at, "too many entries", format!("write at most {MAX_ENTRIES}"));
        return None;
    }
    Some(entries)
}
