//! From documents to desired states: pure, one result for each Release and target.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::desired::DesiredUnit;
use super::digest::Digest;
use super::id::{Name, UnitId};
use super::manifest::{DocumentSet, Problem};

/// What a Release asks for on one target, or why that cannot be told.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The App's name.
    pub app: Name,
    /// The Environment's name.
    pub environment: Name,
    /// The target; `None` where the Environment is missing or wrong, which stalls every unit of the app there.
    pub target: Option<Name>,
    /// The unit that this one was renamed from (`moved`), whose state it takes over.
    pub moved_from: Option<UnitId>,
    /// The path of the Release's file.
    pub release_file: String,
    /// The desired state, or all that is wrong.
    pub outcome: Result<Arc<DesiredUnit>, Vec<Problem>>,
}

/// The desired states rendered before, by what they were rendered from. Keep one from call to call.
#[derive(Clone, Debug, Default)]
pub struct RenderCache {
    units: BTreeMap<UnitId, (Digest, Arc<DesiredUnit>)>,
}

/// Renders all units. `artifacts` gives the object name of the tree at a path of the same revision, if there is one.
pub fn render(documents: &DocumentSet, artifacts: &dyn Fn(&str) -> Option<String>) -> Vec<Rendered> {
    render_cached(documents, artifacts, &mut RenderCache::default())
}

/// Renders again only the units whose inputs (their documents' content and their artifacts' trees) are not in the cache.
pub fn render_cached(
    documents: &DocumentSet,
    artifacts: &dyn Fn(&str) -> Option<String>,
    cache: &mut RenderCache,
) -> Vec<Rendered> {
    let _ = (documents, artifacts, &mut cache.units);
    Vec::new()
}
