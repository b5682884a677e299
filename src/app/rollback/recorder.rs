//! Records decided rollbacks in Git, exactly once over crashes and races.
//!
//! The rollback's id is durable before anything is pushed and stands in the commit. After a crash, and before every push, the
//! branch is searched for it; so one rollback makes one commit. Pushing is compare-and-swap: a lost race composes anew on the
//! new head, where the rollback may turn out to be superseded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::compose::{Case, Composed, compose};
use crate::app::log::LogError;
use crate::app::reconciler::Reconciler;
use crate::app::unit::Unit;
use crate::app::unit::task::Shared;
use crate::app::world::World;
use crate::domain::digest::Digest;
use crate::domain::id::{Revision, RollbackId, UnitId};
use crate::domain::observed::{ObservedUnit, Seen};
use crate::domain::revert::{ROLLBACK_ID, RevertMessage, Reverted, rollback_branch};
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::state::{Rollback, RollbackStatus, UnitState};
use crate::ports::audit::AuditError;
use crate::ports::source::{PushOutcome, Signature, SourceError};

/// How far back the branch is searched for the commit of a rollback.
const SEARCH: usize = 10_000;
/// How many lost races in a row are taken up at once; after them it waits for the next reconcile.
const RACES: u32 = 10;
/// How long it waits before it tries again when Git is down.
const RETRY: Duration = Duration::from_secs(5);
/// The longest that one may take: it fetches, renders and pushes, each with its own, far shorter limit.
const LONGEST: Duration = Duration::from_secs(1_800);
/// How often it looks whether the traffic is back.
const LOOK: Duration = Duration::from_millis(100);

/// Why a rollback is not recorded yet.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the source has not been read yet")]
    NoHead,
}

/// Records rollbacks as they are decided, until stopped.
pub async fn run(world: Arc<World>, shared: Arc<Shared>, reconciler: Arc<Reconciler>) {
    loop {
        let again = turn(&world, &shared, &reconciler).await;
        let timer = async {
            match again {
                Some(delay) => tokio::time::sleep(delay).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.record_rollbacks.notified() => {}
            () = timer => {}
        }
    }
}

/// Records what can be recorded now; how long until that is worth trying again, where nothing tells.
pub async fn turn(world: &World, shared: &Shared, reconciler: &Reconciler) -> Option<Duration> {
    let mut again = None;
    for unit in shared.registry.all() {
        let glance = unit.glance();
        let Some(rollback) = glance.state.rollback.as_ref().filter(|rollback| is_open(rollback)) else { continue };
        if !traffic_is_back(&glance.state, glance.observed.as_ref()) {
            again = Some(LOOK);
            continue;
        }
        let _doing = world.turns.progress.begin(format!("recording the rollback of {}", unit.id()), LONGEST);
        if let Err(error) = record(world, shared, reconciler, &unit, rollback).await {
            tracing::warn!(unit = %unit.id(), rollback = %rollback.id, %error, "the revert is not recorded yet");
            again = again.or(Some(RETRY));
        }
    }
    again
}

/// Whether there is still something to do in Git. What could not be recorded is tried again whenever something changed: what it
/// shared with others may have gone back there too, or the branch may take it now.
fn is_open(rollback: &Rollback) -> bool {
    matches!(
        rollback.status,
        RollbackStatus::Decided | RollbackStatus::Committed { .. } | RollbackStatus::Held { branch: None, .. }
    )
}

/// What is made true for every unit now.
fn effective(shared: &Shared) -> BTreeMap<UnitId, Digest> {
    let all = shared.registry.all();
    let known = all.iter().filter_map(|unit| {
        let rendered = unit.glance().state.effective.as_ref()?.rendered.clone()?;
        Some((unit.id().clone(), rendered))
    });
    known.collect()
}

/// The units that have yet to pass what is made true for them.
fn undecided(shared: &Shared) -> BTreeSet<UnitId> {
    let all = shared.registry.all();
    let open = all.iter().filter(|unit| {
        let state = &unit.glance().state;
        let verified = state.last_verified.as_ref().map(|verified| &verified.rendered);
        state.effective.as_ref().and_then(|effective| effective.rendered.as_ref()) != verified
    });
    open.map(|unit| unit.id().clone()).collect()
}

/// Traffic first: nothing that is being left has a share any more.
fn traffic_is_back(state: &UnitState, observed: Option<&ObservedUnit>) -> bool {
    let Some(rollback) = &state.rollback else { return false };
    let Some(ObservedUnit { groups: Seen::Known(groups), traffic: Seen::Known(traffic), .. }) = observed else {
        return false;
    };
    let Some(traffic) = traffic else { return true };
    groups
        .iter()
        .filter(|group| group.rendered == rollback.bad)
        .all(|group| traffic.backends.get(&group.group).is_none_or(|backend| backend.weight == 0))
}

async fn record(
    world: &World,
    shared: &Shared,
    reconciler: &Reconciler,
    unit: &Unit,
    rollback: &Rollback,
) -> Result<(), RecordError> {
    if !shared.settings.rollback.push {
        let reason = "recording rollbacks is switched off ([rollback] push = false): revert by hand".to_owned();
        return hold(unit, &rollback.id, reason, None).await;
    }
    for _ in 0..RACES {
        // The newest head, so that a commit which is there already is found and a newer one is respected.
        reconciler.pass().await.map_err(|error| match error {
            crate::app::reconciler::ReconcileError::Source(error) => RecordError::Source(error),
            crate::app::reconciler::ReconcileError::Log(error) => RecordError::Log(error),
            crate::app::reconciler::ReconcileError::Audit(error) => RecordError::Audit(error),
            crate::app::reconciler::ReconcileError::Blob(_) | crate::app::reconciler::ReconcileError::Secret(_) => {
                RecordError::NoHead
            }
        })?;
        let still = unit.glance().state.rollback.as_ref().is_some_and(|open| open.id == rollback.id && is_open(open));
        if !still {
            return Ok(());
        }
        let head = reconciler.view().snapshot.ok_or(RecordError::NoHead)?;
        if let Some(commit) = world.source.find_trailer(&head.revision, ROLLBACK_ID, &rollback.id.0, SEARCH).await? {
            pushed(unit, &rollback.id, &commit).await?;
            // Whatever the head asks for now, it was written with the revert before it.
            return Ok(unit.rollback_settled(&head.revision).await?);
        }
        let case = Case {
            unit: unit.id().clone(),
            bad: rollback.bad.clone(),
            good: rollback.good.clone(),
            good_revision: rollback.good_revision.clone(),
            effective: effective(shared),
            undecided: undecided(shared),
        };
        let author = Signature {
            name: shared.settings.source.author.clone(),
            email: shared.settings.source.email.clone(),
            time: rollback.at,
        };
        let message = |reverted: &Reverted<'_>| {
            RevertMessage {
                id: &rollback.id,
                app: &unit.id().app,
                environment: &unit.id().environment,
                reverts: &rollback.bad_revision,
                restores: &rollback.good_revision,
                why: &rollback.reason,
                reverted: *reverted,
            }
            .text()
        };
        match compose(world, reconciler.catalog(), &head, &case, &author, &message).await? {
            Composed::Superseded { .. } => {
                unit.rollback_settled(&head.revision).await?;
                return Ok(());
            }
            Composed::Shared { reason } => return hold(unit, &rollback.id, reason, None).await,
            Composed::Commit { commit, restored } => {
                tracing::info!(unit = %unit.id(), %commit, ?restored, "pushing the revert");
                let event = UnitEvent::RollbackCommitted { id: rollback.id.clone(), revision: commit.clone() };
                unit.record_rollback(&rollback.id, event).await?;
                let branch = &shared.settings.source.branch;
                match world.source.push(&commit, branch, Some(&head.revision)).await? {
                    PushOutcome::Pushed => return pushed_and_seen(reconciler, unit, &rollback.id, &commit).await,
                    PushOutcome::Lost => {}
                    PushOutcome::Refused(reason) => return to_branch(world, unit, &rollback.id, &commit, reason).await,
                }
            }
        }
    }
    Err(RecordError::NoHead)
}

async fn pushed(unit: &Unit, id: &RollbackId, commit: &Revision) -> Result<(), RecordError> {
    let event = UnitEvent::RollbackPushed { id: id.clone(), revision: commit.clone() };
    Ok(unit.record_rollback(id, event).await?)
}

/// The commit is on the branch: writes it down, then lets it come back as any other push, to be adopted.
async fn pushed_and_seen(
    reconciler: &Reconciler,
    unit: &Unit,
    id: &RollbackId,
    commit: &Revision,
) -> Result<(), RecordError> {
    pushed(unit, id, commit).await?;
    reconciler.mark_due();
    Ok(())
}

/// The branch does not take it: a branch of its own does, and the unit holds until people merge it.
async fn to_branch(
    world: &World,
    unit: &Unit,
    id: &RollbackId,
    commit: &Revision,
    refused: String,
) -> Result<(), RecordError> {
    let branch = rollback_branch(id);
    // A second attempt on a newer head leaves what was pushed before: the branch is ours by its name, and people may have built on it.
    let there = world.source.remote_branch(&branch).await?;
    let outcome = match there {
        Some(_) => PushOutcome::Pushed,
        None => world.source.push(commit, &branch, None).await?,
    };
    match outcome {
        PushOutcome::Pushed => hold(unit, id, refused, Some(branch)).await,
        PushOutcome::Lost => Err(RecordError::NoHead),
        PushOutcome::Refused(again) => {
            let reason = format!("the branch refuses the revert ({refused}), and so does {branch} ({again})");
            hold(unit, id, reason, None).await
        }
    }
}

async fn hold(unit: &Unit, id: &RollbackId, reason: String, branch: Option<String>) -> Result<(), RecordError> {
    let status = RollbackStatus::Held { reason: reason.clone(), branch: branch.clone() };
    if unit.glance().state.rollback.as_ref().is_some_and(|rollback| rollback.status == status) {
        return Ok(());
    }
    tracing::warn!(unit = %unit.id(), rollback = %id, reason, branch, "the rollback waits for people");
    let event = UnitEvent::RollbackHeld { id: id.clone(), reason, branch };
    Ok(unit.record_rollback(id, event).await?)
}
