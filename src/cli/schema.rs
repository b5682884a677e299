//! `trimtab schema`: the documents' JSON Schema, for editors; and the reference that is written from it.

use std::process::ExitCode;

use serde_json::{Map, Value};

use super::output::write_out;
use crate::domain::manifest::schema::JSON;

/// Prints the JSON Schema of trimtab's documents, for editors: a first line `# yaml-language-server: $schema=FILE` names it.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn run(_args: Args) -> ExitCode {
    write_out(JSON);
    ExitCode::SUCCESS
}

/// The kinds of documents, in the order of the reference.
const KINDS: [&str; 4] = ["Environment", "App", "Release", "Script"];

/// The reference of the manifests as Markdown: `docs/reference/manifest.md`.
pub fn markdown() -> String {
    let schema: Value = serde_json::from_str(JSON).unwrap_or_default();
    let mut text = String::from(
        "# Manifest reference\n\nWritten from the schema that `trimtab schema` prints; [manifest.md](../manifest.md) is the introduction.\n\
         A time is `250ms`, `30s`, `1h30m`; a size is bytes or `64Ki`, `256Mi`, `5M`; an amount is a count or a share (`25%`).\n",
    );
    for kind in KINDS {
        let definition = &schema["$defs"][kind]["properties"];
        text.push_str(&format!("\n## {kind}\n\n{}.\n", definition["spec"]["description"].as_str().unwrap_or_default()));
        text.push_str("\n| field | what it takes | default | |\n|---|---|---|---|\n");
        for part in ["metadata", "spec"] {
            rows(&schema, &definition[part], part, &mut text);
        }
    }
    text
}

/// The rows of an object's fields, those below each of them after it.
fn rows(schema: &Value, object: &Value, path: &str, text: &mut String) {
    let empty = Map::new();
    let required: Vec<&str> = object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in object["properties"].as_object().unwrap_or(&empty) {
        let path = format!("{path}.{name}");
        let target = resolved(schema, field);
        let about = field["description"].as_str().or(target["description"].as_str()).unwrap_or_default();
        let default = match &field["default"] {
            Value::Null if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        text.push_str(&format!("| `{path}` | {} | {default} | {about} |\n", takes(schema, field)));
        below(schema, target, &path, text);
    }
}

/// The fields below a value: of an object, of a list's items, of what a mapping holds by name, of the long form.
fn below(schema: &Value, value: &Value, path: &str, text: &mut String) {
    let value = resolved(schema, value);
    rows(schema, value, path, text);
    if value["items"].is_object() {
        below(schema, &value["items"], &format!("{path}[]"), text);
    }
    if value["additionalProperties"].is_object() {
        below(schema, &value["additionalProperties"], &format!("{path}.NAME"), text);
    }
    let forms: Vec<&Value> = value["anyOf"].as_array().into_iter().flatten().map(|one| resolved(schema, one)).collect();
    let listed = forms.iter().any(|form| !form["properties"].is_null());
    for form in forms.into_iter().filter(|form| !listed || form["items"].is_null()) {
        below(schema, form, path, text);
    }
}

/// What a field takes, in a word or two.
fn takes(schema: &Value, field: &Value) -> String {
    if let Some(name) = field["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/"))
        && ["name", "time", "size", "amount", "command"].contains(&name)
    {
        return name.to_owned();
    }
    let value = resolved(schema, field);
    if let Some(values) = value["enum"].as_array() {
        return values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let Some(forms) = value["anyOf"].as_array() {
        let mut told: Vec<String> = Vec::new();
        for form in forms.iter().map(|form| takes(schema, form)) {
            if !told.contains(&form) {
                told.push(form);
            }
        }
        return told.join(" or ");
    }
    let kind = match &value["type"] {
        Value::Array(kinds) => kinds.iter().find_map(Value::as_str).unwrap_or_default(),
        kind => kind.as_str().unwrap_or("anything"),
    };
    match kind {
        "object" => "mapping".into(),
        "array" => format!("list of {}", takes(schema, &value["items"])),
        "string" => "text".into(),
        "integer" => "number".into(),
        other => other.into(),
    }
}

fn resolved<'a>(schema: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        Some(name) => &schema["$defs"][name],
        None => value,
    }
}
