//! Which artifacts are still needed; what no unit can need any more is removed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::blobs::BlobError;
use super::unit::glance::Glance;
use super::unit::task::Shared;
use super::world::World;
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::hook::{Hook, OnRollback};
use crate::domain::observed::{ObservedUnit, Seen};
use crate::domain::unit::state::{UnitState, Verified, Wants};
use crate::domain::workload::ArtifactRef;
use crate::ports::artifacts::ArtifactError;

/// From the end of a rollout to the look at what it left over: the ends of many are taken together.
const SETTLE: Duration = Duration::from_millis(500);
/// Looked at anyway, should the end of a rollout have been missed.
const REGULAR: Duration = Duration::from_secs(3_600);

/// Why nothing was removed.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// What a unit runs is not known, and it may run from any of them.
    #[error("what {unit} runs is not known: {reason}")]
    Unknown {
        /// Which.
        unit: String,
        /// Why.
        reason: String,
    },
    /// A desired state can't be read, so that it is not known what it needs.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The store of artifacts.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// Removes what is left over, after each rollout and now and then, until stopped.
pub async fn run(world: Arc<World>, shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.left_over.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(REGULAR) => {}
        }
        if let Err(error) = sweep(&world, &shared).await {
            tracing::info!(%error, "all artifacts are kept for now");
        }
    }
}

/// Removes every artifact that no unit needs: not for what is asked for, made true or running, nor for any way back.
///
/// # Errors
///
/// Something about a unit is not known; nothing was removed.
pub async fn sweep(world: &World, shared: &Shared) -> Result<(), SweepError> {
    let mut needed = BTreeSet::new();
    let mut scripts: Vec<ArtifactRef> = Vec::new();
    for unit in shared.registry.all() {
        let glance = unit.glance();
        needed.extend(asked(&glance.state));
        scripts.extend(
            ways_back(&glance.state)
                .flat_map(|verified| &verified.undo)
                .filter_map(|call| call.script())
                .flat_map(of_hook),
        );
        let running = running(&glance).map_err(|reason| SweepError::Unknown { unit: unit.id().to_string(), reason })?;
        needed.extend(running);
    }
    let mut in_use = scripts;
    for digest in &needed {
        in_use.extend(of_desired(world.blobs.desired(digest).await?.as_ref()));
    }
    Ok(world.artifacts.keep_only(&in_use).await?)
}

/// What the unit's journal asks for now, or may lead back to.
fn asked(state: &UnitState) -> impl Iterator<Item = Digest> + '_ {
    let candidate = state.candidate.as_ref().and_then(|candidate| match &candidate.wants {
        Wants::Run { rendered, .. } => Some(rendered),
        Wants::Gone { .. } => None,
    });
    let effective = state.effective.as_ref().and_then(|effective| effective.rendered.as_ref());
    let rollback = state.rollback.iter().flat_map(|rollback| [&rollback.good, &rollback.bad]);
    let back = ways_back(state).map(|verified| &verified.rendered);
    candidate.into_iter().chain(effective).chain(rollback).chain(back).cloned()
}

/// What had all traffic last, what was verified last, and what was before that.
fn ways_back(state: &UnitState) -> impl Iterator<Item = &Verified> {
    let verified = state.last_verified.as_ref();
    let before = verified.and_then(|verified| verified.before.as_deref());
    state.serving.iter().chain(verified).chain(before)
}

/// What the instances that were seen are made from.
fn running(glance: &Glance) -> Result<Vec<Digest>, String> {
    match &glance.observed {
        None => Err("it was not looked at yet".into()),
        Some(ObservedUnit { groups: Seen::Unknown(reason), .. }) => Err(reason.clone()),
        Some(ObservedUnit { groups: Seen::Known(groups), .. }) => {
            Ok(groups.iter().map(|group| group.rendered.clone()).collect())
        }
    }
}

fn of_desired(desired: &DesiredUnit) -> Vec<ArtifactRef> {
    use crate::domain::analysis::Measure;
    let hooks = desired.hooks.before.iter().chain(&desired.hooks.after).flat_map(of_hook);
    let measured = desired.analyses.values().filter_map(|analysis| match &analysis.measure {
        Measure::Script(script) => script.artifact.clone(),
        _ => None,
    });
    desired.workload.artifact().into_iter().cloned().chain(hooks).chain(measured).collect()
}

fn of_hook(hook: &Hook) -> Vec<ArtifactRef> {
    let undo = match &hook.on_rollback {
        OnRollback::Script(script) => script.artifact.clone(),
        OnRollback::Nothing | OnRollback::ForwardOnly => None,
    };
    hook.script.artifact.iter().cloned().chain(undo).collect()
}
