//! What operators ask of a unit. Each is one record with who asked; the actor does the rest.

use uuid::Uuid;

use super::task::Shared;
use super::{Inner, Unit};
use crate::api::operations::Caller;
use crate::api::operations::problem;
use crate::api::types::{Problem, UnitCommand};
use crate::app::log::LogError;
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{Revision, RollbackId};
use crate::domain::rollout::command::Command;
use crate::domain::rollout::event::RolloutEvent;
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::state::UnitState;
use http::StatusCode;

impl Unit {
    /// Carries out a command; durable when this returns. Answers what was done, for people.
    ///
    /// # Errors
    ///
    /// It makes no sense now (`illegal`), or it can't be recorded.
    pub async fn command(&self, shared: &Shared, caller: &Caller, command: UnitCommand) -> Result<String, Problem> {
        let mut inner = self.lock().await;
        let by = caller.0.clone();
        let (events, message) = match command {
            UnitCommand::Promote { full } => self.rollout(&inner, Command::Promote { full }, &by).await?,
            UnitCommand::Pause {} => self.rollout(&inner, Command::Pause, &by).await?,
            UnitCommand::Resume {} => self.rollout(&inner, Command::Resume, &by).await?,
            UnitCommand::Abort {} => self.rollout(&inner, Command::Abort { reason: String::new() }, &by).await?,
            UnitCommand::Retry {} => self.retry(&inner, &by).await?,
            UnitCommand::Restart {} => restart(inner.log.state(), by)?,
            UnitCommand::Rollback { .. } => return Err(illegal("a rollback is asked for through the environment")),
            UnitCommand::Suspend {} => {
                if inner.log.state().suspended.is_some() {
                    return Err(illegal(format!("{} is suspended already", self.id)));
                }
                (vec![UnitEvent::Suspended { by, reason: String::new() }], format!("{} is suspended", self.id))
            }
            UnitCommand::Unsuspend {} => {
                if inner.log.state().suspended.is_none() {
                    return Err(illegal(format!("{} is not suspended", self.id)));
                }
                (vec![UnitEvent::Unsuspended { by }], format!("{} goes on", self.id))
            }
        };
        tracing::info!(unit = %self.id, by = caller.0, "{message}");
        self.append(&mut inner, &events).await.map_err(|error| failed(&error))?;
        self.wake();
        shared.registry.wake_dependents(&self.id);
        Ok(message)
    }

    /// Decides a rollback that somebody asked for: what runs is left, and quarantined so that it does not come back by itself.
    ///
    /// # Errors
    ///
    /// There is nothing to go back to, or it can't be recorded.
    pub async fn roll_back(
        &self,
        shared: &Shared,
        caller: &Caller,
        to: Option<(Revision, std::sync::Arc<DesiredUnit>)>,
    ) -> Result<String, Problem> {
        let mut inner = self.lock().await;
        let state = inner.log.state();
        let Some((bad, bad_revision)) = leaving(state) else {
            return Err(illegal(format!("nothing runs for {}", self.id)));
        };
        let (good, good_revision, version) = match to {
            Some((revision, desired)) => {
                let kept = self.world.secrets.keep(&desired.secret_digests()).await;
                kept.map_err(|error| unavailable(&error))?;
                let digest = self.world.blobs.put_desired(self.world.epoch, &desired).await;
                let told = format!("{} of {}, as was asked for", desired.version, short(&revision));
                (digest.map_err(|error| unavailable(&error))?, revision, told)
            }
            None => self.way_back(state, &bad).await?,
        };
        if good == bad {
            return Err(illegal(format!("{} is at that state already", self.id)));
        }
        let id = RollbackId(Uuid::now_v7().to_string());
        let reason = format!("{} asked for it", caller.0);
        let mut events = vec![
            UnitEvent::Quarantined { rendered: bad.clone(), reason: format!("rolled back: {reason}") },
            UnitEvent::RollbackDecided {
                id,
                trigger: None,
                reason,
                bad,
                bad_revision,
                good: good.clone(),
                good_revision: good_revision.clone(),
            },
            UnitEvent::EffectiveSet { revision: good_revision, rendered: Some(good.clone()) },
        ];
        if state.quarantine.contains_key(&good) {
            events.push(UnitEvent::QuarantineCleared { rendered: good, by: caller.0.clone() });
        }
        self.append(&mut inner, &events).await.map_err(|error| failed(&error))?;
        drop(inner);
        self.wake();
        shared.record_rollbacks.notify_one();
        Ok(format!("{} goes back to {version}", self.id))
    }

    /// The last verified state that is not what is being left and that nothing was found against since; and its version, with why it
    /// is this one.
    async fn way_back(&self, state: &UnitState, bad: &Digest) -> Result<(Digest, Revision, String), Problem> {
        let under_way = state.rollback.as_ref().filter(|rollback| state.running().is_some() && rollback.good == *bad);
        if let Some(rollback) = under_way {
            let to = self.version_of(&rollback.good).await;
            return Err(illegal(format!(
                "{} goes back to {to} already: name a commit with --to to go elsewhere",
                self.id
            )));
        }
        let Some(good) = state.way_back(bad) else {
            let held = state.verified().filter(|verified| verified.rendered != *bad).count();
            let why = match held {
                0 => "no verified state before this one is known".to_owned(),
                _ => format!(
                    "nothing verified before this one is left to go back to: what is known is quarantined ({held}), see `trimtab \
                     quarantine list`"
                ),
            };
            return Err(illegal(format!("{}: {why}; name a commit with --to, or push what shall run", self.id)));
        };
        let version =
            self.world.blobs.desired(&good.rendered).await.map_err(|error| unavailable(&error))?.version.clone();
        let mut told = format!("{version}, verified last before it");
        for passed in state.verified().take_while(|verified| verified.rendered != good.rendered) {
            if passed.rendered != *bad
                && let Some(quarantine) = state.quarantine.get(&passed.rendered)
            {
                let version = self.version_of(&passed.rendered).await;
                told.push_str(&format!("; {version} is passed over, since it is quarantined: {}", quarantine.reason));
            }
        }
        Ok((good.rendered.clone(), good.revision.clone(), told))
    }

    /// The version of a stored state; where it is not there any more, its digest.
    async fn version_of(&self, rendered: &Digest) -> String {
        let desired = self.world.blobs.desired(rendered).await;
        desired.map_or_else(|_| rendered.short().to_owned(), |desired| desired.version.clone())
    }

    async fn rollout(&self, inner: &Inner, command: Command, by: &str) -> Result<(Vec<UnitEvent>, String), Problem> {
        let state = inner.log.state();
        let Some(rollout) = state.running() else {
            return Err(illegal(format!("no rollout of {} is under way", self.id)));
        };
        let plan = self.world.blobs.plan(&rollout.plan).await.map_err(|error| unavailable(&error))?;
        let event =
            rollout.command(&plan, &command, by).map_err(|refusal| illegal(format!("{}: {refusal}", self.id)))?;
        let message = match &event {
            RolloutEvent::Promoted { full: true, .. } => "goes on past all steps that are left",
            RolloutEvent::Promoted { .. } => "goes on",
            RolloutEvent::Paused { .. } => "is paused; its present phase is kept true",
            RolloutEvent::Resumed { .. } => "is resumed",
            RolloutEvent::AbortRequested { .. } => "turns back",
            RolloutEvent::Retried { .. } => "tries again",
            _ => "is told",
        };
        Ok((vec![UnitEvent::Rollout(event)], format!("the rollout of {} {message}", self.id)))
    }

    /// Retries what stopped; where the rollout has ended, lets its candidate start anew.
    async fn retry(&self, inner: &Inner, by: &str) -> Result<(Vec<UnitEvent>, String), Problem> {
        let state = inner.log.state();
        if state.running().is_some() {
            return self.rollout(inner, Command::Retry, by).await;
        }
        if state.aborted.is_some() {
            let message = format!("the rollout of {} starts anew", self.id);
            return Ok((vec![UnitEvent::Retried { by: by.to_owned() }], message));
        }
        Err(illegal(format!(
            "there is nothing to try again for {}: a state that was rolled back is tried again with `trimtab quarantine clear {}`",
            self.id, self.id.app
        )))
    }

    /// Lets quarantined states be tried again; answers how many.
    ///
    /// # Errors
    ///
    /// It can't be recorded.
    pub async fn clear_quarantine(&self, caller: &Caller, prefix: Option<&str>) -> Result<usize, Problem> {
        let mut inner = self.lock().await;
        let meant = |digest: &Digest| {
            prefix.is_none_or(|prefix| digest.as_str().starts_with(prefix) || digest.short().starts_with(prefix))
        };
        let digests: Vec<_> = inner.log.state().quarantine.keys().filter(|digest| meant(digest)).cloned().collect();
        let mut events: Vec<_> = digests
            .iter()
            .map(|rendered| UnitEvent::QuarantineCleared { rendered: rendered.clone(), by: caller.0.clone() })
            .collect();
        // Whoever lets the bad state be tried again decides against the revert that was still to be recorded.
        if let Some(rollback) = inner.log.state().rollback.as_ref().filter(|rollback| digests.contains(&rollback.bad)) {
            let revision = rollback.bad_revision.clone();
            events.push(UnitEvent::RollbackSettled { id: rollback.id.clone(), revision });
        }
        self.append(&mut inner, &events).await.map_err(|error| failed(&error))?;
        self.wake();
        Ok(digests.len())
    }

    /// Somebody has looked at what holds it.
    ///
    /// # Errors
    ///
    /// It can't be recorded.
    pub async fn ack(&self, caller: &Caller) -> Result<bool, Problem> {
        let mut inner = self.lock().await;
        use crate::domain::unit::held::HeldReason::{HistoryRewritten, MassRemoval, Unknown};
        let state = inner.log.state();
        let waits = state.held.iter().any(|held| matches!(held.reason, HistoryRewritten | MassRemoval | Unknown));
        let Some(candidate) = state.candidate.as_ref().filter(|_| waits) else { return Ok(false) };
        let event = UnitEvent::Acked { by: caller.0.clone(), revision: candidate.revision.clone() };
        self.append(&mut inner, &[event]).await.map_err(|error| failed(&error))?;
        self.wake();
        Ok(true)
    }
}

/// What an operator's rollback leaves: the rollout's state where one goes on, else what is effective.
fn leaving(state: &UnitState) -> Option<(Digest, Revision)> {
    let effective = state.effective.as_ref()?;
    Some((effective.rendered.clone()?, effective.revision.clone()))
}

/// A commit as people see it.
fn short(revision: &Revision) -> &str {
    revision.as_str().get(..12).unwrap_or(revision.as_str())
}

fn restart(state: &UnitState, by: String) -> Result<(Vec<UnitEvent>, String), Problem> {
    if state.running().is_some() {
        return Err(illegal("a rollout is under way: it starts new instances anyway"));
    }
    if state.effective.as_ref().and_then(|effective| effective.rendered.as_ref()).is_none() {
        return Err(illegal("nothing runs"));
    }
    Ok((vec![UnitEvent::RestartRequested { by }], "all instances are replaced by new ones of the same version".into()))
}

fn illegal(message: impl Into<String>) -> Problem {
    problem(StatusCode::CONFLICT, "illegal", message)
}

fn unavailable(error: &impl std::fmt::Display) -> Problem {
    problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string())
}

fn failed(error: &LogError) -> Problem {
    match error {
        LogError::Illegal { .. } => illegal(error.to_string()),
        _ => problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.to_string()),
    }
}
