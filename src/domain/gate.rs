//! The gate: why what Git's head asks for is not made true, the root cause first. Nothing held: it becomes effective.

use super::id::{Name, UnitId};
use super::unit::held::{Held, HeldReason};
use super::unit::state::{Effective, RollbackStatus, UnitState, Wants};

/// What the gate looks at beyond the unit itself.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Who suspended the environment.
    pub environment_suspended: Option<String>,
    /// Why the documents at the head don't render.
    pub broken: Option<String>,
    /// Why somebody must look first: `HistoryRewritten` or `MassRemoval`.
    pub needs_ack: Option<HeldReason>,
    /// The apps it depends on, and why each is not verified; `None`: it is.
    pub dependencies: Vec<(Name, Option<String>)>,
    /// The lowest wave below its own that is not verified, and why.
    pub lower_wave: Option<(u32, String)>,
    /// Its new name, and why it can't be taken over yet.
    pub moving: Option<(UnitId, String)>,
    /// It runs in another place than the one that is asked for: which.
    pub elsewhere: Option<String>,
    /// What runs can't be matched with anything known: the state was lost and the markers are of another version.
    pub unknown: Option<String>,
}

/// Everything that holds the unit, sorted by [`HeldReason`]: root causes come before their consequences.
pub fn gate(state: &UnitState, around: &Surroundings) -> Vec<Held> {
    let mut held = Vec::new();
    if let Some((by, reason)) = &state.suspended {
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        held.push(suspended(format!("suspended by {by}{why}"), "`trimtab unsuspend APP` lets it go on"));
    } else if let Some(by) = &around.environment_suspended {
        held.push(suspended(
            format!("its environment is suspended by {by}"),
            "`trimtab unsuspend -e ENV` lets it go on",
        ));
    }
    if let Some(reason) = &around.broken {
        held.push(Held {
            reason: HeldReason::ConfigError,
            message: reason.clone(),
            remedy: "mend the documents and push; `trimtab validate` shows everything that is wrong".into(),
        });
    }
    if let Some((to, reason)) = &around.moving {
        held.push(Held {
            reason: HeldReason::Moving { to: to.clone() },
            message: format!("it was renamed to {to}, which takes it over later: {reason}"),
            remedy: "what runs is kept as it is until then".into(),
        });
    }
    if !is_new(state) {
        return sorted(held);
    }
    if let Some(reason) = &around.elsewhere {
        held.push(Held {
            reason: HeldReason::Unsupported,
            message: format!("{reason}: nothing is moved between platforms"),
            remedy: "give the environment a target of another name for the new place; what runs here goes when this target, or \
                     the Release, is removed"
                .into(),
        });
    }
    if let Some(reason) = &around.unknown {
        held.push(Held {
            reason: HeldReason::Unknown,
            message: reason.clone(),
            remedy: "look at what runs; `trimtab ack` lets what Git asks for replace it".into(),
        });
    }
    held.extend(acknowledgement(state, around));
    held.extend(judged(state));
    for (app, reason) in &around.dependencies {
        if let Some(reason) = reason {
            held.push(Held {
                reason: HeldReason::DependsOn { app: app.clone() },
                message: format!("waits for {app}: {reason}"),
                remedy: format!("`trimtab why {app}` tells what keeps it"),
            });
        }
    }
    if let Some((wave, reason)) = &around.lower_wave {
        held.push(Held {
            reason: HeldReason::Wave { wave: *wave },
            message: format!("waits for wave {wave}: {reason}"),
            remedy: "it goes on when every target of the lower wave is verified".into(),
        });
    }
    sorted(held)
}

/// Whether the candidate is something else than what is made true.
pub fn is_new(state: &UnitState) -> bool {
    let Some(candidate) = &state.candidate else { return false };
    let effective = state.effective.as_ref().and_then(|effective| effective.rendered.as_ref());
    match &candidate.wants {
        Wants::Run { rendered, .. } => effective != Some(rendered),
        Wants::Gone { .. } => effective.is_some(),
    }
}

/// What becomes effective now; `None`: it is already, or something holds it. Documents that don't render at the head keep
/// nothing back: the candidate is what was rendered last.
pub fn next_effective(state: &UnitState, held: &[Held]) -> Option<Effective> {
    let candidate = state.candidate.as_ref().filter(|_| is_new(state))?;
    if held.iter().any(|held| held.reason != HeldReason::ConfigError) {
        return None;
    }
    let rendered = match &candidate.wants {
        Wants::Run { rendered, .. } => Some(rendered.clone()),
        Wants::Gone { .. } => None,
    };
    Some(Effective { revision: candidate.revision.clone(), rendered })
}

fn acknowledgement(state: &UnitState, around: &Surroundings) -> Option<Held> {
    let reason = around.needs_ack.clone()?;
    let revision = state.candidate.as_ref().map(|candidate| &candidate.revision);
    if state.acked.as_ref() == revision {
        return None;
    }
    let message = match reason {
        HeldReason::HistoryRewritten => "the branch's history was rewritten, and this would change because of it",
        _ => "the newest commit removes so much of the environment that it may be a mistake",
    };
    let remedy = "compare with `trimtab plan`, then `trimtab ack` lets it happen".into();
    Some(Held { reason, message: message.into(), remedy })
}

/// What earlier attempts at this very candidate say.
fn judged(state: &UnitState) -> Vec<Held> {
    let mut held = Vec::new();
    let Some(candidate) = &state.candidate else { return held };
    let rendered = match &candidate.wants {
        Wants::Run { rendered, .. } => rendered,
        Wants::Gone { prune: true } => return held,
        Wants::Gone { prune: false } => {
            held.push(Held {
                reason: HeldReason::NotPruned,
                message:
                    "its documents are gone, and it is kept because `prune` is false or its environment is gone too"
                        .into(),
                remedy: "push its Release again, or one with `prune: true` before removing it".into(),
            });
            return held;
        }
    };
    if let Some(quarantine) = state.quarantine.get(rendered) {
        held.push(Held {
            reason: HeldReason::Quarantined,
            message: format!("this very state was rolled back: {}", quarantine.reason),
            remedy: "push a fix; `trimtab quarantine clear APP` lets the same state be tried again".into(),
        });
    }
    if state.aborted.as_ref() == Some(rendered) {
        held.push(Held {
            reason: HeldReason::Aborted,
            message: "its rollout was called off".into(),
            remedy: "push something else; `trimtab rollout retry APP` starts it anew".into(),
        });
    }
    if let Some(rollback) = state.rollback.as_ref().filter(|rollback| rollback.bad == *rendered) {
        let message = match &rollback.status {
            RollbackStatus::Held { reason, branch: Some(branch) } => {
                format!("the revert stands on branch {branch} and is not merged: {reason}")
            }
            RollbackStatus::Held { reason, branch: None } => format!("the revert could not be recorded: {reason}"),
            _ => "the revert is not yet on the branch".into(),
        };
        let remedy = match &rollback.status {
            RollbackStatus::Held { branch: None, .. } => {
                "revert or mend it by hand and push; it is also tried again by itself when something changes"
            }
            _ => "merge the revert, or push a fix",
        };
        held.push(Held { reason: HeldReason::RollbackPending, message, remedy: remedy.into() });
    }
    held
}

fn suspended(message: String, remedy: &str) -> Held {
    Held { reason: HeldReason::Suspended, message, remedy: remedy.into() }
}

fn sorted(mut held: Vec<Held>) -> Vec<Held> {
    held.sort_by(|a, b| a.reason.cmp(&b.reason));
    held
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::desired::Trigger;
    use crate::domain::digest::Digest;
    use crate::domain::plan::{PhaseId, PlanKind};
    use crate::domain::rollout::event::{Failure, Outcome, RolloutEvent};
    use crate::domain::unit::event::UnitEvent;

    fn digest(text: &str) -> Digest {
        Digest::from_text(format!("r1:{text}"))
    }

    fn seen(text: &str) -> UnitEvent {
        UnitEvent::CandidateSeen { revision: text.into(), rendered: digest(text), version: text.into() }
    }

    fn state(events: &[UnitEvent]) -> UnitState {
        let mut state = UnitState::default();
        for event in events {
            state.apply(event, Timestamp::UNIX_EPOCH).unwrap();
        }
        state
    }

    fn reasons(state: &UnitState, around: &Surroundings) -> Vec<HeldReason> {
        gate(state, around).into_iter().map(|held| held.reason).collect()
    }

    #[test]
    fn nothing_holds_a_plain_candidate() {
        assert!(gate(&state(&[seen("a")]), &Surroundings::default()).is_empty());
    }

    #[test]
    fn what_is_effective_is_not_held_by_its_surroundings() {
        let effective = UnitEvent::EffectiveSet { revision: "a".into(), rendered: Some(digest("a")) };
        let around = Surroundings {
            dependencies: vec![("db".parse().unwrap(), Some("it rolls".into()))],
            lower_wave: Some((1, "it rolls".into())),
            needs_ack: Some(HeldReason::HistoryRewritten),
            ..Surroundings::default()
        };
        assert!(gate(&state(&[seen("a"), effective]), &around).is_empty());
        assert_eq!(
            reasons(&state(&[seen("a")]), &around),
            [
                HeldReason::HistoryRewritten,
                HeldReason::DependsOn { app: "db".parse().unwrap() },
                HeldReason::Wave { wave: 1 }
            ]
        );
    }

    #[test]
    fn a_quarantined_state_is_held_and_a_fix_is_not() {
        let bad = UnitEvent::Quarantined { rendered: digest("a"), reason: "it crashed".into() };
        assert_eq!(reasons(&state(&[seen("a"), bad.clone()]), &Surroundings::default()), [HeldReason::Quarantined]);
        assert!(gate(&state(&[seen("a"), bad, seen("b")]), &Surroundings::default()).is_empty());
    }

    #[test]
    fn what_was_called_off_stays_so_while_what_was_before_is_healed() {
        let started = |text: &str, kind| UnitEvent::RolloutStarted {
            id: text.into(),
            plan: Digest::from_text(format!("p1:{text}")),
            kind,
            to: Some(digest(text)),
            fallback: None,
            cause: None,
        };
        let ended = |outcome| UnitEvent::Rollout(RolloutEvent::Ended { outcome });
        let effective = |text: &str| UnitEvent::EffectiveSet { revision: text.into(), rendered: Some(digest(text)) };
        let aborted = Outcome::Aborted { by: "me".into(), reason: String::new() };
        let called_off =
            vec![seen("b"), effective("b"), started("b", PlanKind::Rollout), ended(aborted), effective("a")];
        let held = |more: &[UnitEvent]| reasons(&state(&[&called_off, more].concat()), &Surroundings::default());
        assert_eq!(held(&[]), [HeldReason::Aborted]);
        let healed = [started("a", PlanKind::Heal), ended(Outcome::Verified)];
        assert_eq!(held(&healed), [HeldReason::Aborted]);
        assert!(held(&[UnitEvent::Retried { by: "me".into() }]).is_empty());
        assert!(held(&[seen("c")]).is_empty());
        assert!(held(&[seen("c"), effective("c"), started("c", PlanKind::Rollout), seen("b")]).is_empty());
    }

    #[test]
    fn a_restart_that_turned_back_does_not_begin_again() {
        let verified =
            UnitEvent::Verified { revision: "a".into(), rendered: digest("a"), restarts: 2, undo: Vec::new() };
        let effective = UnitEvent::EffectiveSet { revision: "a".into(), rendered: Some(digest("a")) };
        let begun = UnitEvent::RolloutStarted {
            id: "restart".into(),
            plan: Digest::from_text("p1:restart"),
            kind: PlanKind::Rollout,
            to: Some(digest("a")),
            fallback: None,
            cause: None,
        };
        let restart = || UnitEvent::RestartRequested { by: "me".into() };
        let failure =
            Failure { trigger: Trigger::Unhealthy, phase: PhaseId(0), reason: "it crashed".into(), analysis: None };
        let aborted = Outcome::Aborted { by: "me".into(), reason: String::new() };
        let adopted = UnitEvent::Adopted { rendered: digest("a"), restarts: 2 };
        for outcome in [aborted, Outcome::RolledBack(failure)] {
            let ended = UnitEvent::Rollout(RolloutEvent::Ended { outcome });
            let before = [seen("a"), adopted.clone(), effective.clone(), verified.clone(), restart(), begun.clone()];
            assert_eq!(state(&before).restarts, 3);
            let after = state(&[&before[..], &[ended]].concat());
            assert_eq!((after.restarts, &after.aborted), (2, &None));
            assert!(gate(&after, &Surroundings::default()).is_empty());
        }
    }

    #[test]
    fn an_acknowledgement_counts_for_the_commit_it_was_given_at() {
        let around = Surroundings { needs_ack: Some(HeldReason::MassRemoval), ..Surroundings::default() };
        let acked = UnitEvent::Acked { by: "me".into(), revision: "a".into() };
        assert!(gate(&state(&[seen("a"), acked.clone()]), &around).is_empty());
        assert_eq!(reasons(&state(&[seen("a"), acked, seen("b")]), &around), [HeldReason::MassRemoval]);
    }

    #[test]
    fn suspension_comes_first_and_holds_even_what_is_effective() {
        let suspended = UnitEvent::Suspended { by: "me".into(), reason: String::new() };
        let effective = UnitEvent::EffectiveSet { revision: "a".into(), rendered: Some(digest("a")) };
        let around = Surroundings { broken: Some("a typo".into()), ..Surroundings::default() };
        assert_eq!(
            reasons(&state(&[seen("a"), effective, suspended]), &around),
            [HeldReason::Suspended, HeldReason::ConfigError]
        );
    }

    #[test]
    fn what_runs_elsewhere_is_not_moved() {
        let around = Surroundings { elsewhere: Some("it runs on this host".into()), ..Surroundings::default() };
        let runs = UnitEvent::EffectiveSet { revision: "a".into(), rendered: Some(digest("a")) };
        assert!(gate(&state(&[seen("a"), runs.clone()]), &around).is_empty(), "what is made true already is kept so");
        assert_eq!(reasons(&state(&[runs, seen("b")]), &around), [HeldReason::Unsupported]);
    }

    #[test]
    fn what_is_gone_and_not_pruned_is_kept() {
        let effective = UnitEvent::EffectiveSet { revision: "a".into(), rendered: Some(digest("a")) };
        let gone = |prune| UnitEvent::CandidateGone { revision: "b".into(), prune };
        assert_eq!(
            reasons(&state(&[effective.clone(), gone(false)]), &Surroundings::default()),
            [HeldReason::NotPruned]
        );
        assert!(gate(&state(&[effective, gone(true)]), &Surroundings::default()).is_empty());
    }
}
