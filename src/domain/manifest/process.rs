//! A process as an App's workload, and what scripts share with it: artifacts, limits.

use std::collections::BTreeMap;

use super::decode::Context;
use super::node::{Located, Node, Value};
use super::problem::Layer;
use super::template::{self, Part};
use super::values;
use crate::domain::span::Span;
use crate::domain::workload::{Limits, Stop};

/// Files to run from, before their content is looked up.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// A folder of the repository, by its path from the root.
    Tree(Located<String>),
    /// A file from elsewhere.
    Url {
        /// Where.
        url: String,
        /// What its bytes must hash to.
        sha256: String,
    },
}

/// A process, before its artifact is looked up and the configuration is added to its environment.
#[derive(Clone, Debug)]
pub struct Process {
    /// The files it runs from.
    pub artifact: Option<Artifact>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its own environment variables.
    pub env: BTreeMap<String, String>,
    /// How many, where it is given beside the process.
    pub replicas: Option<u32>,
    /// The user to run as.
    pub user: Option<String>,
    /// Resource limits.
    pub limits: Limits,
    /// How it is stopped.
    pub stop: Stop,
    /// Whether it gets a port.
    pub port: bool,
    /// How much of its output is kept, in bytes.
    pub log_limit: Option<u64>,
}

const SIGNALS: [&str; 6] = ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2"];

/// The most instances of an app on one target.
pub const MAX_REPLICAS: u32 = 1_000;

/// Decodes the settings of a process.
pub fn decode(cx: &Context, node: &Node) -> Option<Process> {
    let fields = cx.fields(node, "a process")?;
    let artifact = fields.optional("artifact", |node| artifact(cx, node));
    let command = fields.required("command", "[bin/app]", |node| values::command(cx, node, true));
    let env = fields.or_else("env", BTreeMap::new, |node| values::environment(cx, node, true));
    let replicas = fields.optional("replicas", |node| cx.number(node, 0, MAX_REPLICAS));
    let user = fields.optional("user", |node| user(cx, node));
    let limits = fields.or_else("limits", Limits::default, |node| limits(cx, node));
    let stop = match fields.get("stop") {
        Some(node) => cx.within("stop", || stop(cx, node)),
        None => cx.within("stop", || stop(cx, &Node::empty_map(fields.at.clone()))),
    };
    let port = fields.or("port", true, |node| cx.boolean(node));
    let log_limit = fields.optional("logs", |node| logs(cx, node));
    if port == Some(false) {
        let texts = ["command", "env"].into_iter().filter_map(|name| fields.get(name));
        texts.for_each(|node| no_port(cx, node));
    }
    fields.finish();
    Some(Process {
        artifact: artifact?,
        command: command?,
        env: env?,
        replicas: replicas?,
        user: user?,
        limits: limits?,
        stop: stop?,
        port: port?,
        log_limit: log_limit?.flatten(),
    })
}

/// Reports every `{{ port }}` of a process that gets none.
fn no_port(cx: &Context, node: &Node) {
    match &node.value {
        Value::Scalar(scalar) => {
            let parts = template::parts(&scalar.text).unwrap_or_default();
            if parts.contains(&Part::Placeholder("port")) {
                let remedy = "delete `port: false`, or the placeholder";
                cx.report(Layer::Compatibility, &node.at, "this process has no port to fill in", remedy);
            }
        }
        Value::List(items) => items.iter().for_each(|item| no_port(cx, item)),
        Value::Map(entries) => entries.iter().for_each(|entry| no_port(cx, &entry.value)),
        Value::Null => {}
    }
}

/// Decodes an artifact: a path, or a mapping of `path`, or of `url` and `sha256`.
pub fn artifact(cx: &Context, node: &Node) -> Option<Artifact> {
    let tree = |node: &Node| Some(Artifact::Tree(Located::new(&node.at, values::tree_path(cx, node)?)));
    if matches!(node.value, Value::Scalar(_)) {
        return tree(node);
    }
    let fields = cx.fields(node, "an artifact")?;
    let path = fields.get("path");
    let url = fields.get("url");
    let sum = fields.optional("sha256", |node| sha256(cx, node));
    let found = match (path, url) {
        (Some(path), None) => {
            if let Some(sum) = fields.get("sha256") {
                let remedy = "leave `sha256` away: a folder of the repository is named by its content already";
                cx.schema(&sum.at, "`sha256` belongs to a `url`", remedy);
            }
            tree(path)
        }
        (None, Some(node)) => {
            let url = values::url(cx, node, true);
            if let Some(None) = sum {
                let message = "without `sha256` this URL could bring anything";
                cx.report(
                    Layer::Security,
                    &node.at,
                    message,
                    "add `sha256:` with the hash of the file (sha256sum FILE)",
                );
            }
            match (url, sum.clone()) {
                (Some(url), Some(Some(sha256))) => Some(Artifact::Url { url, sha256 }),
                _ => None,
            }
        }
        (Some(_), Some(node)) => {
            cx.schema(&node.at, "both `path` and `url` are given", "keep one of them");
            None
        }
        (None, None) => {
            let remedy = "add `path: FOLDER`, or `url:` and `sha256:`";
            cx.schema(fields.at, "an artifact needs `path` or `url`", remedy);
            None
        }
    };
    fields.finish();
    sum.and(found)
}

fn sha256(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?.to_ascii_lowercase();
    if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(text);
    }
    cx.schema(&node.at, "this is not a SHA-256", "write its 64 hexadecimal digits (sha256sum FILE)");
    None
}

/// Decodes a user: a name or a number, but never the superuser's.
pub fn user(cx: &Context, node: &Node) -> Option<String> {
    let text = cx.text(node)?;
    let fine = (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && !text.starts_with(['-', '.']);
    if !fine {
        cx.schema(&node.at, format!("`{text}` is not a user"), "write a user's name or number");
        return None;
    }
    if text == "root" || text.parse() == Ok(0u32) {
        let message = "a configuration repository may not ask for the superuser";
        cx.report(Layer::Security, &node.at, message, "name a user without privileges");
        return None;
    }
    Some(text.to_owned())
}

/// Decodes resource limits.
pub fn limits(cx: &Context, node: &Node) -> Option<Limits> {
    let fields = cx.fields(node, "limits")?;
    let memory = fields.optional("memory", |node| values::size(cx, node, 1 << 20, 1 << 44));
    let cpu = fields.optional("cpu", |node| values::cpu(cx, node));
    let pids = fields.optional("pids", |node| cx.number(node, 1, 4_000_000));
    fields.finish();
    Some(Limits { memory: memory?, cpu_millis: cpu?, pids: pids?.map(u64::from) })
}

fn stop(cx: &Context, node: &Node) -> Option<Stop> {
    let fields = cx.fields(node, "stop")?;
    let default = Stop::default();
    let signal = fields.or("signal", default.signal, |node| {
        let text = cx.text(node)?.to_ascii_uppercase();
        let name = text.strip_prefix("SIG").unwrap_or(&text);
        if SIGNALS.contains(&name) {
            return Some(name.to_owned());
        }
        let remedy = format!("write one of {}", super::decode::list_of(&SIGNALS));
        cx.schema(&node.at, format!("`{text}` is not a signal to stop with"), remedy);
        None
    });
    let grace = fields.or("grace", default.grace, |node| values::span_to(cx, node, Span::from_secs(24 * 3600)));
    fields.finish();
    Some(Stop { signal: signal?, grace: grace? })
}

fn logs(cx: &Context, node: &Node) -> Option<Option<u64>> {
    let fields = cx.fields(node, "logs")?;
    let limit = fields.optional("limit", |node| values::size(cx, node, 4 << 10, 1 << 40));
    fields.finish();
    limit
}
