//! What each event makes of the state of a unit; what cannot have happened is refused.

use jiff::Timestamp;

use super::{
    Candidate, Effective, HISTORY, Moving, Past, QUARANTINED, Quarantine, Rollback, RollbackStatus, UnitState,
    Verified, Wants,
};
use crate::domain::rollout::event::Outcome;
use crate::domain::rollout::state::{IllegalTransition, RolloutState};
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::moving;

impl UnitState {
    /// Counts one event that happened at a time.
    ///
    /// # Errors
    /// The event cannot follow what was before; the state is as it was.
    pub fn apply(&mut self, event: &UnitEvent, at: Timestamp) -> Result<(), IllegalTransition> {
        match event {
            UnitEvent::CandidateSeen { revision, rendered, version } => {
                self.see(Candidate {
                    revision: revision.clone(),
                    wants: Wants::Run { rendered: rendered.clone(), version: version.clone() },
                    seen: at,
                });
            }
            UnitEvent::CandidateGone { revision, prune } => {
                self.see(Candidate { revision: revision.clone(), wants: Wants::Gone { prune: *prune }, seen: at });
            }
            UnitEvent::EffectiveSet { revision, rendered } => {
                self.effective = Some(Effective { revision: revision.clone(), rendered: rendered.clone() });
                if rendered.is_some() && self.last_verified.is_none() {
                    self.begun.clone_from(rendered);
                }
                self.restored = None;
            }
            UnitEvent::HeldChanged { held } => self.held.clone_from(held),
            UnitEvent::RolloutStarted { id, plan, kind, to, fallback, cause } => {
                if let Some(rollout) = self.rollout.as_ref().filter(|rollout| rollout.outcome().is_none()) {
                    return illegal("rolloutStarted", format!("rollout {} has not ended", rollout.id));
                }
                // What leads to something else, the way back or healing, is no second try of what was called off.
                let wants = self.candidate.as_ref().map(|candidate| &candidate.wants);
                if matches!((wants, to), (Some(Wants::Run { rendered, .. }), Some(to)) if rendered == to) {
                    self.aborted = None;
                }
                let effective = self.effective.as_ref().filter(|effective| effective.rendered == *to);
                let mut rollout = RolloutState::new(id.clone(), plan.clone(), *kind, at);
                rollout.revision = effective.map(|effective| effective.revision.clone());
                rollout.fallback.clone_from(fallback);
                rollout.cause.clone_from(cause);
                self.rollout = Some(rollout);
                self.target = self.effective.clone().map(|effective| (effective, self.restarts));
            }
            UnitEvent::Rollout(event) => {
                let Some(rollout) = &mut self.rollout else {
                    return illegal("rollout", "no rollout has been started".into());
                };
                rollout.apply(event, at)?;
                if let Some(rollback) = &mut self.rollback {
                    let back = rollout.traffic_back.filter(|back| *back >= rollback.at);
                    rollback.traffic_back = rollback.traffic_back.or(back);
                }
                self.note_outcome(at);
            }
            UnitEvent::Verified { revision, rendered, restarts, undo } => self.verify(Verified {
                revision: revision.clone(),
                rendered: rendered.clone(),
                restarts: *restarts,
                at,
                undo: undo.clone(),
                before: None,
            }),
            UnitEvent::Removed {} => {
                self.last_verified = None;
                self.serving = None;
                self.begun = None;
                self.adopted = None;
            }
            UnitEvent::Quarantined { rendered, reason } => {
                self.quarantine.insert(rendered.clone(), Quarantine { reason: reason.clone(), at });
                self.bound_quarantine();
            }
            UnitEvent::QuarantineCleared { rendered, .. } => {
                self.quarantine.remove(rendered);
            }
            UnitEvent::RollbackDecided { .. }
            | UnitEvent::RollbackCommitted { .. }
            | UnitEvent::RollbackPushed { .. }
            | UnitEvent::RollbackHeld { .. }
            | UnitEvent::RollbackSettled { .. } => self.apply_rollback(event, at)?,
            UnitEvent::Suspended { by, reason } => {
                self.suspended = Some((by.clone(), reason.clone()));
                if let Some(rollout) = &mut self.rollout {
                    rollout.suspend(at);
                }
            }
            UnitEvent::Unsuspended { .. } => {
                self.suspended = None;
                if let Some(rollout) = &mut self.rollout {
                    rollout.unsuspend(at);
                }
            }
            UnitEvent::Acked { revision, .. } => self.acked = Some(revision.clone()),
            UnitEvent::Adopted { rendered, restarts } => {
                self.adopted = Some(rendered.clone());
                self.restarts = *restarts;
            }
            UnitEvent::Restored { backup } => self.restore(*backup),
            UnitEvent::RestartRequested { .. } => self.restarts = self.restarts.saturating_add(1),
            UnitEvent::Retried { .. } => self.aborted = None,
            UnitEvent::MoveBegun { .. }
            | UnitEvent::TakenOver { .. }
            | UnitEvent::WorkloadTaken {}
            | UnitEvent::MovedAway { .. } => self.apply_move(event)?,
        }
        Ok(())
    }

    fn apply_move(&mut self, event: &UnitEvent) -> Result<(), IllegalTransition> {
        match event {
            UnitEvent::MoveBegun { id, to } => {
                if let Some(reason) = moving::hindrance(self) {
                    return illegal("moveBegun", reason);
                }
                self.moving = Some(Moving { id: id.clone(), to: to.clone() });
            }
            UnitEvent::TakenOver { id, from, state } => {
                if moving::is_alive(self) {
                    return illegal("takenOver", "something runs under the new name already".into());
                }
                *self = state.as_ref().clone();
                self.moving = None;
                self.taken = Some(id.clone());
                self.taking = Some(from.clone());
            }
            UnitEvent::MovedAway { id } => {
                if self.moving.as_ref().is_none_or(|moving| moving.id != *id) {
                    return illegal("movedAway", format!("the renaming {id} has not begun"));
                }
                *self = UnitState::default();
            }
            _ => self.taking = None,
        }
        Ok(())
    }

    /// What a backup tells of the past stays (what was verified, what is quarantined, who suspended it); what it tells of the
    /// present is forgotten.
    fn restore(&mut self, backup: Timestamp) {
        let told = std::mem::take(self);
        *self = UnitState {
            last_verified: told.last_verified,
            history: told.history,
            quarantine: told.quarantine,
            aborted: told.aborted,
            rollbacks: told.rollbacks,
            suspended: told.suspended,
            restarts: told.restarts,
            restored: Some(backup),
            ..UnitState::default()
        };
    }

    /// Forgets the oldest of too many: what Git has not asked for since so many others failed will hardly come again.
    fn bound_quarantine(&mut self) {
        while self.quarantine.len() > QUARANTINED {
            let oldest = self.quarantine.iter().min_by_key(|(_, entry)| entry.at).map(|(digest, _)| digest.clone());
            oldest.and_then(|digest| self.quarantine.remove(&digest));
        }
    }

    fn see(&mut self, mut candidate: Candidate) {
        if let Some(last) = &self.candidate {
            if last.wants == candidate.wants {
                candidate.seen = last.seen;
            } else {
                self.aborted = None;
            }
        }
        self.candidate = Some(candidate);
    }

    fn note_outcome(&mut self, at: Timestamp) {
        let Some(rollout) = &self.rollout else { return };
        let Some(outcome) = rollout.outcome().cloned() else { return };
        let target = self.target.take().or_else(|| Some((self.effective.clone()?, self.restarts)));
        let asked = target.as_ref().and_then(|(target, _)| target.rendered.clone());
        let restart = self.serving.as_ref().filter(|serving| asked.as_ref() == Some(&serving.rendered));
        match (&outcome, restart) {
            // The same version anew: what turned back is over, and does not begin again by itself.
            (Outcome::Aborted { .. } | Outcome::RolledBack(_), Some(serving)) => self.restarts = serving.restarts,
            (Outcome::Aborted { .. }, None) => self.aborted = asked,
            _ => {}
        }
        let took_over = outcome == Outcome::Superseded && rollout.took_over;
        if let (true, Some((Effective { revision, rendered: Some(rendered) }, restarts))) = (took_over, target) {
            self.serving = Some(Verified { revision, rendered, restarts, at, undo: Vec::new(), before: None });
        }
        push_bounded(
            &mut self.history,
            Past {
                id: rollout.id.clone(),
                plan: rollout.plan.clone(),
                began: rollout.began,
                ended: at,
                outcome,
                revision: rollout.revision.clone(),
                traffic_back: rollout.traffic_back,
                cause: rollout.cause.clone(),
            },
        );
    }

    fn verify(&mut self, mut verified: Verified) {
        if let Some(mut last) = self.last_verified.take() {
            if last.rendered == verified.rendered && last.restarts == verified.restarts {
                verified.before = last.before;
                if verified.undo.is_empty() {
                    verified.undo = last.undo;
                }
            } else {
                last.before = None;
                verified.before = Some(Box::new(last));
            }
        }
        self.begun = None;
        self.serving = Some(Verified { before: None, ..verified.clone() });
        self.last_verified = Some(verified);
    }

    fn apply_rollback(&mut self, event: &UnitEvent, at: Timestamp) -> Result<(), IllegalTransition> {
        if let UnitEvent::RollbackDecided { id, trigger, reason, bad, bad_revision, good, good_revision } = event {
            if trigger.is_some() {
                push_bounded(&mut self.rollbacks, at);
            }
            self.rollback = Some(Rollback {
                id: id.clone(),
                trigger: *trigger,
                reason: reason.clone(),
                bad: bad.clone(),
                bad_revision: bad_revision.clone(),
                good: good.clone(),
                good_revision: good_revision.clone(),
                at,
                status: RollbackStatus::Decided,
                traffic_back: None,
            });
            return Ok(());
        }
        let (id, status) = match event {
            UnitEvent::RollbackCommitted { id, revision } => {
                (id, Some(RollbackStatus::Committed { revision: revision.clone() }))
            }
            UnitEvent::RollbackPushed { id, revision } => {
                (id, Some(RollbackStatus::Pushed { revision: revision.clone() }))
            }
            UnitEvent::RollbackHeld { id, reason, branch } => {
                (id, Some(RollbackStatus::Held { reason: reason.clone(), branch: branch.clone() }))
            }
            UnitEvent::RollbackSettled { id, .. } => (id, None),
            _ => return Ok(()),
        };
        match &mut self.rollback {
            Some(rollback) if rollback.id == *id => match status {
                Some(status) => rollback.status = status,
                None => self.rollback = None,
            },
            _ => return illegal("a rollback's event", format!("rollback {id} is not under way")),
        }
        Ok(())
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() >= HISTORY {
        list.remove(0);
    }
    list.push(item);
}

fn illegal(event: &str, state: String) -> Result<(), IllegalTransition> {
    Err(IllegalTransition { event: event.into(), state })
}
