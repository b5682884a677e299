//! `[kubernetes]`: the clusters that environments may name. What leads to one never stands in the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::id::Name;

/// `[kubernetes]`
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesSettings {
    /// `[kubernetes.clusters.NAME]`
    #[serde(default)]
    pub clusters: BTreeMap<Name, ClusterSettings>,
}

/// How a cluster is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSettings {
    /// A kubeconfig file. Paths in it are relative to its folder.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; its current one where none is named.
    #[serde(default)]
    pub context: Option<String>,
    /// The cluster in which the daemon runs as a pod, by the pod's service account.
    #[serde(default)]
    pub in_cluster: bool,
    /// Whether the kubeconfig may start programs that fetch tokens.
    #[serde(default)]
    pub allow_exec: bool,
    /// How many requests go to its API server at once.
    #[serde(default = "default_connections")]
    pub connections: usize,
    /// The namespaces that the daemon is confined to: it looks at nothing else and writes nowhere else. None: the whole cluster.
    #[serde(default)]
    pub namespaces: Vec<Name>,
}

fn default_connections() -> usize {
    16
}

impl KubernetesSettings {
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.clusters.is_empty() && !cfg!(feature = "kubernetes") {
            return Err("[kubernetes] names clusters, and this build of trimtab has no `kubernetes` platform".into());
        }
        for (name, cluster) in &self.clusters {
            let at = format!("[kubernetes.clusters.{name}]");
            if !(1..=256).contains(&cluster.connections) {
                return Err(format!("{at} connections is not between 1 and 256"));
            }
            match (&cluster.kubeconfig, cluster.in_cluster) {
                (None, false) => return Err(format!("{at} needs `kubeconfig = \"FILE\"`, or `in_cluster = true`")),
                (Some(_), true) => {
                    return Err(format!("{at} has both `kubeconfig` and `in_cluster`: keep one of them"));
                }
                (None, true) if cluster.context.is_some() || cluster.allow_exec => {
                    return Err(format!("{at}: `context` and `allow_exec` belong to a kubeconfig: delete them"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn resolve(&mut self, folder: &Path) {
        for path in self.clusters.values_mut().filter_map(|cluster| cluster.kubeconfig.as_mut()) {
            *path = folder.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "kubernetes")]
    #[test]
    fn a_cluster_is_reached_in_one_way() {
        for (text, word) in [
            ("clusters.a.kubeconfig = 'k'", None),
            ("clusters.a.in_cluster = true", None),
            ("clusters.a.kubeconfig = 'k'\nclusters.a.context = 'prod'\nclusters.a.allow_exec = true", None),
            ("clusters.a.in_cluster = true\nclusters.a.namespaces = ['shop', 'x-1']", None),
            ("clusters.a.context = 'prod'", Some("needs `kubeconfig")),
            ("clusters.a.kubeconfig = 'k'\nclusters.a.in_cluster = true", Some("keep one")),
            ("clusters.a.in_cluster = true\nclusters.a.allow_exec = true", Some("belong to a kubeconfig")),
        ] {
            let settings: KubernetesSettings = toml::from_str(text).unwrap();
            match (settings.check(), word) {
                (Ok(()), None) => {}
                (Err(error), Some(word)) => assert!(error.contains(word), "{text}: {error}"),
                (answer, _) => panic!("{text}: {answer:?}"),
            }
        }
    }

    #[cfg(not(feature = "kubernetes"))]
    #[test]
    fn a_build_without_clusters_takes_none() {
        let settings: KubernetesSettings = toml::from_str("clusters.a.kubeconfig = 'k'").unwrap();
        assert!(settings.check().unwrap_err().contains("no `kubernetes` platform"));
    }
}
