//! The schema for editors: it takes what the decoders take and refuses what they refuse, and knows the same fields.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use trimtab::domain::manifest::node::{self, Node};
use trimtab::domain::manifest::schema::JSON;
use trimtab::domain::manifest::source::SourceFile;
use trimtab::domain::manifest::yaml;

fn schema() -> Value {
    serde_json::from_str(JSON).unwrap()
}

/// A tree as an editor sees it.
fn json(node: &Node) -> Value {
    match &node.value {
        node::Value::Map(entries) => {
            Value::Object(entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect::<Map<_, _>>())
        }
        node::Value::List(items) => items.iter().map(json).collect(),
        _ if node.is_null() => Value::Null,
        node::Value::Scalar(scalar) if scalar.plain => match scalar.text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            text => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
        },
        node::Value::Scalar(scalar) => scalar.text.as_str().into(),
        _ => Value::Null,
    }
}

/// Whether the schema takes every document of a text.
fn takes(text: &str) -> bool {
    let schema = jsonschema::validator_for(&schema()).expect("it is a schema");
    let file = SourceFile::new("a.yaml", text);
    let documents = yaml::read(&file.into());
    assert!(!documents.is_empty(), "{text}");
    documents.iter().all(|document| schema.is_valid(&json(document.root.as_ref().expect("it is YAML"))))
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else if entry.path().extension().is_some_and(|ext| ext == "yaml") {
            found.push(entry.path());
        }
    }
}

#[test]
fn the_examples_are_taken() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/repo"), &mut found);
    assert!(found.len() > 10);
    for path in found {
        assert!(takes(&fs::read_to_string(&path).unwrap()), "{}", path.display());
    }
}

#[test]
fn bad_documents_are_refused() {
    let app = |spec: &str| format!("apiVersion: trimtab/v1\nkind: App\nmetadata: {{ name: a }}\nspec: {{ {spec} }}\n");
    let workload = "workload: { process: { command: [a] } }";
    assert!(takes(&app(workload)));
    assert!(takes(&app(&format!("{workload}, strategy: rolling, health: {{ http: /healthz, interval: 1s }}"))));
    for bad in [
        "replicas: 2",
        "workload: { process: { command: run } }",
        "workload: { process: { command: [a], commnad: [b] } }",
        "workload: { docker: { image: a } }",
        "workload: { process: { command: [a] } }, strategy: { canary: {} }",
        "workload: { process: { command: [a] } }, strategy: { rolling: {}, recreate: {} }",
        "workload: { process: { command: [a] } }, strategy: { canary: { steps: [ { wait: 3s } ] } }",
        "workload: { process: { command: [a] } }, rollback: { on: [sometimes] }",
        "workload: { process: { command: [a] } }, health: { http: { interval: 1s } }",
        "workload: { process: { command: [a] } }, replica: 3",
        "workload: { process: { command: [a] } }, secrets: { A: in-clear }",
        "workload: { process: { command: [a] } }, route: { drain: soon }",
    ] {
        assert!(!takes(&app(bad)), "{bad}");
    }
    for bad in [
        "apiVersion: trimtab/v2\nkind: App\nmetadata: { name: a }\nspec: { workload: { process: { command: [a] } } }\n",
        "apiVersion: trimtab/v1\nkind: Service\nmetadata: { name: a }\nspec: {}\n",
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: { name: a }\nspec: { version: 1 }\n",
        "apiVersion: trimtab/v1\nkind: Release\nmetadata: { name: a, environment: b }\nspec: { version: 1, set: { replica: 1 } }\n",
        "apiVersion: trimtab/v1\nkind: Environment\nmetadata: { name: a }\nspec: { listeners: {} }\n",
        "apiVersion: trimtab/v1\nkind: Script\nmetadata: { name: a }\nspec: { run: a, command: [b] }\n",
    ] {
        assert!(!takes(bad), "{bad}");
    }
}

fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| names(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| names(value, found)),
        _ => {}
    }
}

/// A field that a decoder learns is missing in the schema until it is added there.
#[test]
fn the_schema_knows_the_fields_of_the_decoders() {
    let mut known = BTreeSet::new();
    names(&schema(), &mut known);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/domain/manifest");
    let mut read = BTreeSet::new();
    for entry in
        fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "rs"))
    {
        let text = fs::read_to_string(entry.path()).unwrap();
        for call in ["fields.get(\"", "fields.required(\"", "fields.optional(\"", "fields.or(\"", "fields.or_else(\""] {
            read.extend(text.split(call).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
    assert!(read.len() > 40, "{read:?}");
    let missing: Vec<_> = read.difference(&known).collect();
    assert!(missing.is_empty(), "src/domain/manifest/schema.json does not know {missing:?}");
}
