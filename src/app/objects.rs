//! Objects of clusters as one revision holds them: what was read, and what is asked for and was not.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::encrypted::EncryptedFiles;
use crate::domain::id::Revision;
use crate::domain::manifest::{Layer, Location, Problem, SourceFile};
use crate::domain::objects::kustomize::{Gathering, NAMES, is_kustomization};
use crate::domain::objects::native::{MAX_FILE_BYTES, Reading, is_object_path};
use crate::domain::objects::sealed::is_sealed_path;
use crate::domain::objects::{
    ChartSource, Files, Found, HelmSource, MAX_BYTES, MAX_FILES, ObjectSource, Objects, Origins,
};
use crate::ports::objects::{Make, ObjectTools, Order, ToolError};
use crate::ports::secrets::Secrets;
use crate::ports::source::{EntryKind, Source, SourceError, TreeEntry};

/// What was read, by source.
pub type Read = BTreeMap<ObjectSource, Found>;

/// Objects that are at hand; what else is asked for is noted.
pub struct AtHand<'a> {
    /// The object names of files and folders, by path.
    pub entries: &'a Origins,
    /// What was read.
    pub read: &'a Read,
    wanted: RefCell<BTreeSet<ObjectSource>>,
}

impl<'a> AtHand<'a> {
    /// What was read of a revision.
    pub fn new(entries: &'a Origins, read: &'a Read) -> Self {
        AtHand { entries, read, wanted: RefCell::default() }
    }

    /// What was asked for and not at hand.
    pub fn into_wanted(self) -> BTreeSet<ObjectSource> {
        self.wanted.into_inner()
    }
}

impl Objects for AtHand<'_> {
    fn entry(&self, path: &str) -> Option<String> {
        self.entries.get(path).cloned().flatten()
    }

    fn find(&self, source: &ObjectSource) -> Found {
        match self.read.get(source) {
            Some(found) => found.clone(),
            None if source.path().is_some_and(|path| matches!(self.entries.get(path), Some(None))) => Found::Nothing,
            None => {
                self.wanted.borrow_mut().insert(source.clone());
                Found::NotYet
            }
        }
    }
}

/// The object name of the folder or file at a path.
///
/// # Errors
///
/// Those of the source.
pub async fn entry(source: &dyn Source, revision: &Revision, path: &str) -> Result<Option<String>, SourceError> {
    match source.tree_oid(revision, path).await? {
        Some(oid) => Ok(Some(oid)),
        None => source.file_oid(revision, path).await,
    }
}

/// Reads objects at a revision: of so many sources at once as there are cores.
///
/// # Errors
///
/// Those of the source; what is wrong with the files is in what is found.
pub async fn read(
    source: &dyn Source,
    making: Making<'_>,
    revision: &Revision,
    wanted: BTreeSet<ObjectSource>,
) -> Result<Read, SourceError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    futures_util::stream::iter(wanted)
        .map(|asked| read_one(source, making, revision, asked))
        .buffer_unordered(cores)
        .try_collect()
        .await
}

async fn read_one(
    source: &dyn Source,
    making: Making<'_>,
    revision: &Revision,
    asked: ObjectSource,
) -> Result<(ObjectSource, Found), SourceError> {
    let mut steps = Steps::new(asked.clone());
    while let Some(path) = steps.wants() {
        let files = files(source, revision, &path).await?;
        steps.give(files);
    }
    let mut origins = Origins::new();
    for path in steps.paths() {
        origins.insert(path.clone(), entry(source, revision, &path).await?);
    }
    Ok((asked, steps.finish(making, origins).await))
}

/// What objects are made with.
#[derive(Clone, Copy)]
pub struct Making<'a> {
    /// What makes some of something else.
    pub tools: &'a dyn ObjectTools,
    /// What reads those that are encrypted.
    pub secrets: &'a dyn Secrets,
}

/// Gathers the files of a source, whoever reads them, and makes objects of them.
pub struct Steps {
    asked: ObjectSource,
    /// What was given, path by path.
    given: Vec<(String, Files)>,
    /// What is wanted next, of a chart or of plain files.
    open: Vec<String>,
    /// Where it turned out to be a kustomization.
    kustomization: Option<Gathering>,
}

impl Steps {
    /// Begins with nothing.
    pub fn new(asked: ObjectSource) -> Self {
        let open = asked.paths().cloned().collect();
        Steps { asked, given: Vec::new(), open, kustomization: None }
    }

    /// The next path whose files are wanted.
    pub fn wants(&mut self) -> Option<String> {
        match &mut self.kustomization {
            Some(gathering) => gathering.wants(),
            None => self.open.last().cloned(),
        }
    }

    /// Takes the files at the path that was asked for.
    pub fn give(&mut self, files: Files) {
        if let Some(gathering) = &mut self.kustomization {
            return gathering.give(files);
        }
        let Some(path) = self.open.pop() else { return };
        let plain = matches!(self.asked, ObjectSource::Path(_));
        if plain && is_kustomization(&path, files.files.iter().map(|(file, _)| file.as_str())) {
            let mut gathering = Gathering::new(&path);
            // What it asks for first is what is here.
            if gathering.wants().is_some() {
                gathering.give(files);
            }
            self.kustomization = Some(gathering);
            return;
        }
        self.given.push((path, files));
    }

    /// The paths that files were found at.
    pub fn paths(&self) -> Vec<String> {
        match &self.kustomization {
            Some(gathering) => gathering.given().cloned().collect(),
            None => self.given.iter().map(|(path, _)| path.clone()).collect(),
        }
    }

    /// The objects.
    pub async fn finish(self, making: Making<'_>, origins: Origins) -> Found {
        match (self.asked, self.kustomization) {
            (ObjectSource::Path(path), None) => plain(making.secrets, path, self.given, origins).await,
            (ObjectSource::Path(folder), Some(gathering)) => {
                let named: Vec<String> = gathering.named().filter(|path| is_sealed_path(path)).cloned().collect();
                match gathering.finish() {
                    Err(problems) => Found::Unusable(problems),
                    Ok((files, _)) => kustomized(making, folder, (files, named), origins).await,
                }
            }
            (ObjectSource::Helm(helm), _) => chart(making.tools, *helm, self.given, origins).await,
        }
    }
}

/// What Kustomize makes. In place of the encrypted files that are named it reads what may be told of them.
async fn kustomized(
    making: Making<'_>,
    folder: String,
    (mut files, named): (Vec<(String, Vec<u8>)>, Vec<String>),
    origins: Origins,
) -> Found {
    let mut encrypted = EncryptedFiles::default();
    for (path, bytes) in files.iter().filter(|(path, _)| named.contains(path)) {
        encrypted.open(making.secrets, path.clone(), bytes.clone());
    }
    if !encrypted.problems.is_empty() {
        return Found::Unusable(encrypted.problems);
    }
    let mut reading = Reading::default();
    for (path, text) in encrypted.stand_ins(&mut reading) {
        files.iter_mut().filter(|(file, _)| *file == path).for_each(|(_, bytes)| bytes.clone_from(&text));
    }
    let name = format!("{folder}/kustomization.yaml");
    made(making.tools, reading, Order { files, make: Make::Kustomize { folder } }, name, origins).await
}

async fn plain(secrets: &dyn Secrets, path: String, given: Vec<(String, Files)>, origins: Origins) -> Found {
    let foreign: Vec<Problem> =
        given.iter().flat_map(|(path, files)| files.files.iter().filter_map(|(file, _)| foreign(file, path))).collect();
    if !foreign.is_empty() {
        return Found::Unusable(foreign);
    }
    let (mut all, mut encrypted) = (Files::default(), EncryptedFiles::default());
    for (_, files) in given {
        let seen = files.files.into_iter().filter(|(file, _)| !is_hidden(file, &path));
        all.files.extend(seen.filter_map(|(file, bytes)| encrypted.take(secrets, file, bytes)));
        all.refused.extend(files.refused);
    }
    let none = all.files.is_empty() && all.refused.is_empty() && encrypted.is_empty();
    if none && origins.values().all(Option::is_none) {
        return Found::Nothing;
    }
    blocking(move || {
        let mut reading = Reading::default();
        encrypted.read(&mut reading);
        read_beside(reading, all, origins)
    })
    .await
}

/// What is wrong with a file that makes its folder something else than plain objects.
fn foreign(file: &str, path: &str) -> Option<Problem> {
    if is_hidden(file, path) {
        return None;
    }
    let (folder, name) = file.rsplit_once('/').unwrap_or_default();
    let (what, remedy) = match name {
        "Chart.yaml" => ("a chart of Helm", format!("write `helm: {{ chart: /{folder} }}` in place of `path`")),
        name if NAMES.contains(&name) => {
            let remedy = format!("write `path: /{folder}`, or name it in a kustomization.yaml of the folder above");
            ("a kustomization", remedy)
        }
        _ => return None,
    };
    let message = format!("`{folder}` is {what}, and `{path}` is read as plain objects");
    Some(problem(file, &message, &remedy))
}

async fn chart(tools: &dyn ObjectTools, helm: HelmSource, given: Vec<(String, Files)>, origins: Origins) -> Found {
    let mut all = BTreeMap::new();
    let mut refused = Vec::new();
    let (folder, name) = match &helm.chart {
        ChartSource::Folder(folder) => (folder.clone(), format!("{folder}/Chart.yaml")),
        ChartSource::Remote(remote) => {
            let files = match tools.chart(remote).await {
                Ok(files) => files,
                Err(error) => return not_made(&remote.to_string(), &error),
            };
            // No folder of the repository is called so: Git has none.
            let folder = format!(".git/charts/{}", remote.name());
            all.extend(files.into_iter().map(|(path, bytes)| (format!("{folder}/{path}"), bytes)));
            (folder, remote.to_string())
        }
    };
    for (path, files) in given {
        if files.files.is_empty() && files.refused.is_empty() {
            let message = format!("there is no file or folder `{path}` in the repository");
            refused.push(problem(&name, &message, "commit it, or name another"));
        }
        all.extend(files.files);
        refused.extend(files.refused.iter().map(|(path, message, remedy)| problem(path, message, remedy)));
    }
    let templates = format!("{folder}/templates/");
    for path in all.keys().filter(|path| path.starts_with(&templates) && is_sealed_path(path)) {
        let remedy = "name its values under the App's `secrets`, and the Secret under `workload.kubernetes.secrets`";
        refused.push(problem(path, "Helm can't read an object that is encrypted", remedy));
    }
    if refused.is_empty() && !all.contains_key(&format!("{folder}/Chart.yaml")) {
        refused.push(problem(&name, "there is no chart here: it has no Chart.yaml", "name the folder that has it"));
    }
    if !refused.is_empty() {
        return Found::Unusable(refused);
    }
    let HelmSource { release, namespace, values, files, skip_hooks, cluster, .. } = helm;
    let make = Make::Helm { chart: folder, release, namespace, values, files, skip_hooks, cluster };
    let order = Order { files: all.into_iter().collect(), make };
    made(tools, Reading::default(), order, name, origins).await
}

/// What a tool makes.
async fn made(tools: &dyn ObjectTools, mut reading: Reading, order: Order, name: String, origins: Origins) -> Found {
    order.files.iter().filter(|(path, _)| is_object_path(path)).for_each(|(path, bytes)| reading.note(path, bytes));
    let text = match tools.make(order).await {
        Ok(text) => text,
        Err(error) => return not_made(&name, &error),
    };
    blocking(move || {
        reading.told(&name, &text);
        read_to_the_end(reading, origins)
    })
    .await
}

fn not_made(name: &str, error: &ToolError) -> Found {
    let remedy = match error {
        ToolError::Missing { .. } => "install it where the daemon runs; `trimtab check` tells which tools are there",
        ToolError::Refused { .. } => "mend what it complains of; run it in the repository to see the same",
        ToolError::Stopped { .. } => "make less of it, or split it into several Apps",
        ToolError::Broken { .. } => "look at the machine; it is tried again with the next commit",
        ToolError::Fetch { .. } => {
            "look at the repository and at `[charts]` in the daemon's configuration; it is tried again before long"
        }
        ToolError::Chart { .. } => "name another version; nothing of this one was used",
    };
    let problems = vec![problem(name, &error.to_string(), remedy)];
    match error {
        ToolError::Fetch { .. } => Found::Unreachable(problems),
        _ => Found::Unusable(problems),
    }
}

fn problem(path: &str, message: &str, remedy: &str) -> Problem {
    let at = Location::start_of(Arc::new(SourceFile::new(path, "")));
    Problem::new(Layer::Dependency, &at, message, remedy)
}

/// The files at a path.
async fn files(source: &dyn Source, revision: &Revision, path: &str) -> Result<Files, SourceError> {
    let listing = source.list_below(revision, path).await?;
    let mut found = Files::default();
    for entry in listing.refused {
        found.refused.push((entry.path, entry.reason.to_string(), "mend or remove it"));
    }
    let mut wanted: Vec<TreeEntry> = Vec::new();
    let mut bytes = 0_u64;
    for entry in listing.entries {
        if let EntryKind::Symlink { .. } = entry.kind {
            found.refused.push((entry.path, LINK.to_owned(), "put the file itself here"));
            continue;
        }
        bytes = bytes.saturating_add(entry.size);
        match usize::try_from(entry.size) {
            Ok(size) if size <= MAX_FILE_BYTES => wanted.push(entry),
            _ => {
                let reason = format!("this file has {} bytes, and at most {MAX_FILE_BYTES} are read", entry.size);
                found.refused.push((entry.path, reason, "write it smaller, or in several files"));
            }
        }
    }
    if wanted.len() > MAX_FILES || bytes > MAX_BYTES {
        let reason = format!(
            "{} files of {bytes} bytes are to be read here, and at most {MAX_FILES} of {MAX_BYTES} bytes are",
            wanted.len()
        );
        found.refused.push((path.to_owned(), reason, "name a folder that holds fewer, or split it into several Apps"));
        return Ok(found);
    }
    let oids: Vec<String> = wanted.iter().map(|entry| entry.oid.clone()).collect();
    let contents = source.read_many(&oids).await?;
    found.files = wanted.into_iter().map(|entry| entry.path).zip(contents).collect();
    Ok(found)
}

/// What is said of a symbolic link among objects.
pub const LINK: &str = "this is a symbolic link, and objects are read from files only";

/// Whether a file below a path is hidden there.
fn is_hidden(file: &str, path: &str) -> bool {
    file.strip_prefix(path).unwrap_or(file).split('/').any(|part| part.starts_with('.'))
}

async fn blocking(work: impl FnOnce() -> Found + Send + 'static) -> Found {
    tokio::task::spawn_blocking(work)
        .await
        .expect("reading objects never panics: that is its contract, proven over arbitrary bytes")
}

/// Reads the objects of plain files.
pub fn read_plain(files: Files, origins: Origins) -> Found {
    read_beside(Reading::default(), files, origins)
}

fn read_beside(mut reading: Reading, files: Files, origins: Origins) -> Found {
    for (path, message, remedy) in files.refused {
        reading.refuse(&path, Layer::Security, &message, remedy);
    }
    for (path, bytes) in files.files {
        reading.file(&path, &bytes);
    }
    read_to_the_end(reading, origins)
}

fn read_to_the_end(reading: Reading, origins: Origins) -> Found {
    match reading.finish() {
        Ok(objects) => Found::Objects(Arc::new(objects), origins),
        Err(problems) => Found::Unusable(problems),
    }
}
