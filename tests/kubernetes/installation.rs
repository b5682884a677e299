//! An installation of trimtab whose one app runs in a namespace of its own.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use trimtab::api::types::UnitStatus;

use super::cluster::Namespace;
use super::documents;
use crate::e2e::bed::Bed;

/// Daemon, supervisor and router, a repository and a namespace.
pub struct Installation {
    /// The processes and the repository. They end before the namespace does.
    pub bed: Bed,
    /// Where its app runs.
    pub namespace: Namespace,
}

impl Installation {
    /// An installation with the documents of one app at version 1 and its manifests, started; `None` where no cluster is up.
    pub fn start(manifests: &[(&str, &str)]) -> Option<Installation> {
        Some(Installation::of("", manifests, Namespace::new()?))
    }

    /// An installation whose app has more settings (`, drift: report`), in a namespace of some cluster.
    pub fn of(more: &str, manifests: &[(&str, &str)], namespace: Namespace) -> Installation {
        let kubeconfig = namespace.kubeconfig().to_owned();
        Installation::through(&kubeconfig, more, manifests, namespace)
    }

    /// An installation whose daemon has more settings (tables of its configuration).
    pub fn configured(settings: &str, manifests: &[(&str, &str)], namespace: Namespace) -> Installation {
        let kubeconfig = namespace.kubeconfig().to_owned();
        Installation::begin(settings, &kubeconfig, "", manifests, namespace)
    }

    /// The same, whose daemon reaches the cluster in another way.
    pub fn through(kubeconfig: &Path, more: &str, manifests: &[(&str, &str)], namespace: Namespace) -> Installation {
        Installation::begin("", kubeconfig, more, manifests, namespace)
    }

    fn begin(
        settings: &str,
        kubeconfig: &Path,
        more: &str,
        manifests: &[(&str, &str)],
        namespace: Namespace,
    ) -> Installation {
        let environment = documents::environment(namespace.name());
        let (app, release) = (documents::app(more), documents::release("1"));
        let mut files = vec![("env.yaml", &*environment), ("app.yaml", &*app), ("release.yaml", &*release)];
        files.extend(manifests);
        let bed = Bed::new(&files);
        // An installation finds what is its own by its name.
        bed.configure("installation = 'e2e'", &format!("installation = '{}'", namespace.name()));
        let clusters =
            format!("{settings}[kubernetes.clusters.default]\nkubeconfig = '{}'\n[router]", kubeconfig.display());
        bed.configure("[router]", &clusters);
        Installation { bed: bed.start(), namespace }
    }
}

impl Deref for Installation {
    type Target = Bed;
    fn deref(&self) -> &Bed {
        &self.bed
    }
}

impl DerefMut for Installation {
    fn deref_mut(&mut self) -> &mut Bed {
        &mut self.bed
    }
}

/// Whether something is told of a unit in words that have all of these.
pub fn tells(status: &UnitStatus, words: &[&str]) -> bool {
    let reasons = status.rollout.as_ref().and_then(|rollout| rollout.summary.reason.as_deref());
    let waits = status.rollout.as_ref().and_then(|rollout| rollout.waits.as_deref());
    let mut texts = vec![status.message.as_str()];
    texts.extend(reasons.into_iter().chain(waits));
    texts.extend(status.held.iter().map(|held| held.message.as_str()));
    texts.iter().any(|text| words.iter().all(|word| text.contains(word)))
}
