//! From documents to desired states: pure, one result for each Release and target.
//!
//! A unit is its App's spec, merged with what the Release sets, its placeholders filled in from version, environment and
//! target, its references (listener, scripts, artifacts) looked up. What concerns several units (routes that collide,
//! dependencies in a circle) is checked over all of them at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub mod compatibility;
pub mod dependency;
pub mod explain;
pub mod former;
pub mod inputs;
pub mod pinned;
pub mod unit;

use super::desired::DesiredUnit;
use super::id::{Name, UnitId};
use super::manifest::decode::{Context, list_of, name_or_add};
use super::manifest::environment::{EnvironmentSpec, Target};
use super::manifest::{Document, DocumentSet, Identity, Layer, Problem};
use super::objects::{NoObjects, Objects};
use super::secret::{SecretSource, SecretValue};
use inputs::Inputs;

/// Gives the object name of the tree at a path of the revision, if there is a folder.
pub type Artifacts<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Gives what is known of a secret's value.
pub type Secrets<'a> = &'a dyn Fn(&SecretSource) -> SecretValue;

/// What rendering asks for outside of the documents.
#[derive(Clone, Copy)]
pub struct Lookups<'a> {
    /// Folders.
    pub artifacts: Artifacts<'a>,
    /// Secrets.
    pub secrets: Secrets<'a>,
    /// Objects of clusters.
    pub objects: &'a dyn Objects,
}

impl<'a> Lookups<'a> {
    /// For whoever can read no secret and has no objects at hand.
    pub fn without_secrets(artifacts: Artifacts<'a>) -> Self {
        Lookups { artifacts, secrets: &|_| SecretValue::Unknown, objects: &NoObjects }
    }
}

/// What a Release asks for on one target, or why that cannot be told.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The App's name.
    pub app: Name,
    /// The Environment's name.
    pub environment: Name,
    /// The target; `None` where the Environment is missing or wrong, which stalls every unit of the app there.
    pub target: Option<Name>,
    /// The units that this one may have been before it was renamed (`moved`), the likeliest first: it takes over the state
    /// of the first that is there.
    pub moved_from: Vec<UnitId>,
    /// The same where the target can't be told: what App and Environment were called.
    pub renamed_from: Vec<(Name, Name)>,
    /// The path of the Release's file.
    pub release_file: String,
    /// The desired state, or all that is wrong.
    pub outcome: Result<Arc<DesiredUnit>, Vec<Problem>>,
}

/// The desired states rendered before, by what they were rendered from. Keep one from call to call.
#[derive(Clone, Debug, Default)]
pub struct RenderCache {
    units: BTreeMap<UnitId, (Inputs, Arc<DesiredUnit>)>,
    /// How many units were rendered anew by the last call.
    pub rendered: usize,
}

/// Renders all units, without a look at secrets.
pub fn render(documents: &DocumentSet, artifacts: Artifacts<'_>) -> Vec<Rendered> {
    render_with(documents, Lookups::without_secrets(artifacts))
}

/// Renders all units.
pub fn render_with(documents: &DocumentSet, lookups: Lookups<'_>) -> Vec<Rendered> {
    render_again(documents, lookups, &mut RenderCache::default())
}

/// [`render_again`] without a look at secrets.
pub fn render_cached(documents: &DocumentSet, artifacts: Artifacts<'_>, cache: &mut RenderCache) -> Vec<Rendered> {
    render_again(documents, Lookups::without_secrets(artifacts), cache)
}

impl RenderCache {
    /// The files and folders that objects of the units in it were read from, by path from the root.
    pub fn object_paths(&self) -> BTreeSet<String> {
        self.units.values().flat_map(|(inputs, _)| inputs.object_paths()).cloned().collect()
    }
}

/// Renders again only the units whose inputs (their documents' content, their artifacts' trees, their secrets, their objects) are not
/// those in the cache. The result is the same as without a cache.
pub fn render_again(documents: &DocumentSet, lookups: Lookups<'_>, cache: &mut RenderCache) -> Vec<Rendered> {
    let mut before = std::mem::take(&mut cache.units);
    cache.rendered = 0;
    let mut results = Vec::new();
    for (app, environment, release) in documents.releases() {
        let base = Rendered {
            app: app.clone(),
            environment: environment.clone(),
            target: None,
            moved_from: Vec::new(),
            renamed_from: former::pairs(documents, app, environment, release),
            release_file: release.lines.file.path.clone(),
            outcome: Err(Vec::new()),
        };
        let parts = match parts(documents, app, environment, release) {
            Ok(parts) => parts,
            Err(problems) => {
                results.extend(stalled(documents, base, problems));
                continue;
            }
        };
        for target in &parts.environment.targets {
            let id = UnitId { app: app.clone(), environment: environment.clone(), target: target.name.value.clone() };
            let known = before.remove(&id).filter(|(inputs, _)| inputs.are_current(documents, &parts, lookups));
            let outcome = match known {
                Some((inputs, unit)) => {
                    cache.units.insert(id.clone(), (inputs, unit.clone()));
                    Ok(unit)
                }
                None => {
                    cache.rendered += 1;
                    unit::render(documents, &parts, target, lookups, &Context::new()).map(|(unit, inputs)| {
                        let unit = Arc::new(unit);
                        cache.units.insert(id.clone(), (inputs, unit.clone()));
                        unit
                    })
                }
            };
            let moved_from = former::units(&base.renamed_from, &id, target);
            results.push(Rendered { target: Some(id.target), moved_from, outcome, ..base.clone() });
        }
    }
    former::check(documents, &mut results);
    dependency::check(documents, &mut results);
    results
}

/// The documents that a unit is rendered from.
pub struct Parts<'a> {
    /// The App.
    pub app: &'a Document,
    /// The Release.
    pub release: &'a Document,
    /// The Environment.
    pub environment_document: &'a Document,
    /// The Environment's spec.
    pub environment: &'a EnvironmentSpec,
}

/// The documents of a Release, or all that is wrong with them.
pub fn parts<'a>(
    documents: &'a DocumentSet,
    app: &Name,
    environment: &Name,
    release: &'a Document,
) -> Result<Parts<'a>, Vec<Problem>> {
    let environment_id = Identity::Environment(environment.clone());
    let app_id = Identity::App(app.clone());
    let mut problems = documents.problems_of(&release.identity);
    for identity in [&environment_id, &app_id] {
        problems.extend(documents.problems_of(identity));
    }
    let app_document = documents.find(&app_id);
    if app_document.is_none() {
        problems.push(missing(documents, &app_id, release));
    }
    let environment_document = documents.find(&environment_id);
    if environment_document.is_none() {
        problems.push(missing(documents, &environment_id, release));
    }
    match (app_document, environment_document, documents.environment(environment)) {
        (Some(app), Some(environment_document), Some(environment)) if problems.is_empty() => {
            Ok(Parts { app, release, environment_document, environment })
        }
        _ => Err(problems),
    }
}

/// A Release names an App or an Environment that is not there.
fn missing(documents: &DocumentSet, identity: &Identity, release: &Document) -> Problem {
    let (at, name) = match identity {
        Identity::Environment(name) => (release.environment_at.as_ref().unwrap_or(&release.name_at), name),
        Identity::App(name) | Identity::Script(name) | Identity::Release { app: name, .. } => (&release.name_at, name),
    };
    let known: Vec<&str> = documents
        .identities()
        .filter_map(|other| match (identity, other) {
            (Identity::Environment(_), Identity::Environment(name)) | (Identity::App(_), Identity::App(name)) => {
                Some(name.as_str())
            }
            _ => None,
        })
        .collect();
    let unreadable = documents.unreadable();
    let remedy = if unreadable.is_empty() {
        name_or_add(name.as_str(), &known, "add a document for it")
    } else {
        format!("it may be in a file that cannot be read: mend {}", list_of(&unreadable))
    };
    Problem::new(Layer::Dependency, at, format!("there is no {identity}"), remedy)
}

/// Every target of a Release that is wrong stalls; if the targets are not known, the app stalls in the environment.
fn stalled(documents: &DocumentSet, base: Rendered, problems: Vec<Problem>) -> Vec<Rendered> {
    let outcome = Err(problems);
    match documents.environment(&base.environment) {
        Some(environment) => environment
            .targets
            .iter()
            .map(|target: &Target| Rendered {
                target: Some(target.name.value.clone()),
                outcome: outcome.clone(),
                ..base.clone()
            })
            .collect(),
        None => vec![Rendered { outcome, ..base }],
    }
}
