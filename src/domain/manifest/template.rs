//! Placeholders: `{{ version }}` and the like, filled in within texts after parsing, never over structure and never in keys.

use super::decode::{Context, list_of, name_or_add, nearest};
use super::node::{Entry, Node, Scalar, Value};
use super::source::Location;

/// What the renderer fills in, apart from `config.NAME`.
const KNOWN: [&str; 4] = ["version", "app", "environment", "target"];
/// What the supervisor fills in when it starts an instance.
const RUNTIME: [&str; 3] = ["port", "instance", "slot"];

/// A text, cut at its placeholders.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'t> {
    /// As it stands.
    Text(&'t str),
    /// The name within `{{ }}`.
    Placeholder(&'t str),
    /// `{{ "{{" }}`: two braces that are meant.
    Braces,
}

/// Cuts a text at its placeholders. The error is the rest of the text from braces that are never closed.
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, &str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        if start > 0 {
            parts.push(Part::Text(&rest[..start]));
        }
        let after = &rest[start + 2..];
        if let Some(end) = braces(after) {
            parts.push(Part::Braces);
            rest = &after[end..];
            continue;
        }
        let end = after.find("}}").ok_or(&rest[start..])?;
        parts.push(Part::Placeholder(after[..end].trim()));
        rest = &after[end + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

/// The length of ` "{{" }}`.
fn braces(after: &str) -> Option<usize> {
    let quoted = after.trim_start();
    let inner = quoted.strip_prefix(r#""{{""#).or_else(|| quoted.strip_prefix("'{{'"))?;
    let end = inner.trim_start().strip_prefix("}}")?;
    Some(after.len() - end.len())
}

/// Gives the value of a name such as `version` or `config.LOG_LEVEL`.
pub trait Values {
    /// The value, if there is one.
    fn value(&self, name: &str) -> Option<&str>;
    /// The names of the configuration, for a remedy.
    fn config_names(&self) -> Vec<&str>;
}

/// Reports the placeholders of a tree that can't be known anywhere. Names of configuration are left to [`fill`].
pub fn check(cx: &Context, node: &Node) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) => {
            if scalar.text.contains("{{") {
                check_text(cx, &node.at, &scalar.text);
            }
        }
        Value::List(items) => items.iter().for_each(|item| check(cx, item)),
        Value::Map(entries) => entries.iter().for_each(|entry| {
            if entry.key.contains("{{") {
                let message = "a placeholder in a key: values are filled in, keys never";
                cx.schema(&entry.key_at, message, "write the key out");
            }
            check(cx, &entry.value);
        }),
    }
}

fn check_text(cx: &Context, at: &Location, text: &str) {
    match parts(text) {
        Err(rest) => {
            let shown: String = rest.chars().take(40).collect();
            cx.schema(
                at,
                format!("`{shown}` begins a placeholder that is never closed"),
                r#"close it with `}}`; for two braces that are meant write `{{ "{{" }}`"#,
            );
        }
        Ok(parts) => {
            for part in parts {
                if let Part::Placeholder(name) = part
                    && name.strip_prefix("config.").is_none_or(str::is_empty)
                    && !KNOWN.contains(&name)
                    && !RUNTIME.contains(&name)
                {
                    unknown(cx, at, name);
                }
            }
        }
    }
}

fn unknown(cx: &Context, at: &Location, name: &str) {
    let mut known: Vec<&str> = KNOWN.iter().chain(&RUNTIME).copied().collect();
    let remedy = match nearest(name, &known) {
        Some(near) => format!("did you mean `{{{{ {near} }}}}`?"),
        None => {
            known.push("config.NAME");
            format!("known are {}; for two braces that are meant write `{{{{ \"{{{{\" }}}}`", list_of(&known))
        }
    };
    cx.schema(at, format!("`{name}` is not a value that can be filled in"), remedy);
}

/// Fills in all placeholders of a tree that passed [`check`], once each: what is filled in is not searched again.
pub fn fill(cx: &Context, node: &mut Node, values: &dyn Values) {
    match &mut node.value {
        Value::Null => {}
        Value::Scalar(scalar) => {
            if scalar.text.contains("{{") {
                fill_scalar(cx, &node.at, scalar, values);
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| fill(cx, item, values)),
        Value::Map(entries) => entries.iter_mut().for_each(|Entry { value, .. }| fill(cx, value, values)),
    }
}

fn fill_scalar(cx: &Context, at: &Location, scalar: &mut Scalar, values: &dyn Values) {
    let mut filled = String::with_capacity(scalar.text.len());
    let mut runtime = false;
    for part in parts(&scalar.text).unwrap_or_default() {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Braces => filled.push_str("{{"),
            Part::Placeholder(name) if RUNTIME.contains(&name) => {
                runtime = true;
                filled.push_str("{{ ");
                filled.push_str(name);
                filled.push_str(" }}");
            }
            Part::Placeholder(name) => match values.value(name) {
                Some(value) => filled.push_str(value),
                None if name.starts_with("config.") => unknown_config(cx, at, name, values),
                // Everything else was told by `check`.
                None => {}
            },
        }
    }
    let template = std::mem::replace(&mut scalar.text, filled);
    scalar.template = Some(template.into_boxed_str());
    scalar.runtime = runtime;
    scalar.plain = true;
}

fn unknown_config(cx: &Context, at: &Location, name: &str, values: &dyn Values) {
    let name = name.trim_start_matches("config.");
    let known = values.config_names();
    let remedy = match nearest(name, &known) {
        Some(near) => format!("did you mean `{{{{ config.{near} }}}}`?"),
        None => name_or_add(name, &known, &format!("add `{name}` to the Environment's `config`")),
    };
    let environment = values.value("environment").unwrap_or("this environment");
    cx.schema(at, format!("environment `{environment}` has no config `{name}`"), remedy);
}
