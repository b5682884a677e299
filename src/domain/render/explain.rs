//! Where each value of a unit came from.

use serde::Serialize;

use super::unit::{merged, render, unit_id};
use super::{Artifacts, Lookups, Parts, parts};
use crate::domain::id::UnitId;
use crate::domain::manifest::decode::Context;
use crate::domain::manifest::environment::Target;
use crate::domain::manifest::node::{Node, Scalar, Value};
use crate::domain::manifest::template::{self, Part};
use crate::domain::manifest::{Document, DocumentSet, Identity, Location, Problem};
use crate::domain::secret::show_digest;

/// One value and its source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// The field's path in the App's spec: `workload.process.command.0`; beside the spec `version`, `wave`, `listen`.
    pub path: String,
    /// The value as it is used.
    pub value: String,
    /// What it was written in: `App`, `Release.set`, `Release`, `Environment.config`, `Environment`, `default`.
    pub source: String,
    /// `file:line`; none for a default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The text before its placeholders were filled in, and where each value came from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filled: Vec<String>,
}

/// [`explain_with`] without a look at secrets.
pub fn explain(
    documents: &DocumentSet,
    unit: &UnitId,
    artifacts: Artifacts<'_>,
) -> Option<Result<Vec<Explained>, Vec<Problem>>> {
    explain_with(documents, unit, Lookups::without_secrets(artifacts))
}

/// Explains every value of a unit, by path; `None` where there is no such unit. The error is all that is wrong with it.
pub fn explain_with(
    documents: &DocumentSet,
    unit: &UnitId,
    lookups: Lookups<'_>,
) -> Option<Result<Vec<Explained>, Vec<Problem>>> {
    let identity = Identity::Release { app: unit.app.clone(), environment: unit.environment.clone() };
    let parts = match parts(documents, &unit.app, &unit.environment, documents.find(&identity)?) {
        Ok(parts) => parts,
        Err(problems) => return Some(Err(problems)),
    };
    let target = parts.environment.targets.iter().find(|target| target.name.value == unit.target)?;
    Some(explain_parts(documents, &parts, target, lookups))
}

fn explain_parts(
    documents: &DocumentSet,
    parts: &Parts<'_>,
    target: &Target,
    lookups: Lookups<'_>,
) -> Result<Vec<Explained>, Vec<Problem>> {
    let cx = Context::explaining();
    let (unit, _) = render(documents, parts, target, lookups, &cx)?;
    let mut out = Vec::new();
    if let Some(release) = parts.release.release() {
        out.push(plain("version", &release.version.value, "Release", Some(&release.version.at)));
    }
    match unit.wave {
        0 => out.push(plain("wave", "0", "default", None)),
        wave => out.push(plain("wave", &wave.to_string(), "Environment", Some(&target.name.at))),
    }
    if let Some(route) = &unit.route {
        let at =
            target.listeners.values().map(|listener| &listener.address).find(|address| address.value == route.listen);
        let at = at.map(|address| &address.at);
        out.push(plain("route.listen", &route.listen.to_string(), "Environment", at));
    }
    for (name, secret) in unit.workload.secrets() {
        let digest = show_digest(secret.digest.as_ref());
        out.push(plain(&format!("secrets.{name}"), &format!("secret {name} ({digest})"), &secret.from, None));
    }
    let quiet = Context::new();
    if let Some(node) = unit_id(parts, target).and_then(|id| merged(&quiet, parts, target, &id)) {
        walk(parts, target, &node, &mut String::new(), &mut out);
        let process = node.get("workload").and_then(|node| node.get("process"));
        let own = process.and_then(|node| node.get("env"));
        for (name, value) in target.config.iter().filter(|_| process.is_some()) {
            if own.is_none_or(|own| own.get(name).is_none()) {
                let path = format!("workload.process.env.{name}");
                out.push(plain(&path, &value.value, "Environment.config", Some(&value.at)));
            }
        }
    }
    out.extend(cx.take_objects().into_iter().map(|(object, place)| Explained {
        path: format!("objects.{object}"),
        value: "an object".to_owned(),
        source: "file".to_owned(),
        place: Some(place),
        filled: Vec::new(),
    }));
    out.extend(cx.take_defaults().into_iter().map(|(path, value)| plain(&path, &value, "default", None)));
    out.sort();
    Ok(out)
}

fn plain(path: &str, value: &str, source: &str, at: Option<&Location>) -> Explained {
    Explained {
        path: path.to_owned(),
        value: value.to_owned(),
        source: source.to_owned(),
        place: at.map(place),
        filled: Vec::new(),
    }
}

fn place(at: &Location) -> String {
    format!("{}:{}", at.file.path, at.line)
}

/// Adds every text and every empty list or mapping of a tree.
fn walk(parts: &Parts<'_>, target: &Target, node: &Node, path: &mut String, out: &mut Vec<Explained>) {
    let length = path.len();
    let mut step = |key: &str, child: &Node, path: &mut String| {
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        walk(parts, target, child, path, out);
        path.truncate(length);
    };
    match &node.value {
        Value::List(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                step(&index.to_string(), item, path);
            }
        }
        Value::Map(entries) if !entries.is_empty() => {
            for entry in entries {
                step(&entry.key, &entry.value, path);
            }
        }
        Value::Null => {}
        Value::List(_) => out.push(plain(path, "[]", source(parts, &node.at), Some(&node.at))),
        Value::Map(_) => out.push(plain(path, "{}", source(parts, &node.at), Some(&node.at))),
        Value::Scalar(scalar) => {
            let mut explained = plain(path, &scalar.text, source(parts, &node.at), Some(&node.at));
            explained.filled = filled(parts, target, scalar);
            out.push(explained);
        }
    }
}

/// Which document a place belongs to. Documents do not share lines but where one ends and the next begins.
fn source(parts: &Parts<'_>, at: &Location) -> &'static str {
    let within = |document: &Document| {
        document.lines.file.path == at.file.path && (document.lines.line..=document.lines.end_line).contains(&at.line)
    };
    if within(parts.release) && !(within(parts.app) && at.line < parts.release.name_at.line) {
        "Release.set"
    } else {
        "App"
    }
}

fn filled(parts: &Parts<'_>, target: &Target, scalar: &Scalar) -> Vec<String> {
    let Some(template) = &scalar.template else { return Vec::new() };
    let mut out = Vec::new();
    for part in template::parts(template).unwrap_or_default() {
        let Part::Placeholder(name) = part else { continue };
        let source = match name {
            "version" => parts.release.release().map(|release| format!("Release, {}", place(&release.version.at))),
            "app" | "environment" => Some(format!("Release, {}", place(&parts.release.name_at))),
            "target" => Some(format!("Environment, {}", place(&parts.environment_document.name_at))),
            "port" | "instance" | "slot" => Some("filled in when an instance starts".to_owned()),
            _ => name
                .strip_prefix("config.")
                .and_then(|name| target.config.get(name))
                .map(|value| format!("Environment.config, {}", place(&value.at))),
        };
        out.extend(source.map(|source| format!("{{{{ {name} }}}}: {source}")));
    }
    out
}
