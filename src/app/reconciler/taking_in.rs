//! What a snapshot says of each unit: what it asks for, what it can't tell, and what it asks for no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{ReconcileError, Reconciler};
use crate::app::catalog::Snapshot;
use crate::app::moves::Waiting;
use crate::app::unit::{News, Unit};
use crate::domain::id::{Name, Revision, UnitId};
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::held::HeldReason;
use crate::domain::unit::moving;
use crate::domain::unit::state::{RollbackStatus, UnitState, Wants};

impl Reconciler {
    /// Tells every unit what a snapshot says of it.
    pub(super) async fn take_in(&self, snapshot: Arc<Snapshot>) -> Result<(), ReconcileError> {
        let rewritten = self.shared.installation.state().rewritten.is_some();
        let waiting = self.hand_over(&snapshot).await?;
        let mut taken = self.being_left();
        taken.extend(waiting.values().map(|(to, _)| to.clone()));
        let removed = self.removed(&snapshot, &waiting);
        // What was removed long ago does not count again; what waits to be removed does.
        let going: BTreeSet<_> = removed.iter().filter(|id| self.is_there(id)).cloned().collect();
        let mass = mass_removals(&snapshot, &going, self.shared.settings.removal.percent);
        // Before anything refers to them.
        let secrets: BTreeSet<_> = snapshot.units.values().flat_map(|entry| entry.desired.secret_digests()).collect();
        self.world.secrets.keep(&secrets).await?;
        self.world.platforms.expect(snapshot.units.values().map(|entry| &entry.desired));
        for (id, entry) in &snapshot.units {
            // A name that is not free yet is told nothing, so that nothing is begun under it.
            if taken.contains(id) {
                continue;
            }
            let unit = self.unit(id.clone()).await?;
            let state = unit.glance().state.clone();
            let (rendered, version) = (entry.rendered.clone(), entry.desired.version.clone());
            let wants = Wants::Run { rendered: rendered.clone(), version: version.clone() };
            let candidate = if differs(&state, &wants) {
                self.world.blobs.put_rendered(self.world.epoch, &rendered, &entry.desired).await?;
                Some(UnitEvent::CandidateSeen { revision: snapshot.revision.clone(), rendered, version })
            } else {
                // It was stored before it was written down as the candidate.
                self.world.blobs.know(&rendered, &entry.desired);
                None
            };
            let news = News {
                candidate,
                broken: None,
                needs_ack: rewritten.then_some(HeldReason::HistoryRewritten),
                moving: None,
            };
            unit.see(news, &self.shared.registry).await?;
            self.settle_rollback(&unit, &snapshot.revision).await?;
        }
        for unit in self.shared.registry.all() {
            let id = unit.id();
            if snapshot.units.contains_key(id) || moving::is_blank(&unit.glance().state) {
                continue;
            }
            let key = (id.app.clone(), id.environment.clone());
            let mut news = News::default();
            if let Some(problems) = snapshot.broken.get(&key) {
                news.broken = problems.first().map(ToString::to_string);
            } else if let Some((to, reason)) = waiting.get(id) {
                news.moving = Some((to.clone(), reason.clone()));
            } else if let Some(to) = snapshot.stalled_moves.get(&key) {
                let problem = snapshot.broken.get(to).and_then(|problems| problems.first());
                let problem = problem.map(ToString::to_string).unwrap_or_default();
                news.broken =
                    Some(format!("it was renamed to {} in {}, which can't be rendered: {problem}", to.0, to.1));
            } else if removed.contains(id) {
                let prune = self.prunes(&unit, &snapshot).await?;
                let wants = Wants::Gone { prune };
                news.candidate = differs(&unit.glance().state, &wants)
                    .then(|| UnitEvent::CandidateGone { revision: snapshot.revision.clone(), prune });
                news.needs_ack = match (rewritten, mass.contains(&id.environment)) {
                    (true, _) => Some(HeldReason::HistoryRewritten),
                    // What is kept anyway need not be looked at.
                    (_, true) if prune => Some(HeldReason::MassRemoval),
                    _ => None,
                };
            } else {
                news.broken = Some(
                    "a file of the repository can't be read, so a missing Release may not mean that it was deleted"
                        .into(),
                );
            }
            unit.see(news, &self.shared.registry).await?;
        }
        self.change_view(|view| view.snapshot = Some(snapshot));
        self.world.hub.changed();
        Ok(())
    }

    /// The known units that the snapshot certainly does not ask for any more.
    fn removed(&self, snapshot: &Snapshot, waiting: &Waiting) -> BTreeSet<UnitId> {
        if !snapshot.complete {
            return BTreeSet::new();
        }
        let all = self.shared.registry.all();
        let gone = all.iter().map(|unit| unit.id()).filter(|id| {
            let key = (id.app.clone(), id.environment.clone());
            let asked_for = snapshot.units.contains_key(id) || snapshot.broken.contains_key(&key);
            !asked_for && !snapshot.stalled_moves.contains_key(&key) && !waiting.contains_key(id)
        });
        gone.cloned().collect()
    }

    /// Whether something of a unit is still made true.
    fn is_there(&self, id: &UnitId) -> bool {
        let unit = self.shared.registry.get(id);
        unit.is_some_and(|unit| {
            let glance = unit.glance();
            glance.state.effective.as_ref().is_some_and(|effective| effective.rendered.is_some())
        })
    }

    /// Whether a unit whose documents are gone is removed: as the last document said, and never with its environment.
    async fn prunes(&self, unit: &Unit, snapshot: &Snapshot) -> Result<bool, ReconcileError> {
        let state = unit.glance().state.clone();
        let effective = state.effective.as_ref().and_then(|effective| effective.rendered.clone());
        let candidate = match state.candidate.as_ref().map(|candidate| &candidate.wants) {
            Some(Wants::Run { rendered, .. }) => Some(rendered.clone()),
            // It was told before; the answer stays.
            Some(Wants::Gone { prune }) => return Ok(*prune),
            None => None,
        };
        let Some(last) = candidate.or(effective) else { return Ok(true) };
        let desired = self.world.blobs.desired(&last).await?;
        Ok(desired.prune && snapshot.environments.contains(&unit.id().environment))
    }

    /// A rollback is over when the head asks for the good state again, or for something newer than the bad one.
    async fn settle_rollback(&self, unit: &Unit, revision: &Revision) -> Result<(), ReconcileError> {
        let state = unit.glance().state.clone();
        let Some(rollback) = &state.rollback else { return Ok(()) };
        let Some(Wants::Run { rendered, .. }) = state.candidate.as_ref().map(|candidate| &candidate.wants) else {
            return Ok(());
        };
        // Before its commit exists, only a head that has moved past the bad state ends it. Once it is in the branch's history,
        // a head that asks for the bad state again is somebody's answer to it: the quarantine holds that, and no second
        // revert is made.
        let answered = match &rollback.status {
            RollbackStatus::Pushed { revision: commit } => self.world.source.is_ancestor(commit, revision).await?,
            _ => false,
        };
        if *rendered != rollback.bad || answered {
            let committed = !matches!(rollback.status, RollbackStatus::Decided);
            tracing::info!(unit = %unit.id(), rollback = %rollback.id, committed, "the rollback is settled");
            unit.rollback_settled(revision).await?;
        }
        Ok(())
    }
}

fn differs(state: &UnitState, wants: &Wants) -> bool {
    state.candidate.as_ref().is_none_or(|candidate| candidate.wants != *wants)
}

/// The environments that would lose more than the given share of their units, and more than one.
fn mass_removals(snapshot: &Snapshot, removed: &BTreeSet<UnitId>, percent: u32) -> BTreeSet<Name> {
    let mut counts: BTreeMap<&Name, (usize, usize)> = BTreeMap::new();
    for unit in snapshot.units.keys() {
        counts.entry(&unit.environment).or_default().1 += 1;
    }
    for unit in removed {
        let count = counts.entry(&unit.environment).or_default();
        (count.0, count.1) = (count.0 + 1, count.1 + 1);
    }
    let share = usize::try_from(percent).unwrap_or(100);
    let too_many = counts.into_iter().filter(|(_, (gone, all))| *gone > 1 && gone * 100 > all * share);
    too_many.map(|(environment, _)| environment.clone()).collect()
}
