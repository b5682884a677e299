//! The catalog: what a revision asks for, rendered, with as little work as the change since the last one needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use super::objects::{self, AtHand, Making};
use super::sealed::{self, SealedFiles};
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{Name, Revision, UnitId};
use crate::domain::manifest::{self, DocumentSet, ParsedFile, Problem};
use crate::domain::objects::{Found, ObjectSource, Origins};
use crate::domain::render::{Lookups, RenderCache, Rendered, render_again};
use crate::domain::secret::SecretSource;
use crate::ports::objects::ObjectTools;
use crate::ports::secrets::Secrets;
use crate::ports::source::{RefusedEntry, Source, SourceError};

/// One revision, rendered.
#[derive(Debug)]
pub struct Snapshot {
    /// The commit.
    pub revision: Revision,
    /// What each unit asks for.
    pub units: BTreeMap<UnitId, Entry>,
    /// What can't be rendered: the problems, by app and environment.
    pub broken: BTreeMap<(Name, Name), Vec<Problem>>,
    /// What was renamed to something that can't be rendered: the old App and Environment, and the new.
    pub stalled_moves: BTreeMap<(Name, Name), (Name, Name)>,
    /// The problems of single documents.
    pub problems: Vec<Problem>,
    /// The entries of the tree that are never looked at.
    pub refused: Vec<RefusedEntry>,
    /// Whether everything could be read: only then does a missing document mean that it was deleted.
    pub complete: bool,
    /// Whether something was not to be had that may be later, so that the same commit is worth another look.
    pub again: bool,
    /// The environments that have a document.
    pub environments: BTreeSet<Name>,
    files: BTreeMap<String, FileEntry>,
    trees: BTreeMap<String, Option<String>>,
    /// The object names of the files and folders that objects of clusters were read from.
    objects: Origins,
}

/// One unit of a revision.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it asks for.
    pub desired: Arc<DesiredUnit>,
    /// Its digest.
    pub rendered: Digest,
    /// The file of its Release.
    pub release_file: String,
    /// The units that it may have been before it was renamed, the likeliest first.
    pub moved_from: Vec<UnitId>,
}

/// So many problems of each kind are told: who broke everything needs no list of it, and every look at the status has it.
const TOLD: usize = 50;

#[derive(Clone, Debug)]
struct FileEntry {
    oid: String,
    size: u64,
}

impl Snapshot {
    /// The object name of a document file.
    pub fn file_oid(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|file| file.oid.as_str())
    }

    /// The problems, as text for people: those of names and links, then those of documents, and how many are not told.
    pub fn errors(&self) -> Vec<String> {
        let units = self.broken.values().flatten();
        let documents: BTreeSet<_> = self.problems.iter().chain(units).collect();
        let refused = self.refused.iter().map(|entry| format!("security: {entry}")).take(TOLD);
        let mut texts: Vec<String> = refused.chain(documents.iter().take(TOLD).map(ToString::to_string)).collect();
        let more = (self.refused.len() + documents.len()).saturating_sub(texts.len());
        if more > 0 {
            texts.push(format!(
                "{more} more problems are not told here: `trimtab validate` in the repository tells all"
            ));
        }
        texts
    }
}

/// Renders revisions; keeps what was parsed and rendered before.
pub struct Catalog {
    source: Arc<dyn Source>,
    secrets: Arc<dyn Secrets>,
    tools: Arc<dyn ObjectTools>,
    caches: Mutex<Caches>,
}

#[derive(Default)]
struct Caches {
    parsed: HashMap<(String, String), Arc<ParsedFile>>,
    rendered: RenderCache,
    sealed: SealedFiles,
}

impl Catalog {
    /// A catalog of a source.
    pub fn new(source: Arc<dyn Source>, secrets: Arc<dyn Secrets>, tools: Arc<dyn ObjectTools>) -> Self {
        Catalog { source, secrets, tools, caches: Mutex::default() }
    }

    /// Renders a revision. With `base`, only what differs from it is read, parsed and rendered.
    ///
    /// # Errors
    ///
    /// Those of the source; what is wrong with documents is in the snapshot.
    pub async fn load(&self, revision: &Revision, base: Option<&Snapshot>) -> Result<Snapshot, SourceError> {
        let read = match base {
            // A base with refused entries is incomplete; what became of them only a full listing tells.
            Some(base) if base.refused.is_empty() => self.changed_files(revision, base).await?,
            _ => self.all_files(revision).await?,
        };
        let (files, _, changed) = &read;
        let parsed = self.parse(files).await?;
        let documents = DocumentSet::assemble(parsed);
        let trees = self.trees(revision, &documents, base, changed.as_ref()).await?;
        let mut origins = self.origins(revision, &documents, base, changed.as_ref()).await?;
        let known = {
            let mut caches = self.caches.lock().expect("the caches are only changed by total functions");
            std::mem::take(&mut caches.sealed)
        };
        let sealed = sealed::read(self.source.as_ref(), revision, &documents, &known).await?;
        let (mut rendered, wanted) = self.render(&documents, &trees, &sealed, &origins, &objects::Read::new());
        let mut again = false;
        if !wanted.is_empty() {
            // Units whose objects are not the ones they were rendered from ask for them; all others are done.
            let making = Making { tools: self.tools.as_ref(), secrets: self.secrets.as_ref() };
            let objects = objects::read(self.source.as_ref(), making, revision, wanted).await?;
            again = objects.values().any(|found| matches!(found, Found::Unreachable(_)));
            for found in objects.values() {
                if let Found::Objects(_, read) = found {
                    origins.extend(read.iter().map(|(path, oid)| (path.clone(), oid.clone())));
                }
            }
            (rendered, _) = self.render(&documents, &trees, &sealed, &origins, &objects);
        }
        self.caches.lock().expect("the caches are only changed by total functions").sealed = sealed;
        let snapshot = assemble(revision.clone(), &documents, rendered, read, (trees, origins), base);
        Ok(Snapshot { again, ..snapshot })
    }

    /// Renders what the caches do not have, with the objects at hand; gives what else was asked for.
    fn render(
        &self,
        documents: &DocumentSet,
        trees: &BTreeMap<String, Option<String>>,
        sealed: &SealedFiles,
        origins: &Origins,
        objects: &objects::Read,
    ) -> (Vec<Rendered>, BTreeSet<ObjectSource>) {
        let mut caches = self.caches.lock().expect("the caches are only changed by total functions");
        let artifacts = |path: &str| trees.get(path).cloned().flatten();
        let secrets = |source: &SecretSource| sealed.look(self.secrets.as_ref(), source);
        let objects = AtHand::new(origins, objects);
        let lookups = Lookups { artifacts: &artifacts, secrets: &secrets, objects: &objects };
        let rendered = render_again(documents, lookups, &mut caches.rendered);
        (rendered, objects.into_wanted())
    }

    /// The documents of a revision that was rendered.
    ///
    /// # Errors
    ///
    /// Those of the source, where they are not kept from the rendering.
    pub async fn documents(&self, snapshot: &Snapshot) -> Result<DocumentSet, SourceError> {
        Ok(DocumentSet::assemble(self.parse(&snapshot.files).await?))
    }

    async fn all_files(&self, revision: &Revision) -> Result<Files, SourceError> {
        let listing = self.source.list(revision).await?;
        let files = listing
            .entries
            .into_iter()
            .filter(|entry| manifest::is_manifest_path(&entry.path))
            .map(|entry| (entry.path, FileEntry { oid: entry.oid, size: entry.size }))
            .collect();
        Ok((files, listing.refused, None))
    }

    async fn changed_files(&self, revision: &Revision, base: &Snapshot) -> Result<Files, SourceError> {
        let changes = self.source.changes(&base.revision, revision).await?;
        let plain = |mode: u32| mode == 0o100_644 || mode == 0o100_755;
        if changes.iter().any(|change| change.after.as_ref().is_some_and(|after| !plain(after.mode))) {
            // Links, submodules and what is refused for its name are judged by the full listing.
            return self.all_files(revision).await;
        }
        let mut files = base.files.clone();
        let mut paths = BTreeSet::new();
        for change in changes {
            if manifest::is_manifest_path(&change.path) {
                match change.after {
                    Some(after) => {
                        files.insert(change.path.clone(), FileEntry { oid: after.oid, size: 0 });
                    }
                    None => {
                        files.remove(&change.path);
                    }
                }
            }
            paths.insert(change.path);
        }
        Ok((files, Vec::new(), Some(paths)))
    }

    async fn parse(&self, files: &BTreeMap<String, FileEntry>) -> Result<Vec<Arc<ParsedFile>>, SourceError> {
        let mut wanted = Vec::new();
        {
            let caches = self.caches.lock().expect("the caches are only changed by total functions");
            for (path, file) in files {
                if !caches.parsed.contains_key(&(path.clone(), file.oid.clone())) {
                    wanted.push((path.clone(), file.clone()));
                }
            }
        }
        let mut fresh = Vec::with_capacity(wanted.len());
        let limit = u64::try_from(manifest::MAX_FILE_BYTES).unwrap_or(u64::MAX);
        let (large, small): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(_, file)| file.size > limit);
        let oids: Vec<String> = small.iter().map(|(_, file)| file.oid.clone()).collect();
        match self.source.read_many(&oids).await {
            Ok(contents) => fresh.extend(small.into_iter().zip(contents)),
            // A file that grew past the limit fails the whole batch: read one by one, so that only it is refused.
            Err(SourceError::TooLarge { .. }) => {
                for (path, file) in small {
                    let content = self.read_capped(&file.oid).await?;
                    fresh.push(((path, file), content));
                }
            }
            Err(error) => return Err(error),
        }
        // Large ones hold something else than documents, as a rule: only one that speaks of trimtab is told.
        for (path, file) in large {
            let content = self.read_capped(&file.oid).await?;
            fresh.push(((path, file), content));
        }
        let parsed = tokio::task::spawn_blocking(move || {
            fresh
                .into_iter()
                .map(|((path, file), bytes)| {
                    let parsed = Arc::new(manifest::parse_file(&path, &bytes));
                    ((path, file.oid), parsed)
                })
                .collect::<Vec<_>>()
        })
        .await
        .expect("parsing never panics: that is its contract, proven over arbitrary bytes");
        let mut caches = self.caches.lock().expect("the caches are only changed by total functions");
        caches.parsed.extend(parsed);
        let known = files.iter().filter_map(|(path, file)| caches.parsed.get(&(path.clone(), file.oid.clone())));
        let known: Vec<_> = known.cloned().collect();
        // The cache holds at most two revisions' worth of files: beyond that it is emptied of what is not in use.
        if caches.parsed.len() > 2 * files.len() + 1_000 {
            caches.parsed.retain(|(path, oid), _| files.get(path).is_some_and(|file| file.oid == *oid));
        }
        Ok(known)
    }

    async fn read_capped(&self, oid: &str) -> Result<Vec<u8>, SourceError> {
        match self.source.read(oid).await {
            Err(SourceError::TooLarge { .. }) => Ok(oversized()),
            other => other,
        }
    }

    async fn trees(
        &self,
        revision: &Revision,
        documents: &DocumentSet,
        base: Option<&Snapshot>,
        changed: Option<&BTreeSet<String>>,
    ) -> Result<BTreeMap<String, Option<String>>, SourceError> {
        let mut trees = BTreeMap::new();
        for path in documents.artifact_paths() {
            let oid = match untouched(&path, base.map(|base| &base.trees), changed) {
                Some(oid) => oid,
                None => self.source.tree_oid(revision, &path).await?,
            };
            trees.insert(path, oid);
        }
        Ok(trees)
    }

    /// The object names of what objects are read from: as documents name it, and as it turned out before.
    async fn origins(
        &self,
        revision: &Revision,
        documents: &DocumentSet,
        base: Option<&Snapshot>,
        changed: Option<&BTreeSet<String>>,
    ) -> Result<Origins, SourceError> {
        let mut paths = documents.object_paths();
        paths.extend({
            let caches = self.caches.lock().expect("the caches are only changed by total functions");
            caches.rendered.object_paths()
        });
        let mut origins = Origins::new();
        for path in paths {
            let oid = match untouched(&path, base.map(|base| &base.objects), changed) {
                Some(oid) => oid,
                None => objects::entry(self.source.as_ref(), revision, &path).await?,
            };
            origins.insert(path, oid);
        }
        Ok(origins)
    }
}

/// The object name that a path had at the base, where nothing at it or below it differs from that.
fn untouched(path: &str, base: Option<&Origins>, changed: Option<&BTreeSet<String>>) -> Option<Option<String>> {
    let (known, changed) = (base?.get(path)?, changed?);
    let folder = format!("{path}/");
    let touched = changed.range(folder.clone()..).next().is_some_and(|next| next.starts_with(&folder));
    (!touched && !changed.contains(path)).then(|| known.clone())
}

type Files = (BTreeMap<String, FileEntry>, Vec<RefusedEntry>, Option<BTreeSet<String>>);

/// Stands for a file that is too large to be read: longer than what the parser takes, so that it says so itself.
fn oversized() -> Vec<u8> {
    let mut text = format!("apiVersion: {}\n", manifest::API_VERSION).into_bytes();
    text.resize(manifest::MAX_FILE_BYTES + 1, b'#');
    text
}

fn assemble(
    revision: Revision,
    documents: &DocumentSet,
    rendered: Vec<Rendered>,
    (files, refused, _): Files,
    (trees, objects): (BTreeMap<String, Option<String>>, Origins),
    base: Option<&Snapshot>,
) -> Snapshot {
    let environments = documents.environments().into_iter().cloned().collect();
    let mut units = BTreeMap::new();
    let mut broken: BTreeMap<_, Vec<Problem>> = BTreeMap::new();
    let mut stalled_moves = BTreeMap::new();
    for item in rendered {
        match item.outcome {
            Ok(desired) => {
                let before = base.and_then(|base| base.units.get(&desired.unit));
                let same = before.filter(|before| Arc::ptr_eq(&before.desired, &desired));
                let rendered = same.map_or_else(|| desired.digest(), |before| before.rendered.clone());
                let id = desired.unit.clone();
                let (release_file, moved_from) = (item.release_file, item.moved_from);
                units.insert(id, Entry { desired, rendered, release_file, moved_from });
            }
            Err(problems) => {
                let now = (item.app, item.environment);
                stalled_moves.extend(item.renamed_from.into_iter().map(|before| (before, now.clone())));
                broken.entry(now).or_default().extend(problems);
            }
        }
    }
    Snapshot {
        revision,
        complete: refused.is_empty() && documents.unreadable().is_empty(),
        again: false,
        environments,
        problems: documents.problems(),
        units,
        broken,
        stalled_moves,
        refused,
        files,
        trees,
        objects,
    }
}
