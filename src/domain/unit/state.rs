//! The state of a unit: a fold over its events.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::event::UnitEvent;
use super::held::Held;
use crate::domain::desired::Trigger;
use crate::domain::digest::Digest;
use crate::domain::id::{MoveId, Revision, RollbackId, RolloutId, UnitId};
use crate::domain::plan::HookCall;
use crate::domain::rollout::event::Outcome;
use crate::domain::rollout::state::{IllegalTransition, RolloutState};

/// Everything that is remembered of one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UnitState {
    /// What Git's head asks for; `None` until it was seen first.
    pub candidate: Option<Candidate>,
    /// What is made true.
    pub effective: Option<Effective>,
    /// The last that passed everything.
    pub last_verified: Option<Verified>,
    /// The last that had all traffic, verified or not: where a failure of the next rollout leads back to.
    pub serving: Option<Verified>,
    /// Why the effective state is not the candidate's.
    pub held: Vec<Held>,
    /// The rollout that is under way, or the last one.
    pub rollout: Option<RolloutState>,
    /// What was effective when that rollout began, and the restarts counted then: what it leads to. What is effective now may
    /// already be what comes after it.
    pub target: Option<(Effective, u32)>,
    /// How the last ones ended, the newest last; at most [`HISTORY`].
    pub history: Vec<Past>,
    /// States that are not rolled out again by themselves; at most [`QUARANTINED`].
    pub quarantine: BTreeMap<Digest, Quarantine>,
    /// The candidate whose rollout was called off.
    pub aborted: Option<Digest>,
    /// The rollback that is not yet settled with Git.
    pub rollback: Option<Rollback>,
    /// Automatic rollbacks, for the storm guard; at most [`HISTORY`].
    pub rollbacks: Vec<Timestamp>,
    /// Who suspended it and why, while it is.
    pub suspended: Option<(String, String)>,
    /// The commit at which somebody let held things go on.
    pub acked: Option<Revision>,
    /// How often an operator had all instances replaced.
    pub restarts: u32,
    /// It was taken over by its markers.
    pub adopted: Option<Digest>,
    /// It comes from a backup made then, and nothing was made true since.
    pub restored: Option<Timestamp>,
    /// It was renamed: nothing is done for it any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// The last renaming by which it got what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<MoveId>,
    /// The old name that its workload and its routes still carry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taking: Option<UnitId>,
}

/// A renaming that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moving {
    /// Which.
    pub id: MoveId,
    /// The new name.
    pub to: UnitId,
}

/// How many past rollouts and rollbacks are remembered.
pub const HISTORY: usize = 50;

/// How many states are held in quarantine.
pub const QUARANTINED: usize = 200;

/// What Git's head asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The commit.
    pub revision: Revision,
    /// What.
    pub wants: Wants,
    /// When it was seen first.
    pub seen: Timestamp,
}

/// What a candidate wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Wants {
    /// This to run.
    Run {
        /// The rendered digest.
        rendered: Digest,
        /// The release's version.
        version: String,
    },
    /// Nothing to run.
    Gone {
        /// What runs is removed; otherwise it is kept as it is.
        prune: bool,
    },
}

/// What is made true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// The commit.
    pub revision: Revision,
    /// The rendered digest; `None`: nothing runs.
    pub rendered: Option<Digest>,
}

/// The last that passed everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verified {
    /// The commit.
    pub revision: Revision,
    /// The rendered digest.
    pub rendered: Digest,
    /// The operator's restarts counted in its group's id.
    pub restarts: u32,
    /// When.
    pub at: Timestamp,
    /// Hooks that a rollback from it has to undo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undo: Vec<HookCall>,
    /// What was verified before it: where a rollback from it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<Verified>>,
}

/// A rollout that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Past {
    /// Which.
    pub id: RolloutId,
    /// Its plan.
    pub plan: Digest,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// The commit that it was to make true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// When the version before had all traffic again, where it went back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_back: Option<Timestamp>,
}

/// Why a state is not rolled out again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quarantine {
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// A rollback on its way into Git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollback {
    /// Which.
    pub id: RollbackId,
    /// What failed; `None`: an operator asked for it.
    pub trigger: Option<Trigger>,
    /// Why, for people.
    pub reason: String,
    /// From which rendered digest.
    pub bad: Digest,
    /// The commit that brought it.
    pub bad_revision: Revision,
    /// To which.
    pub good: Digest,
    /// The commit that it stood in.
    pub good_revision: Revision,
    /// When it was decided.
    pub at: Timestamp,
    /// How far it is.
    pub status: RollbackStatus,
    /// When the version that is gone back to had all traffic; `None` until then, and where it never lost any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_back: Option<Timestamp>,
}

/// How far a rollback is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum RollbackStatus {
    /// Nothing stands in Git.
    Decided,
    /// The commit is made but nobody else has it.
    Committed {
        /// It.
        revision: Revision,
    },
    /// The commit is on the branch.
    Pushed {
        /// It.
        revision: Revision,
    },
    /// People must act.
    Held {
        /// Why.
        reason: String,
        /// Where the commit was pushed instead.
        branch: Option<String>,
    },
}

impl UnitState {
    /// The desired state that tells where the unit is: what is made true, or else what served or was verified last.
    pub fn present(&self) -> Option<&Digest> {
        let effective = self.effective.as_ref().and_then(|effective| effective.rendered.as_ref());
        let former = || self.serving.as_ref().or(self.last_verified.as_ref()).map(|verified| &verified.rendered);
        effective.or_else(former)
    }

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
                self.restored = None;
            }
            UnitEvent::HeldChanged { held } => self.held.clone_from(held),
            UnitEvent::RolloutStarted { id, plan, kind, to, fallback } => {
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
                if let Some(reason) = super::moving::hindrance(self) {
                    return illegal("moveBegun", reason);
                }
                self.moving = Some(Moving { id: id.clone(), to: to.clone() });
            }
            UnitEvent::TakenOver { id, from, state } => {
                if super::moving::is_alive(self) {
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

    /// The rollout that is under way.
    pub fn running(&self) -> Option<&RolloutState> {
        self.rollout.as_ref().filter(|rollout| rollout.outcome().is_none())
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
