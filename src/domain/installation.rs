//! What is kept for the installation as a whole, apart from its units: the head of the source, what is suspended, and the
//! automatic rollbacks of the last hour.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::id::{Name, Revision, RollbackId, UnitId};
use super::span::Span;

/// The version of the events of this build.
pub const EVENT_VERSION: u32 = 1;

/// How long automatic rollbacks are counted by the storm guard.
pub const STORM_WINDOW: Span = Span::from_secs(3_600);

/// What happens to the installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum InstallationEvent {
    /// The branch moved on.
    HeadSeen {
        /// To where.
        revision: Revision,
    },
    /// The branch moved to where the last head is no ancestor.
    Rewritten {
        /// The last head.
        from: Revision,
        /// The new one.
        to: Revision,
    },
    /// The branch stands again at what it was before it was rewritten, or at a successor of that.
    RewriteUndone {
        /// Where.
        revision: Revision,
    },
    /// Somebody accepts the rewritten history.
    Acked {
        /// Who.
        by: String,
    },
    /// An environment is left alone, healing too.
    EnvironmentSuspended {
        /// Which.
        environment: Name,
        /// Who asked for it.
        by: String,
    },
    /// It is reconciled again.
    EnvironmentUnsuspended {
        /// Which.
        environment: Name,
        /// Who asked for it.
        by: String,
    },
    /// All before this comes from a backup: the head that it names may be long past.
    Restored {
        /// When the backup was made.
        backup: Timestamp,
    },
    /// A rollback was decided without anybody asking.
    RolledBack {
        /// Of which unit.
        unit: UnitId,
        /// Which.
        id: RollbackId,
    },
}

/// The state of the installation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallationState {
    /// The newest head that was taken in.
    pub head: Option<Revision>,
    /// History was rewritten and nobody has accepted it yet: the head before, and the one after.
    pub rewritten: Option<(Revision, Revision)>,
    /// The environments that are left alone, and who asked for it.
    pub suspended: BTreeMap<Name, String>,
    /// The automatic rollbacks of the last hour, oldest first.
    pub rollbacks: Vec<(Timestamp, UnitId, RollbackId)>,
    /// It comes from a backup made then, and Git was not read since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Timestamp>,
}

impl InstallationState {
    /// Takes an event in.
    ///
    /// # Errors
    ///
    /// One that can't have happened in this state, with the reason.
    pub fn apply(&mut self, event: &InstallationEvent, at: Timestamp) -> Result<(), String> {
        match event {
            InstallationEvent::HeadSeen { revision } => (self.head, self.restored) = (Some(revision.clone()), None),
            InstallationEvent::RewriteUndone { revision } => {
                (self.rewritten, self.head, self.restored) = (None, Some(revision.clone()), None);
            }
            InstallationEvent::Restored { backup } => self.restored = Some(*backup),
            InstallationEvent::Rewritten { from, to } => {
                // Rewritten twice before anybody looked: the comparison stays with the last head that was accepted.
                let from = self.rewritten.take().map_or_else(|| from.clone(), |(first, _)| first);
                self.rewritten = Some((from, to.clone()));
                (self.head, self.restored) = (Some(to.clone()), None);
            }
            InstallationEvent::Acked { .. } => {
                self.rewritten.take().ok_or("no rewritten history waits for an acknowledgement")?;
            }
            InstallationEvent::EnvironmentSuspended { environment, by } => {
                self.suspended.insert(environment.clone(), by.clone());
            }
            InstallationEvent::EnvironmentUnsuspended { environment, .. } => {
                if self.suspended.remove(environment).is_none() {
                    return Err(format!("environment {environment} is not suspended"));
                }
            }
            InstallationEvent::RolledBack { unit, id } => {
                self.rollbacks.retain(|(then, _, known)| within_window(*then, at) && known != id);
                self.rollbacks.push((at, unit.clone(), id.clone()));
            }
        }
        Ok(())
    }

    /// When an environment had its automatic rollbacks of the last hour.
    pub fn recent_rollbacks(&self, environment: &Name, now: Timestamp) -> Vec<Timestamp> {
        let recent = self
            .rollbacks
            .iter()
            .filter(|(then, unit, _)| unit.environment == *environment && within_window(*then, now));
        recent.map(|(then, ..)| *then).collect()
    }

    /// The environments that are left alone.
    pub fn suspended_environments(&self) -> BTreeSet<Name> {
        self.suspended.keys().cloned().collect()
    }
}

fn within_window(then: Timestamp, now: Timestamp) -> bool {
    let age = now.as_millisecond().saturating_sub(then.as_millisecond());
    age < i64::try_from(STORM_WINDOW.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_second_rewrite_is_compared_with_what_was_accepted_last() {
        let mut state = InstallationState::default();
        let event = |from: &str, to: &str| InstallationEvent::Rewritten { from: from.into(), to: to.into() };
        state.apply(&event("a", "b"), at(0)).unwrap();
        state.apply(&event("b", "c"), at(1)).unwrap();
        assert_eq!(state.rewritten, Some(("a".into(), "c".into())));
        state.apply(&InstallationEvent::Acked { by: "me".into() }, at(2)).unwrap();
        assert!(state.apply(&InstallationEvent::Acked { by: "me".into() }, at(3)).is_err());
    }

    #[test]
    fn rollbacks_are_counted_for_an_hour_and_once_each() {
        let mut state = InstallationState::default();
        let unit: UnitId = "hello/staging/default".parse().unwrap();
        for (second, id) in [(0, "a"), (10, "b"), (20, "b"), (3_605, "c")] {
            state.apply(&InstallationEvent::RolledBack { unit: unit.clone(), id: id.into() }, at(second)).unwrap();
        }
        assert_eq!(state.recent_rollbacks(&unit.environment, at(3_606)), [at(20), at(3_605)]);
        assert!(state.recent_rollbacks(&"dev".parse().unwrap(), at(3_606)).is_empty());
    }
}
