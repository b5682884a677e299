//! What a kustomization refers to, read before the tool is: everything it may touch is in the repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Files, MAX_BYTES, MAX_FILES};
use crate::domain::manifest::node::Node;
use crate::domain::manifest::source::Location;
use crate::domain::manifest::{Layer, Problem, SourceFile, yaml};

/// The names of the file that makes a folder a kustomization.
pub const NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// The most files and folders that one refers to, all in all.
const MAX_REFERENCES: usize = 2_000;

/// The lists of files and folders.
const LISTS: [&str; 9] = [
    "resources",
    "bases",
    "components",
    "crds",
    "configurations",
    "generators",
    "transformers",
    "validators",
    "patchesStrategicMerge",
];
/// The lists of mappings with a `path`.
const WITH_PATH: [&str; 3] = ["patches", "patchesJson6902", "replacements"];
/// The lists of mappings with `files`, `envs` and `env`.
const GENERATORS: [&str; 2] = ["configMapGenerator", "secretGenerator"];
/// What runs something else than kustomize itself, or fetches.
const REFUSED: [&str; 3] = ["helmCharts", "helmGlobals", "helmChartInflationGenerator"];

/// A file or folder that a kustomization refers to.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Where it is written.
    pub at: Location,
    /// The path, from the root of the repository; it may lead to nothing.
    pub path: String,
}

/// What a kustomization refers to, by its path and text.
///
/// # Errors
///
/// What leaves the repository, and what kustomize would have to run something else for.
pub fn references(path: &str, text: &[u8]) -> Result<Vec<Reference>, Vec<Problem>> {
    let text = String::from_utf8_lossy(text);
    let file = Arc::new(SourceFile::new(path, &text));
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let documents = yaml::read(&file);
    if documents.len() > 1 {
        let at = Location::start_of(file.clone());
        problems.push(Problem::new(Layer::Schema, &at, "a kustomization is one document", "keep one of them"));
    }
    for document in documents {
        problems.extend(document.problems);
        let Some(root) = &document.root else { continue };
        for name in REFUSED {
            if let Some(node) = root.get(name) {
                let message = format!("`{name}` lets kustomize run Helm, which it may not here");
                let remedy = "use `helm` in the App's `workload.kubernetes`, or commit what the chart renders to";
                problems.push(Problem::new(Layer::Security, &node.at, message, remedy));
            }
        }
        let mut add = |node: &Node, text: &str| match resolve(file.folder(), text) {
            Ok(path) => found.push(Reference { at: node.at.clone(), path }),
            Err(message) => {
                let remedy =
                    "name a file or folder of this repository, relative to this one; copy what is elsewhere into it";
                problems.push(Problem::new(Layer::Security, &node.at, message, remedy));
            }
        };
        collect(root, &mut add);
    }
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// Calls for every text that is a path.
fn collect(root: &Node, add: &mut dyn FnMut(&Node, &str)) {
    for name in LISTS {
        for item in root.get(name).map(Node::items).unwrap_or_default() {
            // Some lists take whole objects as texts.
            if let Some(text) = item.as_text().filter(|text| !text.contains('\n')) {
                add(item, text);
            }
        }
    }
    for name in WITH_PATH {
        for item in root.get(name).map(Node::items).unwrap_or_default() {
            if let Some((node, text)) = item.get("path").and_then(|node| Some((node, node.as_text()?))) {
                add(node, text);
            }
        }
    }
    if let Some((node, text)) =
        root.get("openapi").and_then(|node| node.get("path")).and_then(|node| Some((node, node.as_text()?)))
    {
        add(node, text);
    }
    for name in GENERATORS {
        for item in root.get(name).map(Node::items).unwrap_or_default() {
            for (list, keyed) in [("files", true), ("envs", false)] {
                for file in item.get(list).map(Node::items).unwrap_or_default() {
                    let Some(text) = file.as_text() else { continue };
                    add(file, if keyed { text.split_once('=').map_or(text, |(_, path)| path) } else { text });
                }
            }
            if let Some((node, text)) = item.get("env").and_then(|node| Some((node, node.as_text()?))) {
                add(node, text);
            }
        }
    }
}

/// A path from the root of the repository.
fn resolve(folder: &str, text: &str) -> Result<String, String> {
    if text.contains("://") || text.contains('?') || text.starts_with("git@") || text.contains("::") {
        return Err(format!("`{text}` is somewhere else, and nothing is fetched"));
    }
    if text.starts_with('/') || text.contains('\\') || text.contains('\0') {
        return Err(format!("`{text}` is an absolute path"));
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(format!("`{text}` leaves the repository"));
                }
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Err(format!("`{text}` is the whole repository"));
    }
    Ok(parts.join("/"))
}

/// Gathers the files of a kustomization and of all that it leads to, whoever reads them: ask what it [wants](Gathering::wants), give it.
#[derive(Debug)]
pub struct Gathering {
    files: BTreeMap<String, Vec<u8>>,
    given: BTreeSet<String>,
    open: Vec<(String, Option<Location>)>,
    seen: BTreeSet<String>,
    asked: Option<(String, Option<Location>)>,
    /// What can't be read, by path: it matters where a kustomization names it.
    refused: BTreeMap<String, (String, &'static str)>,
    problems: Vec<Problem>,
}

/// The files, by path, and the paths that they were found at.
pub type Gathered = (Vec<(String, Vec<u8>)>, BTreeSet<String>);

impl Gathering {
    /// Begins at a folder.
    pub fn new(folder: &str) -> Self {
        Gathering {
            files: BTreeMap::new(),
            given: BTreeSet::new(),
            open: vec![(folder.to_owned(), None)],
            seen: BTreeSet::from([folder.to_owned()]),
            asked: None,
            refused: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// The next path whose files are wanted; none when all is there, or too much.
    pub fn wants(&mut self) -> Option<String> {
        while self.problems.is_empty() {
            let (path, at) = self.open.pop()?;
            if self.given.iter().any(|given| path.starts_with(&format!("{given}/"))) {
                self.visit(&path, at.as_ref());
                continue;
            }
            self.asked = Some((path.clone(), at));
            return Some(path);
        }
        None
    }

    /// Takes what is at the path that was asked for: its files, and what is refused there.
    pub fn give(&mut self, files: Files) {
        let Some((path, at)) = self.asked.take() else { return };
        self.refused.extend(files.refused.into_iter().map(|(path, message, remedy)| (path, (message, remedy))));
        self.files.extend(files.files);
        let bytes: u64 = self.files.values().map(|bytes| bytes.len() as u64).sum();
        if self.files.len() > MAX_FILES || bytes > MAX_BYTES {
            let message = format!("this kustomization leads to more than {MAX_FILES} files or {MAX_BYTES} bytes");
            self.problem(&path, message, "refer to smaller folders");
        }
        self.given.insert(path.clone());
        self.visit(&path, at.as_ref());
    }

    fn problem(&mut self, path: &str, message: String, remedy: &str) {
        let at = Location::start_of(Arc::new(SourceFile::new(path, "")));
        self.problems.push(Problem::new(Layer::Security, &at, message, remedy));
    }

    /// Looks at what a path turned out to be.
    fn visit(&mut self, path: &str, at: Option<&Location>) {
        if self.files.contains_key(path) {
            return;
        }
        let folder = format!("{path}/");
        // A link to a folder stands in the way to all below it; a kustomization that can't be read is none to the tool.
        let unread = self.refused.keys().find(|refused| {
            *refused == path
                || path.strip_prefix(refused.as_str()).is_some_and(|rest| rest.starts_with('/'))
                || refused.strip_prefix(&folder).is_some_and(|name| NAMES.contains(&name))
        });
        if let Some(unread) = unread.cloned() {
            if let Some((message, remedy)) = self.refused.remove(&unread) {
                self.problem(&unread, message, remedy);
            }
            return;
        }
        if !self.files.range(folder.clone()..).next().is_some_and(|(file, _)| file.starts_with(&folder)) {
            if let Some(at) = at {
                let remedy = "name a file or folder of this repository; nothing is fetched";
                let message = format!("there is no file or folder `{path}` in the repository");
                self.problems.push(Problem::new(Layer::Security, at, message, remedy));
            }
            return;
        }
        let names = NAMES.iter().map(|name| format!("{path}/{name}"));
        let Some(file) = names.into_iter().find(|name| self.files.contains_key(name)) else { return };
        let found = self.files.get(&file).map(|text| references(&file, text));
        match found {
            Some(Ok(found)) => {
                for one in found.into_iter().filter(|one| self.seen.insert(one.path.clone())) {
                    self.open.push((one.path, Some(one.at)));
                }
            }
            Some(Err(problems)) => self.problems.extend(problems),
            None => {}
        }
        if self.seen.len() > MAX_REFERENCES {
            self.problem(&file, format!("more than {MAX_REFERENCES} references lead from here"), "refer to less");
        }
    }

    /// All files.
    ///
    /// # Errors
    ///
    /// All that is refused.
    pub fn finish(self) -> Result<Gathered, Vec<Problem>> {
        match self.problems.is_empty() {
            true => Ok((self.files.into_iter().collect(), self.given)),
            false => Err(self.problems),
        }
    }

    /// The paths that kustomizations name.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        self.seen.iter()
    }

    /// The paths that files were found at, so far.
    pub fn given(&self) -> impl Iterator<Item = &String> {
        self.given.iter()
    }
}

/// Whether files of a folder make it a kustomization.
pub fn is_kustomization<'p>(folder: &str, mut files: impl Iterator<Item = &'p str>) -> bool {
    files.any(|file| {
        NAMES.iter().any(|name| file.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) == Some(name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_paths_are_found() {
        let text = "resources: [../../base, web.yaml]\ncomponents: [../c]\npatches: [{ path: p.yaml }, { patch: '- op: x' }]\n\
                    configMapGenerator: [{ name: a, files: [k=f.txt, g.txt], envs: [e.env] }]\nopenapi: { path: o.json }\n\
                    patchesStrategicMerge: [s.yaml, \"kind: A\\nmetadata: {}\\n\"]\n";
        let found = references("apps/web/overlays/eu/kustomization.yaml", text.as_bytes()).unwrap();
        let mut paths: Vec<&str> = found.iter().map(|one| one.path.as_str()).collect();
        paths.sort_unstable();
        let here = "apps/web/overlays/eu/";
        let mut expected: Vec<String> = ["web.yaml", "p.yaml", "f.txt", "g.txt", "e.env", "o.json", "s.yaml"]
            .map(|name| format!("{here}{name}"))
            .into();
        expected.extend(["apps/web/base".to_owned(), "apps/web/overlays/c".to_owned()]);
        expected.sort_unstable();
        assert_eq!(paths, expected);
    }

    #[test]
    fn all_that_it_leads_to_is_gathered() {
        let tree: BTreeMap<&str, &str> = BTreeMap::from([
            ("base/kustomization.yaml", "resources: [web.yaml]"),
            ("base/web.yaml", "a: 1"),
            (
                "eu/kustomization.yaml",
                "resources: [../base, inner]\nconfigMapGenerator: [{ name: a, files: [inner/x] }]",
            ),
            ("eu/inner/kustomization.yaml", "resources: [../../away]"),
            ("eu/inner/x", ""),
            ("other/y", ""),
        ]);
        let gather = |tree: &BTreeMap<&str, &str>| {
            let mut gathering = Gathering::new("eu");
            while let Some(path) = gathering.wants() {
                let below = tree.iter().filter(|(file, _)| file.starts_with(&format!("{path}/")));
                let files = below.map(|(file, text)| ((*file).to_owned(), text.as_bytes().to_vec())).collect();
                gathering.give(Files { files, refused: Vec::new() });
            }
            gathering.finish()
        };
        let problems = gather(&tree).unwrap_err();
        assert!(
            problems[0].message.contains("`away`") && problems[0].file == "eu/inner/kustomization.yaml",
            "{problems:?}"
        );
        let mut whole = tree.clone();
        whole.insert("away/kustomization.yaml", "resources: []");
        let (files, roots) = gather(&whole).unwrap();
        assert_eq!(files.len(), 6);
        assert_eq!(roots.into_iter().collect::<Vec<_>>(), ["away", "base", "eu"]);
    }

    #[test]
    fn what_can_t_be_read_is_told_where_it_is_named() {
        let refusal = |path: &str| (path.to_owned(), "this is a symbolic link".to_owned(), "put the file itself here");
        let gather = |resources: &str, refused: &[&str]| {
            let mut gathering = Gathering::new("eu");
            while let Some(path) = gathering.wants() {
                let all = [
                    ("eu/kustomization.yaml".to_owned(), format!("resources: [{resources}]").into_bytes()),
                    ("base/web.yaml".to_owned(), Vec::new()),
                ];
                let below = |file: &str| file == path || file.starts_with(&format!("{path}/"));
                let files = all.into_iter().filter(|(file, _)| below(file)).collect();
                let refused = refused.iter().filter(|file| below(file)).map(|file| refusal(file)).collect();
                gathering.give(Files { files, refused });
            }
            gathering.finish().map_err(|problems| problems[0].file.clone())
        };
        assert!(gather("../base/web.yaml", &["eu/link", "base/link.yaml"]).is_ok());
        for (named, refused) in [
            ("link.yaml", "eu/link.yaml"),
            ("link/web.yaml", "eu/link"),
            ("../link/web", "link/web"),
            ("../base", "base/kustomization.yml"),
        ] {
            assert_eq!(gather(named, &[refused]).unwrap_err(), refused, "{named}");
        }
    }

    #[test]
    fn fault_18_what_is_outside_is_refused_before_anything_runs() {
        for text in [
            "resources: [../../../etc]",
            "resources: [/etc/passwd]",
            "bases: ['https://example.com/base']",
            "resources: ['github.com/a/b?ref=main']",
            "resources: ['git@example.com:a/b.git']",
            "components: ['ext::sh -c x']",
            "resources: ['..']",
            "helmCharts: [{ name: a, repo: 'https://example.com' }]",
            "configMapGenerator: [{ name: a, files: ['k=/etc/shadow'] }]",
            "patches: [{ path: ../../../../x }]",
            "a: [",
            "resources: []\n---\nresources: []",
        ] {
            assert!(references("apps/kustomization.yaml", text.as_bytes()).is_err(), "{text}");
        }
    }
}
