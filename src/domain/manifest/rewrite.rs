//! Members of one document of a file written anew: everything else stays byte for byte as it was, comments and order included.
//! The result is read again, and must say what was meant and nothing else.

use std::ops::Range;
use std::sync::Arc;

use super::node::{Entry, Node, Scalar, Value};
use super::source::{Location, SourceFile};
use super::{API_VERSION, yaml};
use crate::domain::documents::DocumentId;

/// What becomes of a member of a mapping.
#[derive(Clone, Debug)]
pub enum Change {
    /// It says this, whatever it said before.
    Write(Node),
    /// It is a mapping (or becomes one), and these of its members change.
    Within(Vec<(String, Change)>),
}

impl Change {
    /// What the member says afterwards.
    pub fn applied(&self, before: Option<&Node>) -> Node {
        let changes = match self {
            Change::Write(node) => return node.clone(),
            Change::Within(changes) => changes,
        };
        let mut entries = before.map(Node::entries).unwrap_or_default().to_vec();
        let at = before.map_or_else(nowhere, |before| before.at.clone());
        for (key, change) in changes {
            match entries.iter_mut().find(|entry| entry.key == *key) {
                Some(entry) => entry.value = change.applied(Some(&entry.value)),
                None => entries.push(Entry {
                    key: key.clone(),
                    key_at: at.clone(),
                    key_plain: true,
                    value: change.applied(None),
                }),
            }
        }
        Node { at, value: Value::Map(entries) }
    }

    /// The members that are written, each by its keys joined with dots.
    pub fn members(&self) -> Vec<String> {
        let mut members = Vec::new();
        self.add_members("", &mut members);
        members
    }

    fn add_members(&self, prefix: &str, members: &mut Vec<String>) {
        match self {
            Change::Within(changes) => {
                for (key, change) in changes {
                    change.add_members(&joined(prefix, key), members);
                }
            }
            Change::Write(node) => add_leaves(node, prefix, members),
        }
    }
}

fn add_leaves(node: &Node, prefix: &str, members: &mut Vec<String>) {
    match node.entries() {
        [] => members.push(prefix.to_owned()),
        entries => entries.iter().for_each(|entry| add_leaves(&entry.value, &joined(prefix, &entry.key), members)),
    }
}

fn joined(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// For what was never written anywhere.
fn nowhere() -> Location {
    Location::start_of(Arc::new(SourceFile::new("", "")))
}

/// Why a document was not written anew. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The file holds something that can't be read, so it can't be told what belongs to what.
    #[error("{0} holds something that is no YAML document")]
    Unreadable(String),
    /// The file does not hold the document.
    #[error("{1} does not hold {0}")]
    Missing(DocumentId, String),
    /// The document is written in a way (anchors, merge keys) in which the change can't be made without changing more.
    #[error("{0} can't be edited as it is written: more than it would change")]
    Unsound(DocumentId),
}

/// Changes the members of one document of a file.
///
/// # Errors
///
/// What keeps it from being changed alone; told from the result itself.
pub fn rewrite(path: &str, text: &str, id: &DocumentId, change: &Change) -> Result<String, RewriteError> {
    let roots = read(path, text).ok_or_else(|| RewriteError::Unreadable(path.to_owned()))?;
    let place = roots.iter().position(|root| is(root, id));
    let Some((place, root)) = place.map(|place| (place, &roots[place])) else {
        return Err(RewriteError::Missing(id.clone(), path.to_owned()));
    };
    let unsound = || RewriteError::Unsound(id.clone());
    let mut editor = Editor { file: root.at.file.clone(), splices: Vec::new() };
    editor.change(root, change).ok_or_else(unsound)?;
    let next = editor.finish().ok_or_else(unsound)?;
    let after = read(path, &next).filter(|after| after.len() == roots.len()).ok_or_else(unsound)?;
    let wanted = change.applied(Some(root));
    let mut pairs = roots.iter().zip(&after).enumerate();
    let sound = pairs.all(|(at, (before, after))| after.says_the_same(if at == place { &wanted } else { before }));
    if sound { Ok(next) } else { Err(unsound()) }
}

/// The trees of all documents; `None` where one can't be read.
fn read(path: &str, text: &str) -> Option<Vec<Node>> {
    let file = Arc::new(SourceFile::new(path, text));
    yaml::read(&file).into_iter().map(|raw| raw.root.filter(|_| raw.problems.is_empty())).collect()
}

fn is(root: &Node, id: &DocumentId) -> bool {
    let text = |node: &Node, key: &str| node.get(key).and_then(Node::as_text).map(str::to_owned);
    let of_metadata = |key: &str| root.get("metadata").and_then(|metadata| text(metadata, key));
    text(root, "apiVersion").as_deref() == Some(API_VERSION)
        && text(root, "kind").as_ref() == Some(&id.kind)
        && of_metadata("name").as_ref() == Some(&id.name)
        && of_metadata("environment") == id.environment
}

/// Collects what is replaced in a file's text.
struct Editor {
    file: Arc<SourceFile>,
    splices: Vec<(Range<usize>, String)>,
}

impl Editor {
    fn change(&mut self, map: &Node, change: &Change) -> Option<()> {
        let Change::Within(changes) = change else { return None };
        let mut added = Vec::new();
        for (key, change) in changes {
            match map.entries().iter().find(|entry| entry.key == *key) {
                Some(entry) => match (&entry.value.value, change) {
                    (Value::Map(_), Change::Within(_)) => self.change(&entry.value, change)?,
                    _ => self.replace(entry, &change.applied(Some(&entry.value)).in_flow())?,
                },
                None => added.push((key.as_str(), change.applied(None))),
            }
        }
        if added.is_empty() { Some(()) } else { self.insert(map, &added) }
    }

    /// Adds members at the end of a mapping.
    fn insert(&mut self, map: &Node, added: &[(&str, Node)]) -> Option<()> {
        let text = &self.file.text;
        let whole = self.range(&map.at)?;
        let Some(last) = map.entries().iter().max_by_key(|entry| (entry.key_at.line, entry.key_at.column)) else {
            let members = added.iter().map(|(key, value)| format!("{}: {}", key_text(key), value.in_flow()));
            self.splices.push((whole, format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))));
            return Some(());
        };
        let end = self.range(if last.value.is_null() { &last.key_at } else { &last.value.at })?.end;
        if text[whole.clone()].starts_with('{') {
            let members: Vec<_> =
                added.iter().map(|(key, value)| format!("{}: {}", key_text(key), value.in_flow())).collect();
            let members = members.join(", ");
            // After an empty place more could be meant to be its value: what is added comes first then.
            let (at, members) = match last.value.is_null() {
                true => (whole.start + 1, format!(" {members},")),
                false => (end, format!(", {members}")),
            };
            self.splices.push((at..at, members));
            return Some(());
        }
        let indent = usize::try_from(map.at.column).ok()?.checked_sub(1)?;
        let mut lines = String::new();
        added.iter().for_each(|(key, value)| block(key, value, indent, self.line_end(), &mut lines));
        // A block text ends where the next line's text begins, everything else before the end of its line.
        let line = text[..end].rfind('\n').map_or(0, |at| at + 1);
        let at = match text[line..end].trim().is_empty() {
            true => Some(line),
            false => text[end..].find('\n').map(|at| end + at + 1),
        };
        match at {
            Some(at) => self.splices.push((at..at, lines)),
            None => {
                let lines = format!("{}{}", self.line_end(), lines.trim_end());
                self.splices.push((text.len()..text.len(), lines));
            }
        }
        Some(())
    }

    /// Writes another value for a key. One that begins below its key goes to the key's line.
    fn replace(&mut self, entry: &Entry, value: &str) -> Option<()> {
        let text = &self.file.text;
        let key = self.range(&entry.key_at)?;
        let colon = key.end + text[key.end..].find(':')? + 1;
        if entry.value.is_null() {
            let rest = &text[colon..];
            let start = colon + (rest.len() - rest.trim_start_matches(' ').len());
            let token = ["null", "Null", "NULL", "~"].into_iter().find(|token| text[start..].starts_with(token));
            self.splices.push(match token {
                Some(token) => (start..start + token.len(), value.to_owned()),
                None => (colon..colon, format!(" {value}")),
            });
            return Some(());
        }
        let mut range = self.range(&entry.value.at)?;
        while text[range.clone()].ends_with(['\n', '\r', ' ']) {
            range.end -= 1;
        }
        if entry.value.at.line == entry.key_at.end_line {
            self.splices.push((range, value.to_owned()));
        } else {
            let mut below = colon + text[colon..].find('\n')?;
            if text[..below].ends_with('\r') {
                below -= 1;
            }
            // The sign of a block text stands before it on the key's line.
            let line = &text[colon..below];
            let start = colon + (line.len() - line.trim_start().len());
            let sign = text[start..below].split_whitespace().next().filter(|sign| sign.starts_with(['|', '>']));
            self.splices.push(match sign {
                Some(sign) => (start..start + sign.len(), value.to_owned()),
                None => (colon..colon, format!(" {value}")),
            });
            self.splices.push((below..range.end, String::new()));
        }
        Some(())
    }

    fn range(&self, at: &Location) -> Option<Range<usize>> {
        let range = self.file.offset(at.line, at.column)?..self.file.offset(at.end_line, at.end_column)?;
        (range.start <= range.end).then_some(range)
    }

    fn line_end(&self) -> &'static str {
        if self.file.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    /// The text with all splices; `None` where two of them meet.
    fn finish(mut self) -> Option<String> {
        self.splices.sort_by_key(|(range, _)| (range.start, range.end));
        let mut next = String::with_capacity(self.file.text.len());
        let mut at = 0;
        for (range, text) in &self.splices {
            next.push_str(self.file.text.get(at..range.start)?);
            next.push_str(text);
            at = range.end;
        }
        next.push_str(self.file.text.get(at..)?);
        Some(next)
    }
}

/// The lines of a member in block style.
fn block(key: &str, value: &Node, indent: usize, line_end: &str, lines: &mut String) {
    let (space, key) = (" ".repeat(indent), key_text(key));
    match value.entries() {
        [] => lines.push_str(&format!("{space}{key}: {}{line_end}", value.in_flow())),
        entries => {
            lines.push_str(&format!("{space}{key}:{line_end}"));
            entries.iter().for_each(|entry| block(&entry.key, &entry.value, indent + 2, line_end, lines));
        }
    }
}

fn key_text(key: &str) -> String {
    scalar_text(&Scalar { text: key.to_owned(), plain: !is_special(key), runtime: false, template: None })
}

/// Whether a text would be something else than a text without quotes.
fn is_special(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL" | "<<" | "true" | "false") || text.parse::<f64>().is_ok()
}

fn scalar_text(scalar: &Scalar) -> String {
    let text = &scalar.text;
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '+' | '-');
    let begins =
        text.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_'))
            || text.parse::<f64>().is_ok();
    if scalar.plain && begins && text.chars().all(safe) {
        return text.clone();
    }
    // A text in JSON is one in YAML too.
    serde_json::Value::String(text.clone()).to_string()
}

impl Node {
    /// It on one line, as YAML that stands anywhere.
    pub fn in_flow(&self) -> String {
        match &self.value {
            Value::Null => "null".to_owned(),
            Value::Scalar(scalar) => scalar_text(scalar),
            Value::List(items) => format!("[{}]", items.iter().map(Node::in_flow).collect::<Vec<_>>().join(", ")),
            Value::Map(entries) if entries.is_empty() => "{}".to_owned(),
            Value::Map(entries) => {
                let members =
                    entries.iter().map(|entry| format!("{}: {}", key_text(&entry.key), entry.value.in_flow()));
                format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The tree of a text of one document.
    pub(in super::super) fn tree(text: &str) -> Node {
        read("t.yaml", text).unwrap().remove(0)
    }

    fn id() -> DocumentId {
        DocumentId { kind: "Release".into(), name: "web".into(), environment: Some("dev".into()) }
    }

    /// The change that writes these members, mappings merged.
    fn change(text: &str) -> Change {
        fn of(node: Node) -> Change {
            match node.value {
                Value::Map(entries) if !entries.is_empty() => {
                    Change::Within(entries.into_iter().map(|entry| (entry.key, of(entry.value))).collect())
                }
                _ => Change::Write(node),
            }
        }
        of(tree(text))
    }

    const HEAD: &str = "apiVersion: trimtab/v1\nkind: Release\nmetadata: { name: web, environment: dev }\n";

    #[track_caller]
    fn check(spec: &str, set: &str, expected: &str) {
        let other = "# another\napiVersion: trimtab/v1 # other\nkind: App\nmetadata: { name: web }\nspec: { a: 1 }\n";
        for (before, after) in [("", ""), ("", "---\n"), ("---\n", "--- # next\n")] {
            let before = if before.is_empty() { String::new() } else { format!("{other}{before}") };
            let after = if after.is_empty() { String::new() } else { format!("{after}{other}") };
            let file = |spec: &str| format!("{before}{HEAD}{spec}{after}");
            let next = rewrite("r.yaml", &file(spec), &id(), &change(&format!("{{ spec: {set} }}")));
            assert_eq!(next, Ok(file(expected)), "{spec}");
        }
    }

    #[test]
    fn members_are_added_in_the_way_the_document_is_written() {
        check(
            "spec: { version: 1.0.0 } # pinned\n",
            "{ set: { a: 2 } }",
            "spec: { version: 1.0.0, set: { a: 2 } } # pinned\n",
        );
        check(
            "spec:\n  # which\n  version: 1.0.0 # this\n\n# the end\n",
            "{ set: { replicas: 2, health: { http: { path: /x }, within: null } } }",
            "spec:\n  # which\n  version: 1.0.0 # this\n  set:\n    replicas: 2\n    health:\n      http:\n        path: /x\n      \
             within: null\n\n# the end\n",
        );
        check(
            "spec:\n    version: 1.0.0\n    set:\n        a: # deep\n            b: [1]\n            # last\n",
            "{ set: { a: { c: [--x, \"{{ port }}\"] }, d: { e: {} } } }",
            "spec:\n    version: 1.0.0\n    set:\n        a: # deep\n            b: [1]\n            c: [--x, \"{{ port }}\"]\n        \
             d:\n          e: {}\n            # last\n",
        );
        check("spec: { set: {}, version: 1 }\n", "{ set: { a: 1 } }", "spec: { set: { a: 1 }, version: 1 }\n");
        check(
            "spec: { set: { a: , b: }, version: 1 }\n",
            "{ set: { c: 1 } }",
            "spec: { set: { c: 1, a: , b: }, version: 1 }\n",
        );
        check(
            "spec:\n  version: 1\n  set: { a: { b: 1 } } # c\n",
            "{ set: { a: { d: 2 } } }",
            "spec:\n  version: 1\n  set: { a: { b: 1, d: 2 } } # c\n",
        );
        check(
            "spec:\n  version: 1\n  set:\n    text: |\n      one\n      two\n",
            "{ set: { a: \"x: y\" } }",
            "spec:\n  version: 1\n  set:\n    text: |\n      one\n      two\n    a: \"x: y\"\n",
        );
    }

    #[test]
    fn a_member_is_added_after_a_block_text_that_others_follow() {
        check(
            "spec:\n  set:\n    env:\n      A: |\n        one\n    n: 1\n  version: 1\n",
            "{ set: { env: { B: two } } }",
            "spec:\n  set:\n    env:\n      A: |\n        one\n      B: two\n    n: 1\n  version: 1\n",
        );
    }

    #[test]
    fn values_are_replaced_and_comments_stay() {
        check(
            "spec:\n  version: \"2.0.0\" # the version\n  set: { a: 1 }\n",
            "{ version: 1.10, set: { a: 2 } }",
            "spec:\n  version: 1.10 # the version\n  set: { a: 2 }\n",
        );
        check(
            "spec:\n  version: 1\n  set:\n    list: # of things\n    - a # first\n    - b # last\n    # more\n    n: 1\n",
            "{ set: { list: [c] } }",
            "spec:\n  version: 1\n  set:\n    list: [c] # of things # last\n    # more\n    n: 1\n",
        );
        check(
            "spec:\n  version: 1\n  set:\n    text: |\n      one\n      two\n    n: null\n    o:\n    p: ~ # p\n",
            "{ set: { text: \"a\\nb\", n: 1, o: 2, p: [] } }",
            "spec:\n  version: 1\n  set:\n    text: \"a\\nb\"\n    n: 1\n    o: 2\n    p: [] # p\n",
        );
        check(
            "spec:\n  version: 1\n  set:\n    deep:\n      a: 1\n      b: 2\n    n: 1\n",
            "{ set: { deep: 5 } }",
            "spec:\n  version: 1\n  set:\n    deep: 5\n    n: 1\n",
        );
    }

    #[test]
    fn line_ends_and_a_last_line_without_one_are_kept() {
        let text = format!("{HEAD}spec:\n  version: 1").replace('\n', "\r\n");
        let next = rewrite("r.yaml", &text, &id(), &change("{ spec: { set: { a: { b: 1 } } } }")).unwrap();
        assert_eq!(next, format!("{text}\r\n  set:\r\n    a:\r\n      b: 1"));
    }

    #[test]
    fn what_can_not_be_changed_alone_is_left() {
        let id = id();
        let set = change("{ spec: { set: { a: { b: 2 } } } }");
        let shared = format!("{HEAD}spec:\n  version: 1\n  set:\n    c: &c {{ b: 1 }}\n    a: *c\n");
        assert_eq!(rewrite("r.yaml", &shared, &id, &set), Err(RewriteError::Unsound(id.clone())));
        let broken = format!("{HEAD}spec: {{ version: 1 }}\n---\na: [1\n");
        assert_eq!(rewrite("r.yaml", &broken, &id, &set), Err(RewriteError::Unreadable("r.yaml".into())));
        let other = HEAD.replace("dev", "staging");
        assert_eq!(rewrite("r.yaml", &other, &id, &set), Err(RewriteError::Missing(id, "r.yaml".into())));
    }
}
