//! One document: its identity, and its spec as far as it can be read on its own.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::decode::{Context, did_you_mean, list_of};
use super::environment::{self, EnvironmentSpec};
use super::node::{Located, Node, Value};
use super::problem::Problem;
use super::source::Location;
use super::yaml::RawDocument;
use super::{API_VERSION, app, moved, script, template, values};
use crate::domain::id::Name;

/// What a document is: kind and name, and for a Release its environment. Never its path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// An Environment.
    Environment(Name),
    /// An App.
    App(Name),
    /// The Release of an app in an environment.
    Release {
        /// The App's name.
        app: Name,
        /// The Environment's name.
        environment: Name,
    },
    /// A Script.
    Script(Name),
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Identity::Environment(name) => write!(f, "Environment `{name}`"),
            Identity::App(name) => write!(f, "App `{name}`"),
            Identity::Release { app, environment } => write!(f, "Release `{app}` in environment `{environment}`"),
            Identity::Script(name) => write!(f, "Script `{name}`"),
        }
    }
}

/// What a document says.
#[derive(Clone, Debug)]
pub enum Body {
    /// An Environment; `None` where it is wrong.
    Environment(Option<EnvironmentSpec>),
    /// An App's spec, checked but with its placeholders, to be merged with a Release.
    App(Node),
    /// A Release; `None` where it is wrong.
    Release(Option<ReleaseSpec>),
    /// A Script's spec, checked but with its placeholders.
    Script(Node),
}

/// A Release's spec.
#[derive(Clone, Debug)]
pub struct ReleaseSpec {
    /// The version.
    pub version: Located<String>,
    /// What differs from the App's spec.
    pub set: Option<Node>,
}

/// One document.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is.
    pub identity: Identity,
    /// All of its lines.
    pub lines: Location,
    /// Where its name stands.
    pub name_at: Location,
    /// Where its environment stands, for a Release.
    pub environment_at: Option<Location>,
    /// The names it had before, the newest first.
    pub moved_from: Vec<Located<Name>>,
    /// What it says.
    pub body: Body,
    /// A hash of what it says and of the folder that its paths begin at: the same whatever the order of keys, the white
    /// space and the comments are, and whichever file of the folder it is in.
    pub content: [u8; 32],
    /// The folders that it names as artifacts, by their paths from the root.
    pub artifacts: NamedPaths,
    /// The files and folders that it names as objects of a cluster, by their paths from the root.
    pub objects: NamedPaths,
    /// The files that it names as secrets, by their paths from the root.
    pub secrets: NamedPaths,
    /// All that is wrong with it on its own.
    pub problems: Vec<Problem>,
}

/// The paths that a document names: of its artifacts, or of its secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedPaths {
    /// Those whose path is written out.
    pub paths: Vec<String>,
    /// There is one whose path holds a placeholder.
    pub open: bool,
    /// There is something of the kind at all, also without a path.
    pub any: bool,
}

impl NamedPaths {
    fn of_artifacts(body: &Body) -> Self {
        let mut named = NamedPaths::default();
        let process = |spec: &Node| spec.get("workload")?.get("process")?.get("artifact").cloned();
        let artifact = match body {
            Body::Environment(_) => None,
            Body::App(spec) => process(spec),
            Body::Release(release) => release.as_ref().and_then(|release| process(release.set.as_ref()?)),
            Body::Script(spec) => spec.get("artifact").cloned(),
        };
        let Some(artifact) = artifact else { return named };
        named.add(Some(artifact.get("path").unwrap_or(&artifact)), values::tree_path);
        named
    }

    fn of_objects(body: &Body) -> Self {
        let mut named = NamedPaths::default();
        let spec = match body {
            Body::App(spec) => Some(spec),
            Body::Release(release) => release.as_ref().and_then(|release| release.set.as_ref()),
            Body::Environment(_) | Body::Script(_) => None,
        };
        let Some(objects) = spec.and_then(|spec| spec.get("workload")?.get("kubernetes")) else { return named };
        named.any = true;
        named.add(objects.get("path"), values::tree_path);
        if let Some(helm) = objects.get("helm") {
            named.add(helm.get("chart"), values::tree_path);
            for file in helm.get("valuesFiles").map(Node::items).unwrap_or_default() {
                named.add(Some(file), values::file_path);
            }
        }
        named
    }

    /// Adds a path, should there be one.
    fn add(&mut self, path: Option<&Node>, read: fn(&Context, &Node) -> Option<String>) {
        self.any |= path.is_some();
        match path.and_then(Node::as_text) {
            Some(text) if text.contains("{{") => self.open = true,
            Some(_) => self.paths.extend(path.and_then(|path| read(&Context::new(), path))),
            None => {}
        }
    }

    fn of_secrets(body: &Body) -> Self {
        let mut named = NamedPaths::default();
        let secrets = match body {
            Body::Environment(_) => None,
            Body::App(spec) | Body::Script(spec) => spec.get("secrets"),
            Body::Release(release) => release.as_ref().and_then(|release| release.set.as_ref()?.get("secrets")),
        };
        let entries = secrets.map(Node::entries).unwrap_or_default();
        named.any = !entries.is_empty();
        for entry in entries {
            named.add(entry.value.get("file"), values::file_path);
        }
        named
    }
}

/// How a document was read.
pub enum Reading {
    /// Not trimtab's.
    Foreign,
    /// One of trimtab's.
    Known(Box<Document>),
    /// One of trimtab's whose identity cannot be told.
    Unknown(Vec<Problem>),
}

/// The kinds of documents.
pub(super) const KINDS: [&str; 4] = ["Environment", "App", "Release", "Script"];

/// Reads one document.
pub fn read(raw: RawDocument) -> Reading {
    let Some(root) = raw.root else {
        return if mentions_trimtab(&raw.at) { Reading::Unknown(raw.problems) } else { Reading::Foreign };
    };
    if !is_ours(&root) {
        return Reading::Foreign;
    }
    let cx = Context::new();
    cx.extend(raw.problems);
    match decode(&cx, &root, raw.at) {
        Some(mut document) => {
            document.problems = cx.into_problems();
            Reading::Known(Box::new(document))
        }
        None => Reading::Unknown(cx.into_problems()),
    }
}

/// Whether the lines of a document that cannot be parsed speak of trimtab.
fn mentions_trimtab(at: &Location) -> bool {
    let skip = usize::try_from(at.line).unwrap_or(1).saturating_sub(1);
    let count = usize::try_from(at.end_line.saturating_sub(at.line)).unwrap_or(usize::MAX).saturating_add(1);
    at.file.text.lines().skip(skip).take(count).any(|line| line.to_ascii_lowercase().contains("trimtab/"))
}

/// Whether a document is meant for trimtab: by its apiVersion (a slip of the finger included), or where that is missing by
/// a kind that is trimtab's.
pub fn is_ours(root: &Node) -> bool {
    let kind = root.get("kind").and_then(Node::as_text).unwrap_or_default();
    match root.get("apiVersion").and_then(Node::as_text) {
        Some(version) => {
            let version = version.to_ascii_lowercase();
            version.starts_with("trimtab/")
                || (version.len() <= 16
                    && KINDS.contains(&kind)
                    && strsim::damerau_levenshtein(&version, API_VERSION) <= 2)
        }
        None => KINDS.contains(&kind) && root.get("metadata").is_some() && root.get("spec").is_some(),
    }
}

fn decode(cx: &Context, root: &Node, lines: Location) -> Option<Document> {
    let fields = cx.fields(root, "a document")?;
    let version = fields.required("apiVersion", API_VERSION, |node| api_version(cx, node));
    let kind = fields.required("kind", "App", |node| kind(cx, node));
    let metadata = fields.get("metadata");
    let spec = fields.get("spec");
    fields.finish();
    let kind = kind?;
    let Some(metadata) = metadata else {
        let remedy = if kind == "Release" { "{ name: hello, environment: staging }" } else { "{ name: hello }" };
        cx.schema(&root.at, format!("this {kind} needs `metadata`"), format!("add `metadata: {remedy}`"));
        return None;
    };
    let metadata = read_metadata(cx, metadata, kind);
    let empty = Node::empty_map(root.at.clone());
    if spec.is_none() {
        cx.schema(&root.at, format!("this {kind} needs `spec`"), "add `spec:` with its fields");
    }
    let body = spec.map(|spec| cx.within("spec", || read_body(cx, kind, spec)));
    let metadata = metadata?;
    version?;
    let body = body.unwrap_or_else(|| match kind {
        "Environment" => Body::Environment(None),
        "Release" => Body::Release(None),
        "App" => Body::App(empty.clone()),
        _ => Body::Script(empty.clone()),
    });
    let mut hash = Sha256::new();
    hash.update(root.at.file.folder().as_bytes());
    hash.update([0]);
    root.hash_into(&mut hash);
    Some(Document {
        identity: metadata.identity,
        lines,
        name_at: metadata.name_at,
        environment_at: metadata.environment_at,
        moved_from: metadata.moved_from,
        artifacts: NamedPaths::of_artifacts(&body),
        objects: NamedPaths::of_objects(&body),
        secrets: NamedPaths::of_secrets(&body),
        body,
        content: hash.finalize().into(),
        problems: Vec::new(),
    })
}

fn api_version(cx: &Context, node: &Node) -> Option<()> {
    let text = cx.text(node)?;
    if text != API_VERSION {
        let message = format!("this build of trimtab does not know `{text}`");
        cx.schema(&node.at, message, format!("write `apiVersion: {API_VERSION}`"));
        return None;
    }
    Some(())
}

fn kind(cx: &Context, node: &Node) -> Option<&'static str> {
    let text = cx.text(node)?;
    let found = KINDS.into_iter().find(|kind| *kind == text);
    if found.is_none() {
        let remedy = did_you_mean(text, &KINDS).unwrap_or_else(|| format!("write one of {}", list_of(&KINDS)));
        cx.schema(&node.at, format!("`{text}` is not a kind of document"), remedy);
    }
    found
}

struct Metadata {
    identity: Identity,
    name_at: Location,
    environment_at: Option<Location>,
    moved_from: Vec<Located<Name>>,
}

fn read_metadata(cx: &Context, node: &Node, kind: &str) -> Option<Metadata> {
    let fields = cx.fields(node, if kind == "Release" { "a Release's metadata" } else { "metadata" })?;
    let located = |node: &Node| Some(Located::new(&node.at, values::name(cx, node)?));
    let name = fields.required("name", "hello", located);
    let environment =
        if kind == "Release" { fields.required("environment", "staging", located).map(Some) } else { Some(None) };
    // A Script has no state that a new name could lose.
    let moved_from = if kind == "Script" {
        Some(None)
    } else {
        fields.optional("moved", |node| moved::decode(cx, node, name.as_ref()))
    };
    fields.finish();
    let (name, environment) = (name?, environment?);
    let (environment_at, environment) = environment.map(|found| (found.at, found.value)).unzip();
    let identity = match (kind, environment) {
        ("Environment", _) => Identity::Environment(name.value),
        ("App", _) => Identity::App(name.value),
        ("Release", Some(environment)) => Identity::Release { app: name.value, environment },
        _ => Identity::Script(name.value),
    };
    Some(Metadata { identity, name_at: name.at, environment_at, moved_from: moved_from?.unwrap_or_default() })
}

fn read_body(cx: &Context, kind: &str, spec: &Node) -> Body {
    match kind {
        "Environment" => Body::Environment(environment::decode(cx, spec)),
        "Release" => Body::Release(release(cx, spec)),
        "App" => {
            alone(cx, spec, |cx| drop(app::decode(cx, spec)));
            Body::App(spec.clone())
        }
        _ => {
            alone(cx, spec, |cx| drop(script::decode(cx, spec)));
            Body::Script(spec.clone())
        }
    }
}

/// Checks a spec whose placeholders cannot be filled in yet.
fn alone(cx: &Context, spec: &Node, decode: impl FnOnce(&Context)) {
    let open = Context::open();
    template::check(&open, spec);
    decode(&open);
    cx.extend(open.into_problems());
}

fn release(cx: &Context, spec: &Node) -> Option<ReleaseSpec> {
    let fields = cx.fields(spec, "a Release's spec")?;
    let version = fields.required("version", "1.0.0", |node| version(cx, node));
    let set = fields.optional("set", |node| {
        if !matches!(node.value, Value::Map(_)) {
            cx.wrong_kind(node, "a mapping of what differs from the App's spec");
            return None;
        }
        template::check(cx, node);
        Some(node.clone())
    });
    fields.finish();
    Some(ReleaseSpec { version: version?, set: set? })
}

fn version(cx: &Context, node: &Node) -> Option<Located<String>> {
    let text = cx.text(node)?;
    let fine = (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'+' | b'-'))
        && !text.starts_with('-');
    if !fine {
        let remedy = "use letters, digits, `.`, `_`, `+` and `-`, at most 128";
        cx.schema(&node.at, format!("`{text}` is not a version"), remedy);
        return None;
    }
    Some(Located::new(&node.at, text.to_owned()))
}
