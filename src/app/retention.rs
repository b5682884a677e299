//! What is removed so that the state stays small: events that snapshots stand for, and stored inputs that nobody needs.
//!
//! Never removed: what a unit's [pins] name, that is what is asked for, effective, verified, quarantined or going back,
//! the plans of its last rollouts, and everything of a rollout under way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::blobs::BlobError;
use super::config::RetentionSettings;
use super::log::LogError;
use super::unit::task::Shared;
use super::unit_log;
use super::world::World;
use crate::domain::desired::RENDERED;
use crate::domain::digest::Digest;
use crate::domain::observed::Seen;
use crate::domain::unit::pins::{pins, pins_of_plan};
use crate::ports::journal::JournalError;
use crate::ports::secrets::SecretError;

/// From the start to the first look: a start has better things to do.
const FIRST: Duration = Duration::from_secs(60);
/// From one look to the next.
const EVERY: Duration = Duration::from_secs(600);

/// What one look removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Events.
    pub events: u64,
    /// Desired states and plans.
    pub blobs: u64,
}

/// Why not everything that could go is gone.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The stored inputs.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The ciphertexts.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A snapshot.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Removes what may go, from time to time, until stopped.
pub async fn run(world: Arc<World>, shared: Arc<Shared>) {
    let mut wait = FIRST;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        match look(&world, &shared).await {
            Ok(removed) if removed == Removed::default() => {}
            Ok(Removed { events, blobs }) => tracing::info!(events, blobs, "removed what is no longer needed"),
            Err(error) => tracing::warn!(%error, "what is no longer needed stays for now"),
        }
        wait = EVERY;
    }
}

/// One look.
///
/// # Errors
///
/// The journal failed; what went until then is gone, and the rest goes with the next look.
pub async fn look(world: &World, shared: &Shared) -> Result<Removed, RetentionError> {
    for unit in shared.registry.all() {
        unit.snapshot().await;
    }
    shared.installation.snapshot().await;
    let events = remove_events(world, &shared.settings.retention).await?;
    let blobs = match needed(world, shared).await? {
        Some(needed) => {
            forget_secrets(world, &needed).await?;
            world.blobs.sweep(world.epoch, &needed).await?
        }
        None => 0,
    };
    Ok(Removed { events, blobs })
}

/// Forgets the ciphertexts that no desired state needs. One that can't be read may need any.
async fn forget_secrets(world: &World, needed: &BTreeSet<Digest>) -> Result<(), RetentionError> {
    let mut secrets = BTreeSet::new();
    for digest in needed.iter().filter(|digest| digest.as_str().starts_with(&format!("{RENDERED}:"))) {
        match world.blobs.desired(digest).await {
            Ok(desired) => secrets.extend(desired.secret_digests()),
            Err(BlobError::Missing { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(world.secrets.keep_only(&secrets).await?)
}

/// Removes the events that are neither new nor among the newest.
async fn remove_events(world: &World, settings: &RetentionSettings) -> Result<u64, JournalError> {
    let since = world.now().checked_sub(settings.age.duration()).unwrap_or(Timestamp::MIN);
    let mut count = 0;
    loop {
        match world.journal.remove_records(world.epoch, settings.events, since).await? {
            0 => return Ok(count),
            removed => count += removed,
        }
    }
}

/// What some unit needs; `None` where that can't be told.
async fn needed(world: &World, shared: &Shared) -> Result<Option<BTreeSet<Digest>>, RetentionError> {
    let mut needed = BTreeSet::new();
    let units = shared.registry.all();
    for unit in &units {
        let glance = unit.glance();
        if glance.state.moving.is_some() || glance.state.taking.is_some() {
            // What runs still names what the old name was made from.
            return Ok(None);
        }
        needed.extend(pins(&glance.state));
        if let Some(rollout) = glance.state.running() {
            needed.extend(pins_of_plan(&world.blobs.plan(&rollout.plan).await?));
        }
        if let Some(Seen::Known(groups)) = glance.observed.as_ref().map(|observed| &observed.groups) {
            needed.extend(groups.iter().map(|group| group.rendered.clone()));
        }
    }
    // A stream that no unit was made from may need anything.
    let streams = world.journal.streams(unit_log::PREFIX).await?;
    let known: BTreeSet<String> = units.iter().map(|unit| unit_log::stream(unit.id())).collect();
    Ok(streams.keys().all(|stream| known.contains(stream)).then_some(needed))
}
