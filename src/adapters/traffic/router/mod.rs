//! `trimtab router`: one or several of them as the data planes of one target, spoken to over their Unix sockets.
//!
//! What each plane confirmed last is kept, so that looking at an unchanged route asks nothing. It is read anew after each
//! effect, while instances drain, and when a plane was restarted, which one small question every two seconds notices.

mod measure;
mod plane;
mod route;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::domain::{
    action::Which,
    desired::DesiredUnit,
    digest::Digest,
    id::{Epoch, UnitId},
    observed::{ObservedTraffic, Seen},
};
use crate::ports::traffic::{Counters, SetTraffic, Traffic, TrafficError};
use crate::protocol::router::RouteStatus;

use plane::Plane;

/// The data planes of one target.
#[derive(Debug)]
pub struct RouterTraffic {
    installation: String,
    planes: Vec<Arc<Plane>>,
    changes: watch::Sender<u64>,
    watchers: Vec<JoinHandle<()>>,
}

impl RouterTraffic {
    /// The routers behind these sockets, for one installation. Starts watching them, which needs a runtime; they need not be
    /// there yet.
    pub fn new(sockets: impl IntoIterator<Item = PathBuf>, installation: impl Into<String>) -> Self {
        let changes = watch::Sender::new(0);
        let planes: Vec<_> = sockets.into_iter().map(|socket| Arc::new(Plane::new(socket))).collect();
        let watchers = planes.iter().map(|plane| tokio::spawn(Arc::clone(plane).watch(changes.clone()))).collect();
        RouterTraffic { installation: installation.into(), planes, changes, watchers }
    }

    /// The route as each plane has it, in the planes' order; `Unknown` when one can't tell.
    async fn statuses(&self, key: &str) -> Seen<Vec<Option<Arc<RouteStatus>>>> {
        let mut statuses = Vec::with_capacity(self.planes.len());
        for answer in join_all(self.planes.iter().map(|plane| plane.route(key))).await {
            match answer {
                Seen::Known(status) => statuses.push(status),
                Seen::Unknown(reason) => return Seen::Unknown(reason),
            }
        }
        Seen::Known(statuses)
    }

    /// The key of a unit's route, the same on all planes: the one that it has, under whatever name it was made, or a free one.
    async fn key_of(&self, unit: &UnitId, kind: Which) -> String {
        let plain = route::key(unit, kind);
        for plane in &self.planes {
            if let Seen::Known(Some(status)) = plane.route(&plain).await
                && route::is_of(&status.route, unit, kind)
            {
                return plain;
            }
        }
        for plane in &self.planes {
            if let Some(status) = plane.find(|config| route::is_of(config, unit, kind)).await.first() {
                return status.route.key.clone();
            }
        }
        let mut taken = Vec::new();
        for plane in &self.planes {
            taken.extend(plane.find(|config| config.key.starts_with(&unit.to_string())).await);
        }
        if taken.is_empty() {
            return plain;
        }
        route::free_key(unit, kind, |key| taken.iter().any(|status| status.route.key == key))
    }

    fn no_planes(&self) -> TrafficError {
        TrafficError::Refused {
            plane: "the router".into(),
            reason: "no router is configured for this target; name its socket in the daemon's configuration".into(),
        }
    }
}

impl Drop for RouterTraffic {
    fn drop(&mut self) {
        for watcher in &self.watchers {
            watcher.abort();
        }
    }
}

#[async_trait]
impl Traffic for RouterTraffic {
    async fn observe(&self, unit: &UnitId, kind: Which) -> Seen<Option<ObservedTraffic>> {
        let statuses = match self.statuses(&self.key_of(unit, kind).await).await {
            Seen::Known(statuses) => statuses,
            Seen::Unknown(reason) => return Seen::Unknown(reason),
        };
        let mut all = self.planes.iter().zip(&statuses);
        let Some((first_plane, first)) = all.next() else { return Seen::Known(None) };
        for (plane, status) in all {
            if status.as_ref().map(|status| &status.route) != first.as_ref().map(|status| &status.route) {
                return Seen::Unknown(format!(
                    "{} and {} have different settings for {unit}",
                    first_plane.name(),
                    plane.name()
                ));
            }
        }
        let mut observed: Option<ObservedTraffic> = None;
        for status in statuses.iter().flatten() {
            if status.route.markers.installation != self.installation {
                let other = &status.route.markers.installation;
                return Seen::Unknown(format!("the route of {unit} belongs to another installation, {other:?}"));
            }
            match &mut observed {
                None => observed = Some(route::observed(status)),
                Some(observed) => route::add_draining(&mut observed.draining, status),
            }
        }
        Seen::Known(observed)
    }

    fn settings(&self, desired: &DesiredUnit, kind: Which) -> Digest {
        route::settings_of(desired, kind)
    }

    async fn set(&self, epoch: Epoch, request: &SetTraffic) -> Result<(), TrafficError> {
        if self.planes.is_empty() {
            return Err(self.no_planes());
        }
        let key = self.key_of(&request.desired.unit, request.kind).await;
        let config = route::config(request, key, &self.installation)
            .map_err(|reason| TrafficError::Refused { plane: self.planes[0].name(), reason })?;
        let results = join_all(self.planes.iter().map(|plane| plane.set(epoch, &config))).await;
        results.into_iter().collect()
    }

    async fn take_over(&self, epoch: Epoch, from: &UnitId, to: &UnitId, kind: Which) -> Result<(), TrafficError> {
        for plane in &self.planes {
            if let Seen::Unknown(reason) = plane.route(&route::key(from, kind)).await {
                return Err(TrafficError::Unreachable { plane: plane.name(), reason });
            }
            for status in plane.find(|config| route::is_of(config, from, kind)).await {
                if status.route.markers.installation == self.installation {
                    let mut config = status.route.clone();
                    config.markers.unit = to.clone();
                    plane.set(epoch, &config).await?;
                }
            }
        }
        Ok(())
    }

    async fn remove(&self, epoch: Epoch, unit: &UnitId, kind: Which) -> Result<(), TrafficError> {
        let key = self.key_of(unit, kind).await;
        let results = join_all(self.planes.iter().map(|plane| plane.remove(epoch, &key))).await;
        results.into_iter().collect()
    }

    async fn counters(&self, unit: &UnitId) -> Seen<Counters> {
        let key = self.key_of(unit, Which::Main).await;
        let answers = join_all(self.planes.iter().map(|plane| plane.fresh(&key))).await;
        let mut statuses = BTreeMap::new();
        for (plane, answer) in self.planes.iter().zip(answers) {
            match answer {
                Seen::Known(Some(status)) => statuses.insert(plane.name(), status),
                Seen::Known(None) => {
                    return Seen::Unknown(format!("{} has no route of {unit}", plane.name()));
                }
                Seen::Unknown(reason) => return Seen::Unknown(reason),
            };
        }
        measure::sum(&statuses)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn check(&self) -> Result<Vec<String>, TrafficError> {
        let mut limitations = Vec::new();
        for plane in &self.planes {
            limitations.extend(plane.hello().await?.limitations);
        }
        Ok(limitations)
    }

    async fn epoch(&self) -> Result<Epoch, TrafficError> {
        let mut highest = None;
        for answer in join_all(self.planes.iter().map(|plane| plane.hello())).await {
            highest = match (highest, answer) {
                (Some(Ok(known)), Ok(hello)) => Some(Ok(hello.epoch.max(known))),
                // One that answers is worth more than one that does not.
                (Some(Ok(known)), Err(_)) => Some(Ok(known)),
                (_, answer) => Some(answer.map(|hello| hello.epoch)),
            };
        }
        highest.unwrap_or(Ok(Epoch(0)))
    }
}
