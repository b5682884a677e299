//! What operators may tell a rollout, when, and what they are told where it makes no sense.

use super::event::RolloutEvent;
use super::state::{Course, RolloutState};
use crate::domain::hook::OnRollback;
use crate::domain::plan::{Condition, Plan};

/// What an operator wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// It shall not advance.
    Pause,
    /// It shall go on.
    Resume,
    /// It shall go on past what it waits for.
    Promote {
        /// Past all that is left.
        full: bool,
    },
    /// It shall turn back.
    Abort {
        /// Why.
        reason: String,
    },
    /// What stopped it shall be tried again.
    Retry,
}

/// Why a command makes no sense now, with what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl RolloutState {
    /// Turns a command into the event to record.
    ///
    /// # Errors
    /// It makes no sense now.
    pub fn command(&self, plan: &Plan, command: &Command, by: &str) -> Result<RolloutEvent, Refusal> {
        let refuse = |text: &str| Err(Refusal(text.to_owned()));
        let by = by.to_owned();
        match (&self.course, command) {
            (Course::Ended(_), _) => return refuse("no rollout is under way"),
            (Course::Settling(_), Command::Abort { .. }) => return refuse("the rollout is turning back already"),
            (Course::Settling(_), Command::Retry) if self.blocked_hook().is_some() || self.stopped.is_some() => {}
            (Course::Settling(_), Command::Promote { full: false })
                if self.blocked_hook().is_some() || self.stopped.is_some() => {}
            (Course::Settling(_), _) => {
                return refuse("the rollout is turning back; wait for it to end, then `rollout retry` starts it anew");
            }
            (Course::Forward, _) => {}
        }
        match command {
            Command::Pause if self.paused.is_some() => refuse("the rollout is paused already"),
            Command::Pause => Ok(RolloutEvent::Paused { by }),
            Command::Resume if self.paused.is_some() => Ok(RolloutEvent::Resumed { by }),
            Command::Resume if self.waits_for_promotion(plan) => {
                refuse("nothing is paused: the rollout waits at a pause step; `rollout promote` lets it go on")
            }
            Command::Resume => refuse("nothing is paused"),
            Command::Promote { full: true } => Ok(RolloutEvent::Promoted { by, full: true }),
            Command::Promote { full: false } if self.can_be_promoted(plan) => {
                Ok(RolloutEvent::Promoted { by, full: false })
            }
            Command::Promote { full: false } => refuse(
                "there is nothing to promote: the rollout waits at no pause and has not stopped; `--full` skips all steps that are left",
            ),
            Command::Abort { .. } if plan.settle.is_empty() => refuse(
                "this is no rollout that could be called off; `suspend` stops everything that is done for the app",
            ),
            Command::Abort { reason } => match self.forward_only(plan) {
                Some(hook) => Err(Refusal(format!(
                    "there is no way back: the hook {hook} is forward only and has started; promote or retry, or push a fix"
                ))),
                None => Ok(RolloutEvent::AbortRequested { by, reason: reason.clone() }),
            },
            Command::Retry if self.stopped.is_some() || self.failure.is_some() || self.blocked_hook().is_some() => {
                Ok(RolloutEvent::Retried { by })
            }
            Command::Retry => refuse("there is nothing to try again: the rollout has neither stopped nor failed"),
        }
    }

    /// A hook that has started and past which there is no way back.
    pub fn forward_only(&self, plan: &Plan) -> Option<String> {
        let calls = plan.phases.iter().flat_map(|phase| &phase.enter);
        calls
            .filter(|call| call.script().is_some_and(|hook| hook.on_rollback == OnRollback::ForwardOnly))
            .filter(|call| self.hooks.contains_key(&call.at))
            .map(|call| call.name().to_owned())
            .next()
    }

    /// Whether a pause step is what it waits for.
    fn waits_for_promotion(&self, plan: &Plan) -> bool {
        let Some(phase) = &self.phase else { return false };
        let condition = plan.phase(phase.id).and_then(|planned| planned.advance.get(phase.met as usize));
        phase.became_true.is_some() && matches!(condition, Some(Condition::Pause(_)))
    }

    fn can_be_promoted(&self, plan: &Plan) -> bool {
        self.waits_for_promotion(plan)
            || self.stopped.is_some()
            || self.failure.is_some()
            || self.blocked_hook().is_some()
    }
}
