//! The platform connections of an installation, and which of them a unit belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;

use crate::domain::desired::DesiredUnit;
use crate::domain::id::{Epoch, Name, UnitId};
use crate::domain::workload::Place;
use crate::ports::platform::{Platform, PlatformError};

/// This machine, and the clusters that the daemon's configuration names. One that can't be reached holds up its own units only.
#[derive(Clone)]
pub struct Platforms {
    host: Arc<dyn Platform>,
    clusters: BTreeMap<Name, Arc<dyn Platform>>,
}

impl Platforms {
    /// This machine, and these clusters.
    pub fn new(host: Arc<dyn Platform>, clusters: BTreeMap<Name, Arc<dyn Platform>>) -> Self {
        Platforms { host, clusters }
    }

    /// This machine: what runs scripts for every unit, wherever it runs itself.
    pub fn host(&self) -> &dyn Platform {
        self.host.as_ref()
    }

    /// The connection to a place.
    ///
    /// # Errors
    ///
    /// The daemon's configuration does not name it.
    pub fn at(&self, place: &Place) -> Result<&dyn Platform, PlatformError> {
        let cluster = match place {
            Place::Host => return Ok(self.host()),
            Place::Cluster(cluster) => cluster,
        };
        let found = self.clusters.get(cluster).map(AsRef::as_ref);
        found.ok_or_else(|| PlatformError::Refused {
            platform: place.to_string(),
            reason: format!("the daemon does not know it: add [kubernetes.clusters.{cluster}] to its configuration"),
        })
    }

    /// The clusters by name.
    pub fn clusters(&self) -> impl Iterator<Item = (&Name, &dyn Platform)> {
        self.clusters.iter().map(|(name, platform)| (name, platform.as_ref()))
    }

    /// Tells each cluster what Git's head asks for there.
    pub fn expect<'a>(&self, all: impl Iterator<Item = &'a Arc<DesiredUnit>> + Clone) {
        for (name, cluster) in &self.clusters {
            let place = Place::Cluster(name.clone());
            let here: Vec<Arc<DesiredUnit>> =
                all.clone().filter(|desired| desired.workload.place() == place).cloned().collect();
            cluster.expects(&here);
        }
    }

    /// The units that may have changed on one of [`Platforms::changes`], where the connection can tell.
    pub fn changed_units(&self, connection: usize) -> Option<BTreeSet<UnitId>> {
        self.clusters.values().nth(connection.checked_sub(1)?)?.changed_units()
    }

    /// The units that may be tried again at once on one of [`Platforms::changes`].
    pub fn eased_units(&self, connection: usize) -> BTreeSet<UnitId> {
        let cluster = connection.checked_sub(1).and_then(|number| self.clusters.values().nth(number));
        cluster.map(|cluster| cluster.eased_units()).unwrap_or_default()
    }

    /// The highest epoch that any connection has seen; who does not answer is not waited for.
    pub async fn epoch(&self) -> Epoch {
        let all = std::iter::once(&self.host).chain(self.clusters.values());
        let seen = join_all(all.map(|platform| platform.epoch())).await;
        seen.into_iter().filter_map(Result::ok).max().unwrap_or_default()
    }

    /// What tells of changes, of each connection.
    pub fn changes(&self) -> Vec<watch::Receiver<u64>> {
        std::iter::once(&self.host).chain(self.clusters.values()).map(|platform| platform.changes()).collect()
    }
}

impl From<Arc<dyn Platform>> for Platforms {
    /// This machine alone.
    fn from(host: Arc<dyn Platform>) -> Self {
        Platforms::new(host, BTreeMap::new())
    }
}
