//! Doing: one action of a plan, through the ports.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::blobs::BlobError;
use super::world::World;
use crate::domain::action::{Action, TrafficSet, Which};
use crate::domain::desired::DesiredUnit;
use crate::domain::id::{GroupId, UnitId};
use crate::domain::plan::GroupSource;
use crate::domain::secret::SecretRef;
use crate::domain::workload::{ArtifactRef, Place, Workload};
use crate::ports::artifacts::ArtifactError;
use crate::ports::platform::{EnsureGroup, PlatformError};
use crate::ports::secrets::SecretError;
use crate::ports::traffic::{SetTraffic, Traffic, TrafficError};
use crate::secrets::SecretBytes;
use crate::secrets::value::SecretValues;

/// Why an action was not performed.
#[derive(Debug, thiserror::Error)]
pub enum PerformError {
    /// A stored input is missing.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The artifact is not there.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A secret can't be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The platform did not do it.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A data plane did not do it.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
}

impl PerformError {
    /// Another daemon has taken over: this one must stop.
    pub fn is_stale(&self) -> bool {
        matches!(
            self,
            PerformError::Platform(PlatformError::Stale { .. }) | PerformError::Traffic(TrafficError::Stale { .. })
        )
    }

    /// What was to be done is wrong in itself: waiting changes nothing.
    pub fn is_for_good(&self) -> bool {
        matches!(self, PerformError::Platform(PlatformError::Wrong { .. }))
    }
}

/// Performs an action on a unit and where it is; done and durable on the other side when this returns. Repeating it is harmless.
pub async fn perform(world: &World, unit: &UnitId, place: &Place, action: &Action) -> Result<(), PerformError> {
    match action {
        Action::EnsureGroup { group, source, replicas } => {
            let desired = world.blobs.desired(&source.rendered).await?;
            let artifact = artifact(world, unit, &desired).await?;
            // A supervisor keeps the values of a group that it has; a cluster is given all objects anew.
            let kept = matches!(desired.workload, Workload::Process(_)) && holds(world, unit, group).await;
            let secrets = match kept {
                true => SecretValues::new(),
                false => open(world, desired.workload.secrets()).await?,
            };
            let request = EnsureGroup {
                secrets,
                rendered: source.rendered.clone(),
                group: group.clone(),
                restarts: source.restarts,
                replicas: *replicas,
                desired: desired.as_ref().clone(),
                artifact,
            };
            Ok(world.platforms.at(&desired.workload.place())?.ensure_group(world.epoch, &request).await?)
        }
        Action::RetireGroup { group } => Ok(world.platforms.at(place)?.retire_group(world.epoch, unit, group).await?),
        Action::SetTraffic { which, traffic } => set_traffic(world, *which, traffic).await,
        Action::RemoveTraffic { which } => Ok(data_planes(world, place)?.remove(world.epoch, unit, *which).await?),
    }
}

/// What carries the requests at a place.
fn data_planes<'w>(world: &'w World, place: &Place) -> Result<&'w dyn Traffic, PerformError> {
    if *place == Place::Host {
        return Ok(world.traffic.as_ref());
    }
    let own = world.platforms.at(place)?.traffic();
    let none = || PlatformError::Refused { platform: place.to_string(), reason: "it has no data planes".into() };
    own.ok_or_else(|| none().into())
}

/// Fetches what a group is made from before anything of a rollout starts, so that a missing artifact stops nothing half-way.
pub async fn prefetch(world: &World, unit: &UnitId, source: &GroupSource) -> Result<(), PerformError> {
    let desired = world.blobs.desired(&source.rendered).await?;
    artifact(world, unit, &desired).await?;
    // Opened and dropped again: what can't be decrypted stops a rollout before its first step.
    for (name, secret) in desired.secrets() {
        open_one(world, name, secret).await?;
    }
    Ok(())
}

/// Whether the supervisor has the group, and with it the values of its secrets.
async fn holds(world: &World, unit: &UnitId, group: &GroupId) -> bool {
    let observed = world.platforms.host().observe(unit).await;
    observed.known().is_some_and(|groups| groups.iter().any(|known| known.group == *group && !known.retiring))
}

/// The values of secrets, right before they go to a platform.
pub async fn open(world: &World, secrets: &BTreeMap<String, SecretRef>) -> Result<SecretValues, SecretError> {
    let mut values = SecretValues::new();
    for (name, secret) in secrets {
        values.insert(name.clone(), open_one(world, name, secret).await?);
    }
    Ok(values)
}

async fn open_one(world: &World, name: &str, secret: &SecretRef) -> Result<SecretBytes, SecretError> {
    match &secret.digest {
        Some(digest) => world.secrets.open(digest).await,
        None => Err(SecretError::Unknown { name: name.to_owned() }),
    }
}

async fn artifact(world: &World, unit: &UnitId, desired: &DesiredUnit) -> Result<Option<PathBuf>, ArtifactError> {
    fetched(world, unit, desired.workload.artifact()).await
}

/// The folder of an artifact, where there is one, within a step of a unit.
pub async fn fetched(
    world: &World,
    unit: &UnitId,
    artifact: Option<&ArtifactRef>,
) -> Result<Option<PathBuf>, ArtifactError> {
    match artifact {
        Some(_) => world.turns.fetch(unit, optional(world, artifact)).await,
        None => Ok(None),
    }
}

/// The folder of an artifact, where there is one.
pub async fn optional(world: &World, artifact: Option<&ArtifactRef>) -> Result<Option<PathBuf>, ArtifactError> {
    match artifact {
        Some(artifact) => world.artifacts.ensure(artifact).await.map(Some),
        None => Ok(None),
    }
}

async fn set_traffic(world: &World, which: Which, traffic: &TrafficSet) -> Result<(), PerformError> {
    let desired = world.blobs.desired(&traffic.route).await?;
    let request = SetTraffic {
        rendered: traffic.route.clone(),
        desired: desired.as_ref().clone(),
        kind: which,
        hold: traffic.hold,
        backends: traffic.backends.clone(),
    };
    let place = desired.workload.place();
    Ok(data_planes(world, &place)?.set(world.epoch, &request).await?)
}
