//! The secrets of an App or a Script: where each comes from, and how the process gets it.

use std::collections::BTreeMap;

use super::decode::Context;
use super::node::{Located, Node, Value};
use super::problem::{Layer, is_hidden};
use super::source::Location;
use super::values;
use crate::domain::secret::Delivery;

/// One secret, before its value is looked up.
#[derive(Clone, Debug)]
pub struct Secret {
    /// Where its name stands.
    pub at: Location,
    /// Where its ciphertext stands.
    pub source: Source,
    /// How it is handed over.
    pub deliver: Delivery,
}

/// Where a ciphertext stands.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file of the repository, and the value within it.
    File(Located<String>, Option<String>),
    /// The armored text of an age file.
    Inline(Located<String>),
}

/// Secrets by name.
pub type Secrets = BTreeMap<String, Secret>;

const WAYS: [&str; 3] = ["env", "file", "credential"];
const MOST: usize = 200;
const LONGEST: usize = 255;

/// Decodes `secrets` of a process.
pub fn decode(cx: &Context, node: &Node) -> Option<Secrets> {
    read(cx, node, false)
}

/// Decodes `secrets` that objects of a cluster name: how each is handed over stands there.
pub fn of_objects(cx: &Context, node: &Node) -> Option<Secrets> {
    read(cx, node, true)
}

fn read(cx: &Context, node: &Node, objects: bool) -> Option<Secrets> {
    let Value::Map(entries) = &node.value else {
        cx.wrong_kind(node, "a mapping of names and where their values come from");
        return None;
    };
    if entries.len() > MOST {
        cx.schema(&node.at, "too many secrets", format!("write at most {MOST}"));
        return None;
    }
    let mut secrets = Secrets::new();
    let mut complete = true;
    for entry in entries.iter().filter(|entry| !entry.value.is_null()) {
        if !is_file_name(&entry.key) {
            let remedy = "use letters, digits, `_`, `-` and `.`, not beginning with a dot, at most 128";
            cx.schema(&entry.key_at, format!("`{}` cannot name a secret", entry.key), remedy);
            complete = false;
            continue;
        }
        match cx.within(&entry.key, || secret(cx, &entry.key, &entry.key_at, &entry.value, objects)) {
            Some(secret) => {
                secrets.insert(entry.key.clone(), secret);
            }
            None => complete = false,
        }
    }
    complete &= no_clash(cx, &secrets);
    complete.then_some(secrets)
}

fn is_file_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !text.starts_with('.')
}

fn secret(cx: &Context, name: &str, at: &Location, node: &Node, objects: bool) -> Option<Secret> {
    if let Value::Scalar(_) = &node.value {
        let remedy = "write `{ file: secrets/NAME.age }`, or `{ value: |` and an armored age file";
        cx.report(Layer::Security, &node.at, "a secret is not written down in clear", remedy);
        return None;
    }
    let fields = cx.fields(node, "a secret")?;
    let (file, value) = (fields.get("file"), fields.get("value"));
    let key = fields.optional("key", |node| key(cx, node));
    let deliver = match fields.get("as") {
        Some(node) if objects => {
            let remedy = "delete `as`, and name the secret under `workload.kubernetes.secrets`";
            cx.report(Layer::Compatibility, &node.at, "a cluster's Secrets say how a secret is handed over", remedy);
            None
        }
        Some(node) => cx.within("as", || delivery(cx, name, node)),
        None if objects => Some(Delivery::Object {}),
        None => {
            cx.default_taken("as", "env");
            variable(cx, name, at)
        }
    };
    let source = match (file, value) {
        (Some(file), None) => {
            let path = values::file_path(cx, file);
            path.map(|path| Source::File(Located::new(&file.at, path), key.clone().flatten()))
        }
        (None, Some(node)) => {
            if let Some(key) = fields.get("key") {
                cx.schema(&key.at, "`key` belongs to a `file`", "leave it away: the value is one secret");
            }
            armored(cx, node).map(Source::Inline)
        }
        (Some(_), Some(node)) => {
            cx.schema(&node.at, "both `file` and `value` are given", "keep one of them");
            None
        }
        (None, None) => {
            let remedy = "add `file: secrets/NAME.age`, or `value: |` and an armored age file";
            cx.schema(fields.at, "a secret needs `file` or `value`", remedy);
            None
        }
    };
    fields.finish();
    key?;
    Some(Secret { at: at.clone(), source: source?, deliver: deliver? })
}

fn key(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    if text.is_empty() || text.len() > 512 || text.chars().any(is_hidden) {
        cx.schema(&node.at, format!("`{text}` is not a key"), "write the keys down to the value, joined by dots");
        return None;
    }
    Some(text.to_owned())
}

fn armored(cx: &Context, node: &Node) -> Option<Located<String>> {
    // Neither the text nor its length is told: somebody may have written the secret itself here.
    let text = cx.text(node)?;
    if !text.trim_start().starts_with("-----BEGIN AGE ENCRYPTED FILE-----") || text.len() > 256 << 10 {
        let remedy = "write an armored age file: `trimtab secrets encrypt` makes one";
        cx.report(Layer::Security, &node.at, "this is not an armored age file", remedy);
        return None;
    }
    Some(Located::new(&node.at, text.to_owned()))
}

fn delivery(cx: &Context, name: &str, node: &Node) -> Option<Delivery> {
    let (way, value, at) = cx.choice(node, "a way to hand over a secret", &WAYS)?;
    match (way, value) {
        ("env", None) => variable(cx, name, at),
        ("env", Some(node)) => variable(cx, cx.text(node)?, &node.at),
        ("credential", None) => Some(Delivery::Credential { name: name.to_owned() }),
        ("credential", Some(node)) => {
            let text = cx.text(node)?;
            if !is_file_name(text) {
                let remedy = "use letters, digits, `_`, `-` and `.`, not beginning with a dot";
                cx.schema(&node.at, format!("`{text}` is not the name of a file"), remedy);
                return None;
            }
            Some(Delivery::Credential { name: text.to_owned() })
        }
        (_, None) => {
            cx.schema(at, "a file needs a path", "write `as: { file: config/key.pem }`");
            None
        }
        (_, Some(node)) => file(cx, node),
    }
}

fn variable(cx: &Context, name: &str, at: &Location) -> Option<Delivery> {
    values::variable_name(cx, name, at).then(|| Delivery::Env { name: name.to_owned() })
}

/// A path, or a mapping of `path` and `mode`.
fn file(cx: &Context, node: &Node) -> Option<Delivery> {
    if let Value::Scalar(_) = &node.value {
        return Some(Delivery::File { path: inner_path(cx, node)?, mode: 0o400 });
    }
    let fields = cx.fields(node, "a secret's file")?;
    let path = fields.required("path", "config/key.pem", |node| inner_path(cx, node));
    let mode = fields.optional("mode", |node| mode(cx, node));
    fields.finish();
    Some(Delivery::File { path: path?, mode: mode?.unwrap_or(0o400) })
}

fn inner_path(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    if text.len() > LONGEST || text.chars().any(is_hidden) || !text.split('/').all(part) {
        let remedy = "write a path within the working directory, such as config/key.pem";
        cx.report(Layer::Security, &node.at, format!("`{text}` is not a path of the working directory"), remedy);
        return None;
    }
    Some(text.to_owned())
}

fn mode(cx: &Context, node: &Node) -> Option<u32> {
    let text = cx.text(node)?;
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o770 == 0 && mode & 0o400 != 0);
    if mode.is_none() {
        let remedy = "write one that the owner can read and others cannot, in quotes: \"0400\" or \"0440\"";
        cx.report(Layer::Security, &node.at, format!("`{text}` is not a mode for a secret"), remedy);
    }
    mode
}

/// Two secrets in one place would hide one another.
fn no_clash(cx: &Context, secrets: &Secrets) -> bool {
    let mut places = BTreeMap::new();
    let mut fine = true;
    for (name, secret) in secrets {
        let place = match &secret.deliver {
            Delivery::Env { name } => format!("the variable `{name}`"),
            Delivery::File { path, .. } => format!("the file `{path}`"),
            Delivery::Credential { name } => format!("the credential `{name}`"),
            // One may stand in several objects.
            Delivery::Object {} => continue,
        };
        if let Some(other) = places.insert(place.clone(), name) {
            let message = format!("`{other}` and `{name}` are both handed over as {place}");
            cx.schema(&secret.at, message, "give one of them another place with `as`");
            fine = false;
        }
    }
    fine
}

/// Reports the secrets that would take the place of a variable that is written in clear.
pub fn check_environment(cx: &Context, secrets: &Secrets, env: &BTreeMap<String, String>) {
    for (name, secret) in secrets {
        if let Delivery::Env { name: variable } = &secret.deliver
            && env.contains_key(variable)
        {
            let message =
                format!("the variable `{variable}` is in `env`, and the secret `{name}` is handed over as it");
            cx.schema(&secret.at, message, "delete it from `env`, or give the secret another place with `as`");
        }
    }
}
