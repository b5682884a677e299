//! Objects of Kubernetes as a configuration repository holds them, and what becomes of them before they are applied.
//!
//! What stands in files ([`native`]) or comes out of a tool is a list of [`Written`] objects. [`finish`] makes of it what a unit
//! asks for: in the namespace it belongs to, sorted, nothing twice. All of it is pure; files and tools are behind
//! [`crate::ports::objects`].

#[cfg(feature = "kubernetes")]
pub mod cel;
pub mod chart;
pub mod finish;
pub mod generate;
pub mod images;
pub mod kustomize;
pub mod labels;
pub mod mask;
pub mod native;
pub mod patch;
pub mod plain;
pub mod scope;
pub mod sealed;
pub mod templates;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use self::chart::RemoteChart;
use super::manifest::Problem;
use super::secret::SecretSource;
use super::workload::kubernetes::Object;

/// The most objects of a unit.
pub const MAX_OBJECTS: usize = 5_000;
/// The most files that a unit's objects are read from.
pub const MAX_FILES: usize = 2_000;
/// The most bytes of all those files together.
pub const MAX_BYTES: u64 = 32 << 20;

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectSource {
    /// A file or a folder of the repository, by its path from the root: plain, or a kustomization.
    Path(String),
    /// A chart.
    Helm(Box<HelmSource>),
}

/// A chart, and what it is filled in with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HelmSource {
    /// The chart.
    pub chart: ChartSource,
    /// The name of the release.
    pub release: String,
    /// The namespace.
    pub namespace: String,
    /// The values, as JSON.
    pub values: String,
    /// Files of values, which those above go over, by their paths from the root.
    pub files: Vec<String>,
    /// Whether hooks are left out.
    pub skip_hooks: bool,
    /// What it is told of the cluster.
    pub cluster: ClusterTold,
}

/// What a chart is told of the cluster that it is for, which is not asked: a chart may leave out what the cluster does not have.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterTold {
    /// Its version; what the tool takes for one where there is none.
    pub version: Option<String>,
    /// What it has beside Kubernetes itself: `monitoring.coreos.com/v1`, or `monitoring.coreos.com/v1/ServiceMonitor`.
    pub kinds: Vec<String>,
}

/// Where a chart comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChartSource {
    /// A folder of the repository, by its path from the root.
    Folder(String),
    /// Elsewhere.
    Remote(RemoteChart),
}

impl ObjectSource {
    /// The path that is looked up first; none where it is not in the repository.
    pub fn path(&self) -> Option<&String> {
        match self {
            ObjectSource::Path(path) => Some(path),
            ObjectSource::Helm(helm) => match &helm.chart {
                ChartSource::Folder(path) => Some(path),
                ChartSource::Remote(_) => None,
            },
        }
    }

    /// All paths that it names.
    pub fn paths(&self) -> impl Iterator<Item = &String> {
        let files = match self {
            ObjectSource::Path(_) => &[][..],
            ObjectSource::Helm(helm) => helm.files.as_slice(),
        };
        self.path().into_iter().chain(files)
    }
}

impl fmt::Display for ObjectSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectSource::Path(path) => f.write_str(path),
            ObjectSource::Helm(helm) => match &helm.chart {
                ChartSource::Folder(path) => f.write_str(path),
                ChartSource::Remote(chart) => chart.fmt(f),
            },
        }
    }
}

/// One object, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The object.
    pub object: Object,
    /// The file that it is in.
    pub file: Arc<str>,
    /// The line that it begins in.
    pub line: u32,
    /// The values of it that are encrypted, by the names that stand in their places.
    pub secrets: BTreeMap<String, SecretSource>,
}

impl Written {
    /// `deploy/web.yaml:12`
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// Files as they were read, and what is refused of others.
#[derive(Debug, Default)]
pub struct Files {
    /// Path and content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Path, what is wrong, a remedy.
    pub refused: Vec<(String, String, &'static str)>,
}

/// The files and folders that objects were read from, by path from the root, each with its object name; `None` where there was
/// nothing. As long as these are the same, so are the objects.
pub type Origins = BTreeMap<String, Option<String>>;

/// What a source holds.
#[derive(Clone, Debug)]
pub enum Found {
    /// The objects.
    Objects(Arc<Vec<Written>>, Origins),
    /// All that is wrong.
    Unusable(Vec<Problem>),
    /// What it is made from can't be had now, which may be otherwise later.
    Unreachable(Vec<Problem>),
    /// There is no such file or folder.
    Nothing,
    /// It was not looked at: ask again when it was.
    NotYet,
}

/// Gives objects, and the object names of what they come from.
pub trait Objects {
    /// The object name of the file or folder at a path of the revision, if there is one.
    fn entry(&self, path: &str) -> Option<String>;

    /// What a source holds.
    fn find(&self, source: &ObjectSource) -> Found;
}

/// For whoever has no objects at hand.
pub struct NoObjects;

impl Objects for NoObjects {
    fn entry(&self, _path: &str) -> Option<String> {
        None
    }

    fn find(&self, _source: &ObjectSource) -> Found {
        Found::NotYet
    }
}
