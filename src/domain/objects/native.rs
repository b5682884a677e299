//! Native files: objects as people write them for kubectl, read into JSON with the place of everything that is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::sealed::{self, Encrypted};
use super::templates::Templates;
use super::{MAX_OBJECTS, Written, plain};
use crate::domain::manifest::document::is_ours;
use crate::domain::manifest::node::{self, Entry, Node};
use crate::domain::manifest::problem::{Problems, is_hidden};
use crate::domain::manifest::source::{Location, SourceFile};
use crate::domain::manifest::yaml::{Limits, RawDocument, read_within};
use crate::domain::manifest::{Layer, Problem};
use crate::domain::workload::hooks::{self, Role};
use crate::domain::workload::kubernetes::{Object, ObjectId};

/// The largest file of objects, in bytes: the definitions of large operators have some.
pub const MAX_FILE_BYTES: usize = 8 << 20;

/// What a file of objects may hold.
const LIMITS: Limits = Limits { documents: 10_000, depth: 100, nodes: 1_000_000, last_of_keys: false };

/// Fields of `metadata` that the API server writes, and that come along when somebody saves what it told.
const SERVERS: [&str; 6] = ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];

/// The annotation in which kubectl keeps the object that it applied.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether a path is one that objects are looked for in.
pub fn is_object_path(path: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ending| path.ends_with(ending))
}

/// Objects as they are read, file by file.
#[derive(Debug, Default)]
pub struct Reading {
    objects: Vec<Written>,
    problems: Problems,
    seen: BTreeMap<ObjectId, usize>,
    encrypted: Encrypted,
}

impl Reading {
    /// What was read, or all that is wrong.
    ///
    /// # Errors
    ///
    /// Anything was wrong.
    pub fn finish(self) -> Result<Vec<Written>, Vec<Problem>> {
        let problems = self.problems.into_vec();
        if problems.is_empty() { Ok(self.objects) } else { Err(problems) }
    }

    /// Reports what is wrong with a file as a whole.
    pub fn refuse(&mut self, path: &str, layer: Layer, message: &str, remedy: &str) {
        let at = Location::start_of(Arc::new(SourceFile::new(path, "")));
        self.problems.push(layer, &at, message, remedy);
    }

    /// Takes what is wrong with files that others read.
    pub fn problems(&mut self, found: Vec<Problem>) {
        self.problems.extend(found);
    }

    /// Reads the objects of a file. Documents of trimtab's own are passed over.
    pub fn file(&mut self, path: &str, bytes: &[u8]) {
        if bytes.len() > MAX_FILE_BYTES {
            let message = format!("this file has {} bytes, and at most {MAX_FILE_BYTES} are read", bytes.len());
            return self.refuse(path, Layer::Security, &message, "write it smaller, or in several files");
        }
        self.note(path, bytes);
        self.text(path, bytes);
    }

    /// Notes a file that a tool reads: what it makes of one that SOPS encrypted is known again.
    pub fn note(&mut self, path: &str, bytes: &[u8]) {
        self.encrypted.note(path, bytes);
    }

    /// Notes a file that age encrypted as a whole, of which an outline tells all but the values; gives what is read in its place.
    pub fn note_sealed(&mut self, path: &str, bytes: Vec<u8>, outline: &[Value]) -> Vec<u8> {
        self.encrypted.note_outline(path, &bytes.into(), outline);
        let documents: Vec<String> = outline.iter().map(|one| format!("{one}\n")).collect();
        documents.join("---\n").into_bytes()
    }

    /// Reads a text, under a name for it.
    pub fn text(&mut self, path: &str, bytes: &[u8]) {
        self.read(path, bytes, LIMITS);
    }

    /// Reads what a tool told, under a name for it. What the templates of a chart say twice means to Helm what they say last, and
    /// who uses a chart of others can't mend it.
    pub fn told(&mut self, path: &str, bytes: &[u8]) {
        let (problems, objects) = (self.problems.len(), self.objects.len());
        self.read(path, bytes, Limits { last_of_keys: true, ..LIMITS });
        // Who mends it knows the template, and not what all of them make together.
        let templates = Templates::of(path, &String::from_utf8_lossy(bytes));
        let template = |line: u32| templates.at(line).map(|(file, line)| (format!("{file} (rendered)"), line));
        for problem in self.problems.from(problems).iter_mut().filter(|problem| problem.file == path) {
            if let Some((file, line)) = template(problem.line) {
                problem.move_to(&file, line);
            }
        }
        for object in &mut self.objects[objects..] {
            if let Some((file, line)) = template(object.line) {
                (object.file, object.line) = (file.into(), line);
            }
        }
    }

    fn read(&mut self, path: &str, bytes: &[u8], limits: Limits) {
        let Ok(text) = std::str::from_utf8(bytes) else {
            let remedy = "save it as UTF-8, or give it another ending than .yaml, .yml and .json";
            return self.refuse(path, Layer::Schema, "this file is not UTF-8 text", remedy);
        };
        // A byte order mark is no part of the text; tabs between the parts of JSON are nothing to YAML.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let file = Arc::new(SourceFile::new(path, text));
        let name: Arc<str> = path.into();
        for document in read_within(&file, limits) {
            self.document(&name, document);
        }
    }

    fn document(&mut self, file: &Arc<str>, document: RawDocument) {
        let mut found = document.problems;
        if let Some(root) = &document.root
            && !is_ours(root)
        {
            let mut problems = Problems::default();
            if found.is_empty() && !root.is_null() {
                self.part(file, root, &mut problems);
            }
            found.extend(problems.into_vec());
        }
        // What is wrong with a Secret is told without its lines.
        if speaks_of_secrets(&document.at) {
            found.iter_mut().for_each(|problem| problem.snippet.clear());
        }
        self.problems.extend(found);
    }

    /// One object, or the items of a list of objects.
    fn part(&mut self, file: &Arc<str>, node: &Node, problems: &mut Problems) {
        if !matches!(node.value, node::Value::Map(_)) {
            let message = format!("an object of Kubernetes is a mapping, and this is {}", node.kind());
            return problems.push(Layer::Schema, &node.at, message, "write `apiVersion`, `kind` and `metadata`");
        }
        let text = |name: &str| node.get(name).and_then(Node::as_text).unwrap_or_default();
        let (version, kind) = (text("apiVersion"), text("kind"));
        match (kind.strip_suffix("List"), node.get("items")) {
            (Some(single), Some(items)) if matches!(items.value, node::Value::List(_) | node::Value::Null) => {
                for item in items.items() {
                    let missing = item.get("kind").is_none() && item.get("apiVersion").is_none();
                    let implied = (missing && !single.is_empty()).then_some((version, single));
                    self.object(file, item, implied, problems);
                }
            }
            _ => self.object(file, node, None, problems),
        }
    }

    fn object(&mut self, file: &Arc<str>, node: &Node, implied: Option<(&str, &str)>, problems: &mut Problems) {
        let before = problems.len();
        let Some(Value::Object(mut fields)) = json(node, problems) else { return };
        if let Some((version, kind)) = implied {
            fields.insert("apiVersion".into(), version.into());
            fields.insert("kind".into(), kind.into());
        }
        let secrets = match sealed::take(&mut fields, file, &self.encrypted) {
            Ok(secrets) => secrets,
            Err((message, remedy)) => return problems.push(Layer::Security, &node.at, message, remedy),
        };
        check(node, &fields, problems);
        check_orders(node, &fields, problems);
        if problems.len() > before {
            return;
        }
        leave_to_the_server(&mut fields);
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            hooks::name_apart(metadata, self.objects.len());
        }
        let Ok(object) = Object::try_from(Value::Object(fields)) else { return };
        let id = object.id();
        if let Some(other) = self.seen.get(&id).and_then(|index| self.objects.get(*index)) {
            // The same once more is nothing else.
            if other.object == object && other.secrets == secrets {
                return;
            }
            let message = format!("{id} is given twice, in different words: here and at {}", other.place());
            let remedy =
                "keep one of them, give one another name, or name a file or folder that has one of them as `path`";
            problems.push(Layer::Dependency, &node.at, message, remedy);
            return;
        }
        if self.objects.len() >= MAX_OBJECTS {
            if self.objects.len() == MAX_OBJECTS {
                let message = format!("there are more than {MAX_OBJECTS} objects from here on");
                problems.push(Layer::Security, &node.at, message, "split them into several Apps");
            }
            return;
        }
        self.seen.insert(id, self.objects.len());
        self.objects.push(Written { object, file: file.clone(), line: node.at.line, secrets });
    }
}

/// A tree as JSON, as Kubernetes reads it.
pub fn json(node: &Node, problems: &mut Problems) -> Option<Value> {
    match &node.value {
        node::Value::Null => Some(Value::Null),
        // What was filled in is a text, whatever it looks like.
        node::Value::Scalar(scalar) if !scalar.plain || scalar.template.is_some() => Some(scalar.text.as_str().into()),
        node::Value::Scalar(scalar) => {
            let value = plain::value(&scalar.text);
            if value.is_none() {
                let message = format!("`{}` is a number that JSON does not have", shortened(&scalar.text));
                problems.push(Layer::Schema, &node.at, message, "put it in quotes if it is a text");
            }
            value
        }
        // Everything is looked at, so that all problems are told.
        node::Value::List(items) => {
            let all: Vec<_> = items.iter().map(|item| json(item, problems)).collect();
            all.into_iter().collect::<Option<Vec<_>>>().map(Value::Array)
        }
        node::Value::Map(entries) => {
            let all: Vec<_> = entries.iter().map(|entry| Some((key(entry), json(&entry.value, problems)?))).collect();
            all.into_iter().collect::<Option<Map<_, _>>>().map(Value::Object)
        }
    }
}

/// The key of a mapping, as Kubernetes reads it.
fn key(entry: &Entry) -> String {
    if entry.key_plain { plain::key(&entry.key) } else { entry.key.clone() }
}

/// Reports what no API server takes, so that it is known before anything is applied.
fn check(node: &Node, fields: &Map<String, Value>, problems: &mut Problems) {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    let at = |name: &str| node.get(name).map_or(&node.at, |node| &node.at);
    if version.is_empty() || kind.is_empty() {
        let missing = if kind.is_empty() { "kind" } else { "apiVersion" };
        let message = format!("this is no object of Kubernetes: it has no `{missing}`");
        let remedy = "add it; a file that holds no objects belongs into another folder";
        return problems.push(Layer::Schema, at(missing), message, remedy);
    }
    let parts: Vec<&str> = version.split('/').collect();
    if parts.len() > 2 || parts.iter().any(|part| !is_segment(part)) || !is_segment(kind) {
        let message = format!("`{}` is not a kind of object", shortened(&format!("{version}, {kind}")));
        return problems.push(Layer::Schema, at("apiVersion"), message, "write for example `apps/v1` and `Deployment`");
    }
    let Some(metadata) = fields.get("metadata").and_then(Value::as_object) else {
        let message = format!("this {kind} has no `metadata`");
        return problems.push(Layer::Schema, at("metadata"), message, "add `metadata: { name: ... }`");
    };
    let metadata_node = node.get("metadata").unwrap_or(node);
    let inner = |name: &str| metadata_node.get(name).map_or(&metadata_node.at, |node| &node.at);
    match metadata.get("name") {
        Some(Value::String(name)) if is_segment(name) => {}
        Some(Value::String(name)) => {
            let message = format!("`{}` is not a name", shortened(name));
            problems.push(Layer::Schema, inner("name"), message, "use letters, digits, `-` and `.`, at most 253");
        }
        None if metadata.contains_key("generateName") => generated(inner("generateName"), fields, metadata, problems),
        _ => {
            let message = format!("this {kind} has no `metadata.name`, or it is no text");
            problems.push(Layer::Schema, inner("name"), message, "add `name:`, in quotes if it looks like a number");
        }
    }
    match metadata.get("namespace") {
        None | Some(Value::Null) => {}
        // What a template leaves where nothing was said is no namespace.
        Some(Value::String(name)) if name.is_empty() || name.len() <= 63 && is_segment(name) => {}
        Some(_) => {
            problems.push(Layer::Schema, inner("namespace"), "this is not a namespace", "write its name");
        }
    }
    for (field, what) in [("labels", "a label"), ("annotations", "an annotation")] {
        for entry in metadata_node.get(field).map(Node::entries).unwrap_or_default() {
            let value = metadata.get(field).and_then(|all| all.get(key(entry)));
            if !matches!(value, Some(Value::String(_))) {
                let message = format!("the value of {what} is a text, and this is {}", described(value));
                problems.push(Layer::Schema, &entry.value.at, message, "put it in quotes");
            }
        }
    }
}

/// A name that is made each time is for hooks alone.
fn generated(at: &Location, fields: &Map<String, Value>, metadata: &Map<String, Value>, problems: &mut Problems) {
    let prefix = metadata.get("generateName").and_then(Value::as_str).filter(|prefix| is_segment(prefix));
    match (prefix, hooks::role(annotations(fields))) {
        (None, _) => {
            let remedy = "use letters, digits, `-` and `.`, for example `notify-`";
            problems.push(Layer::Schema, at, "this is not what a name can begin with", remedy);
        }
        (Some(_), Ok(Role::Object)) => {
            let message = "an object with `generateName` would be another one each time it is applied";
            problems.push(Layer::Compatibility, at, message, "give it a `name`; only hooks may have none");
        }
        _ => {}
    }
}

fn described(value: Option<&Value>) -> &'static str {
    match value {
        None | Some(Value::Null) => "nothing",
        Some(Value::Bool(_)) => "a boolean to Kubernetes",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a text",
        Some(Value::Array(_)) => "a list",
        Some(Value::Object(_)) => "a mapping",
    }
}

/// Whether a text can stand between two slashes of a URL.
fn is_segment(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.is_ascii()
        && text != "."
        && text != ".."
        && !text.chars().any(|c| c.is_whitespace() || is_hidden(c) || matches!(c, '/' | '%' | '?' | '#' | '\\'))
}

/// Reports what annotations of other tools say that can't be understood or is not done here.
fn check_orders(node: &Node, fields: &Map<String, Value>, problems: &mut Problems) {
    if let Err((message, remedy, name)) = hooks::role(annotations(fields)) {
        let written = node.get("metadata").and_then(|metadata| metadata.get("annotations")?.get(name));
        problems.push(Layer::Compatibility, written.map_or(&node.at, |value| &value.at), message, remedy);
    }
}

fn annotations(fields: &Map<String, Value>) -> Option<&Value> {
    fields.get("metadata")?.get("annotations")
}

/// Takes out what belongs to the API server and to kubectl: a saved answer can be committed as it is.
fn leave_to_the_server(fields: &mut Map<String, Value>) {
    let group = fields.get("apiVersion").and_then(Value::as_str).and_then(|version| version.rsplit_once('/'));
    if group.is_none_or(|(group, _)| !group.contains('.') || group.ends_with(".k8s.io")) {
        fields.remove("status");
    }
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        metadata.retain(|name, value| !SERVERS.contains(&name.as_str()) && !value.is_null());
        if metadata.get("namespace").and_then(Value::as_str) == Some("") {
            metadata.remove("namespace");
        }
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(LAST_APPLIED);
        }
    }
}

/// Whether the lines of a document speak of a Secret.
fn speaks_of_secrets(at: &Location) -> bool {
    let skip = usize::try_from(at.line).unwrap_or(1).saturating_sub(1);
    let count = usize::try_from(at.end_line.saturating_sub(at.line)).unwrap_or(usize::MAX).saturating_add(1);
    at.file.text.lines().skip(skip).take(count).any(|line| line.contains("kind") && line.contains("Secret"))
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
