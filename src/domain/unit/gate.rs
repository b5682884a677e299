//! Whether a candidate may become effective, and if not, why not.

use super::held::{Held, HeldReason};
use super::state::{Candidate, Effective, UnitState, Wants};
use crate::domain::id::Name;

/// What the gate depends on beyond the unit itself. `None` and empty: nothing speaks against it.
#[derive(Clone, Debug, Default)]
pub struct GateFacts<'a> {
    /// What runs can't be seen; why.
    pub unknown: Option<&'a str>,
    /// The document can't be read or rendered; where and why.
    pub config_error: Option<&'a str>,
    /// The source could not be read for too long; why.
    pub source_stale: Option<&'a str>,
    /// History was rewritten and nobody has acknowledged it: from where to where.
    pub rewritten: Option<&'a str>,
    /// Too much would be removed at once: how much.
    pub mass_removal: Option<&'a str>,
    /// Its environment is suspended: by whom.
    pub environment_suspended: Option<&'a str>,
    /// The platform can't do what is asked for; what.
    pub unsupported: Option<&'a str>,
    /// Apps that it depends on and that are not verified.
    pub waits_for: &'a [Name],
    /// The lowest wave below its own that is not verified.
    pub wave: Option<u32>,
    /// Somebody must approve it: who may.
    pub approval: Option<&'a str>,
}

/// Everything that keeps a unit's candidate from becoming effective, root causes first.
pub fn gate(state: &UnitState, facts: &GateFacts<'_>) -> Vec<Held> {
    let mut held = always(state, facts);
    if let Some(candidate) = state.candidate.as_ref().filter(|candidate| differs(state, candidate)) {
        of_candidate(state, candidate, facts, &mut held);
    }
    held.sort_by(|a, b| a.reason.cmp(&b.reason));
    held
}

/// What becomes effective now that nothing holds the candidate; `None`: it is already.
pub fn next_effective(state: &UnitState, held: &[Held]) -> Option<Effective> {
    let candidate = state.candidate.as_ref().filter(|candidate| held.is_empty() && differs(state, candidate))?;
    let rendered = match &candidate.wants {
        Wants::Run { rendered, .. } => Some(rendered.clone()),
        Wants::Gone { .. } => None,
    };
    Some(Effective { revision: candidate.revision.clone(), rendered })
}

fn differs(state: &UnitState, candidate: &Candidate) -> bool {
    let effective = state.effective.as_ref().map(|effective| &effective.rendered);
    match &candidate.wants {
        Wants::Run { rendered, .. } => effective != Some(&Some(rendered.clone())),
        Wants::Gone { .. } => effective.is_some_and(Option::is_some),
    }
}

fn always(state: &UnitState, facts: &GateFacts<'_>) -> Vec<Held> {
    let mut held = Vec::new();
    if let Some((by, reason)) = &state.suspended {
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        held.push(hold(HeldReason::Suspended, format!("suspended by {by}{why}"), "trimtab unsuspend"));
    }
    if let Some(by) = facts.environment_suspended {
        held.push(hold(HeldReason::Suspended, format!("its environment is suspended by {by}"), "trimtab unsuspend"));
    }
    if let Some(reason) = facts.unknown {
        let message = format!("what runs can't be seen: {reason}");
        held.push(hold(HeldReason::Unknown, message, "make it reachable; trimtab check tells what is not"));
    }
    if let Some(reason) = facts.config_error {
        held.push(hold(
            HeldReason::ConfigError,
            reason.to_owned(),
            "mend it and push; trimtab validate checks it before",
        ));
    }
    if let Some(reason) = facts.source_stale {
        held.push(hold(
            HeldReason::SourceStale,
            reason.to_owned(),
            "make the repository reachable; trimtab check tells more",
        ));
    }
    held
}

fn of_candidate(state: &UnitState, candidate: &Candidate, facts: &GateFacts<'_>, held: &mut Vec<Held>) {
    if let Some(what) = facts.rewritten {
        let message = format!("the branch's history was rewritten: {what}");
        held.push(hold(HeldReason::HistoryRewritten, message, "look at what would change, then trimtab ack"));
    }
    match &candidate.wants {
        Wants::Gone { prune: false } => {
            let message = "its document is gone from Git, and it is not to be pruned".to_owned();
            held.push(hold(HeldReason::NotPruned, message, "bring the document back, or stop it by hand"));
        }
        Wants::Gone { prune: true } => {
            if let Some(what) = facts.mass_removal {
                held.push(hold(HeldReason::MassRemoval, what.to_owned(), "if that is meant, trimtab ack"));
            }
        }
        Wants::Run { rendered, .. } => {
            if let Some(quarantine) = state.quarantine.get(rendered) {
                let message = format!("this very state was rolled back: {}", quarantine.reason);
                let remedy = "push something that differs, or trimtab quarantine clear";
                held.push(hold(HeldReason::Quarantined, message, remedy));
            }
            if state.aborted.as_ref() == Some(rendered) {
                let message = "its rollout was called off".to_owned();
                held.push(hold(HeldReason::Aborted, message, "trimtab rollout retry, or push something else"));
            }
            if let Some(rollback) = state.rollback.as_ref().filter(|rollback| rollback.bad == *rendered) {
                let message = format!("rollback {} is not yet recorded in Git", rollback.id);
                held.push(hold(HeldReason::RollbackPending, message, "trimtab why tells what it waits for"));
            }
        }
    }
    if let Some(reason) = facts.unsupported {
        held.push(hold(HeldReason::Unsupported, reason.to_owned(), "change the document"));
    }
    for app in facts.waits_for {
        let message = format!("it depends on {app}, which is not verified");
        held.push(hold(
            HeldReason::DependsOn { app: app.clone() },
            message,
            "trimtab why tells what that one waits for",
        ));
    }
    if let Some(wave) = facts.wave {
        let message = format!("wave {wave} is not verified");
        held.push(hold(HeldReason::Wave { wave }, message, "it goes on by itself once that is"));
    }
    if let Some(who) = facts.approval {
        held.push(hold(HeldReason::Approval, format!("it must be approved by {who}"), "have it approved"));
    }
}

fn hold(reason: HeldReason, message: String, remedy: &str) -> Held {
    Held { reason, message, remedy: remedy.to_owned() }
}
