//! Tools that make objects from something else than plain files.

use async_trait::async_trait;

use crate::domain::objects::ClusterTold;
use crate::domain::objects::chart::RemoteChart;

/// Why a tool made nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// It is not there.
    #[error("there is no `{tool}`")]
    Missing {
        /// Its name.
        tool: &'static str,
    },
    /// It said no.
    #[error("{tool}: {message}")]
    Refused {
        /// Its name.
        tool: &'static str,
        /// The beginning of what it said.
        message: String,
    },
    /// It took too long, or told too much.
    #[error("{tool} was stopped: {reason}")]
    Stopped {
        /// Its name.
        tool: &'static str,
        /// Why.
        reason: String,
    },
    /// A chart of elsewhere can't be had now.
    #[error("the chart {chart} can't be fetched: {reason}")]
    Fetch {
        /// Which.
        chart: String,
        /// Why.
        reason: String,
    },
    /// A chart of elsewhere is not what it should be.
    #[error("the chart {chart} can't be used: {reason}")]
    Chart {
        /// Which.
        chart: String,
        /// Why.
        reason: String,
    },
    /// It could not be run here.
    #[error("{tool} can't be run: {reason}")]
    Broken {
        /// Its name.
        tool: &'static str,
        /// The system's word.
        reason: String,
    },
}

/// What is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The files that the tool sees, by path from the root of the repository; it sees nothing else of it.
    pub files: Vec<(String, Vec<u8>)>,
    /// Which tool, and what of it.
    pub make: Make,
}

/// Which tool, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Make {
    /// `kustomize build` of a folder.
    Kustomize {
        /// The folder.
        folder: String,
    },
    /// `helm template` of a chart.
    Helm {
        /// The chart's folder.
        chart: String,
        /// The name of the release.
        release: String,
        /// The namespace.
        namespace: String,
        /// The values, as JSON.
        values: String,
        /// Files of values, which those above go over.
        files: Vec<String>,
        /// Whether hooks are left out.
        skip_hooks: bool,
        /// What it is told of the cluster.
        cluster: ClusterTold,
    },
}

/// Runs tools.
///
/// **Guarantees.** A tool sees the files of its order and nothing else of the machine or the network, as far as the machine can keep it
/// apart; it gets no credentials and no environment, and is stopped when it takes too long, too much memory or tells too much. The same
/// order gives the same answer, and is run once.
#[async_trait]
pub trait ObjectTools: Send + Sync {
    /// The objects, as YAML.
    async fn make(&self, order: Order) -> Result<Vec<u8>, ToolError>;

    /// The files of a chart of elsewhere, by their paths within it: always the same, wherever it is fetched from.
    async fn chart(&self, chart: &RemoteChart) -> Result<Vec<(String, Vec<u8>)>, ToolError>;

    /// What tools there are, in words, and what can't be done without those that are missing; the error names one that was needed.
    async fn check(&self) -> Result<(String, Vec<String>), String>;
}
