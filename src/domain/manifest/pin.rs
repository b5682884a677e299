//! What a Release must set so that its app is again what it was before a shared App was changed: the opposite of
//! [`merge`].

use super::merge::{merge, without_nulls};
use super::node::{Entry, Node, Value};
use super::rewrite::Change;

/// The change of a Release's `set` after which the App's spec `base`, merged with it, says what `good` says. What is set now and
/// right already stays. `None`: nothing has to change.
///
/// `folder` is that of the Release's file: paths that were written in another folder come out absolute, since they would mean
/// something else there.
pub fn pin(base: &Node, set: Option<&Node>, good: &Node, folder: &str) -> Option<Change> {
    let set = set.map(|set| anchored(set, folder));
    member(Some(&anchored(base, folder)), set.as_ref(), Some(&anchored(good, folder)))
}

fn member(base: Option<&Node>, set: Option<&Node>, good: Option<&Node>) -> Option<Change> {
    let merged = match (base, set) {
        (base, None) => base.cloned(),
        (_, Some(set)) if set.is_null() => None,
        (None, Some(set)) => Some(without_nulls(set)),
        (Some(base), Some(set)) => Some(merge(base, set)),
    };
    if same(merged.as_ref(), good) {
        return None;
    }
    let Some(good) = good.filter(|good| !good.is_null()) else {
        return Some(Change::Write(null(base.or(set)?)));
    };
    match (set, &good.value) {
        (Some(Node { value: Value::Map(_), .. }), Value::Map(_)) => {
            let of = |node: Option<&Node>, key: &str| node.and_then(|node| node.get(key)).cloned();
            let mut keys: Vec<&str> = Vec::new();
            for entry in [base, set, Some(good)].into_iter().flatten().flat_map(Node::entries) {
                if !keys.contains(&entry.key.as_str()) {
                    keys.push(&entry.key);
                }
            }
            let changes = keys.into_iter().filter_map(|key| {
                let change = member(of(base, key).as_ref(), of(set, key).as_ref(), good.get(key))?;
                Some((key.to_owned(), change))
            });
            Some(Change::Within(changes.collect()))
        }
        _ => Some(Change::Write(difference(base, good))),
    }
}

/// What makes `good` of `base` when it is merged over it.
fn difference(base: Option<&Node>, good: &Node) -> Node {
    let (Some(Node { value: Value::Map(before), .. }), Value::Map(after)) = (base, &good.value) else {
        return without_nulls(good);
    };
    let mut entries = Vec::new();
    for entry in after.iter().filter(|entry| !entry.value.is_null()) {
        let was = before.iter().find(|was| was.key == entry.key).map(|was| &was.value);
        if !same(was, Some(&entry.value)) {
            entries.push(Entry { value: difference(was, &entry.value), ..entry.clone() });
        }
    }
    for entry in before.iter().filter(|entry| !entry.value.is_null()) {
        if good.get(&entry.key).is_none_or(Node::is_null) {
            entries.push(Entry { value: null(&entry.value), ..entry.clone() });
        }
    }
    Node { at: good.at.clone(), value: Value::Map(entries) }
}

/// Whether two parts say the same; what is not there and what is null are one.
fn same(a: Option<&Node>, b: Option<&Node>) -> bool {
    match (a.filter(|node| !node.is_null()), b.filter(|node| !node.is_null())) {
        (None, None) => true,
        (Some(a), Some(b)) => without_nulls(a).says_the_same(&without_nulls(b)),
        _ => false,
    }
}

fn null(near: &Node) -> Node {
    Node { at: near.at.clone(), value: Value::Null }
}

/// A spec whose paths mean in a folder what they mean where they were written.
fn anchored(spec: &Node, folder: &str) -> Node {
    let mut spec = spec.clone();
    let process = spec.get_mut("workload").and_then(|workload| workload.get_mut("process"));
    if let Some(artifact) = process.and_then(|process| process.get_mut("artifact")) {
        match artifact.get_mut("path") {
            Some(path) => anchor(path, folder),
            None => anchor(artifact, folder),
        }
    }
    if let Some(Node { value: Value::Map(secrets), .. }) = spec.get_mut("secrets") {
        secrets.iter_mut().filter_map(|entry| entry.value.get_mut("file")).for_each(|file| anchor(file, folder));
    }
    spec
}

fn anchor(path: &mut Node, folder: &str) {
    let written = path.at.file.folder();
    if let Value::Scalar(scalar) = &mut path.value
        && written != folder
        && !scalar.text.starts_with('/')
    {
        let root = if written.is_empty() { String::new() } else { format!("/{written}") };
        scalar.text = format!("{root}/{}", scalar.text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::manifest::SourceFile;
    use crate::domain::manifest::rewrite::tests::tree;

    fn pinned(base: &str, set: Option<&str>, good: &str) -> Option<String> {
        let set = set.map(tree);
        let (base, good) = (tree(base), tree(good));
        let change = pin(&base, set.as_ref(), &good, "")?;
        let next = change.applied(set.as_ref());
        assert!(same(Some(&merge(&base, &next)), Some(&good)), "{next:?}");
        Some(next.in_flow())
    }

    #[test]
    fn only_what_differs_is_set() {
        let cases = [
            ("{ a: 1, b: 2 }", None, "{ a: 1, b: 2 }", None),
            ("{ a: 2, b: 2 }", None, "{ a: 1, b: 2 }", Some("{ a: 1 }")),
            ("{ a: { x: 1, y: 2 } }", None, "{ a: { x: 1, y: 3 } }", Some("{ a: { y: 3 } }")),
            // What was added is removed, what was removed comes back.
            ("{ a: 1, new: { x: 1 } }", None, "{ a: 1 }", Some("{ new: null }")),
            ("{ a: 1 }", None, "{ a: 1, old: { x: [1] } }", Some("{ old: { x: [1] } }")),
            // Lists are whole.
            ("{ a: [1, 2] }", None, "{ a: [1] }", Some("{ a: [1] }")),
            // Another kind of thing.
            ("{ a: rolling }", None, "{ a: { canary: { x: 1 } } }", Some("{ a: { canary: { x: 1 } } }")),
            ("{ a: { x: 1 } }", None, "{ a: 5 }", Some("{ a: 5 }")),
            ("{ a: 5 }", None, "{ a: \"5\" }", Some("{ a: \"5\" }")),
            ("{ a: { x: 1 } }", None, "{ a: {} }", Some("{ a: { x: null } }")),
            // What is set already and right stays as it is.
            ("{ a: 1, b: 9 }", Some("{ a: 3 }"), "{ a: 3, b: 2 }", Some("{ a: 3, b: 2 }")),
            ("{ a: { x: 9 } }", Some("{ a: { y: 2 } }"), "{ a: { x: 1, y: 2 } }", Some("{ a: { y: 2, x: 1 } }")),
            ("{ a: { x: 9 } }", Some("{ a: { x: 9, y: 2 } }"), "{ a: { x: 1 } }", Some("{ a: { x: 1, y: null } }")),
            ("{ a: { x: 1 } }", Some("{ a: null }"), "{ a: { x: 1, y: 2 } }", Some("{ a: { y: 2 } }")),
            ("{ a: { x: 1 } }", Some("{ a: 5 }"), "{ a: { x: 1 } }", Some("{ a: {} }")),
            ("{ b: 1 }", Some("{ a: 5 }"), "{ b: 1 }", Some("{ a: null }")),
            ("{ a: 1 }", Some("{ a: 2 }"), "{ a: 2 }", None),
        ];
        for (base, set, good, expected) in cases {
            assert_eq!(pinned(base, set, good).as_deref(), expected, "{base} with {set:?} to {good}");
        }
    }

    #[test]
    fn paths_keep_what_they_mean() {
        let at = |path: &str, text: &str| {
            let file = std::sync::Arc::new(SourceFile::new(path, text));
            crate::domain::manifest::yaml::read(&file).remove(0).root.unwrap()
        };
        let text = |artifact: &str| {
            format!(
                "{{ workload: {{ process: {{ artifact: {artifact} }} }}, secrets: {{ key: {{ file: key.age }} }} }}"
            )
        };
        let good = at("apps/web/app.yaml", &text("{ path: bin }"));
        let pinned = |base: &Node, folder: &str| {
            pin(base, None, &good, folder).map(|change| change.applied(None).in_flow()).unwrap_or_default()
        };
        let base = at("apps/web/app.yaml", &text("{ path: other }"));
        assert_eq!(pinned(&base, "releases"), "{ workload: { process: { artifact: { path: /apps/web/bin } } } }");
        assert_eq!(pinned(&base, "apps/web"), "{ workload: { process: { artifact: { path: bin } } } }");
        // The App went to another folder: the same words mean something else.
        let moved = at("app.yaml", &text("{ path: bin }"));
        assert_eq!(
            pinned(&moved, ""),
            "{ workload: { process: { artifact: { path: /apps/web/bin } } }, secrets: { key: { file: /apps/web/key.age } } }"
        );
        assert_eq!(
            pinned(&at("apps/web/app.yaml", &text("bin")), "apps/web"),
            "{ workload: { process: { artifact: { path: bin } } } }"
        );
    }
}
