//! What the daemon does that nobody asked for, as records of the audit log: turning back, going back, reverting, refusing to try
//! again. What follows from a commit or a request as it should is recorded with that.

use serde_json::{Value, json};

use super::audit::Entry;
use super::id::UnitId;
use super::rollout::event::{Failure, Outcome, RolloutEvent, Why};
use super::unit::event::UnitEvent;

/// Who the daemon is in the audit log.
pub const ACTOR: &str = "trimtab";

/// The record of an event, where it is the daemon's own doing.
pub fn deed(unit: &UnitId, event: &UnitEvent) -> Option<Entry> {
    let (action, outcome, detail) = match event {
        UnitEvent::Quarantined { rendered, reason } => {
            ("quarantine", "done".to_owned(), json!({ "reason": reason, "state": rendered }))
        }
        UnitEvent::RollbackDecided { id, trigger, reason, bad_revision, good_revision, .. } => {
            let detail = json!({
                "reason": reason, "trigger": trigger, "rollback": id, "from": bad_revision, "to": good_revision,
            });
            ("rollback", "decided".to_owned(), detail)
        }
        // Before it is pushed: after a crash in between nobody need have seen that it was.
        UnitEvent::RollbackCommitted { id, revision } => {
            ("revert", "made".to_owned(), json!({ "rollback": id, "commit": revision }))
        }
        UnitEvent::RollbackPushed { id, revision } => {
            ("revert", "pushed".to_owned(), json!({ "rollback": id, "commit": revision }))
        }
        UnitEvent::RollbackSettled { id, revision } => {
            ("rollback", "settled".to_owned(), json!({ "rollback": id, "commit": revision }))
        }
        UnitEvent::RollbackHeld { id, reason, branch } => {
            ("revert", format!("held: {reason}"), json!({ "rollback": id, "branch": branch }))
        }
        UnitEvent::Rollout(event) => return in_rollout(unit, event),
        _ => return None,
    };
    Some(entry(unit, action, outcome, &detail))
}

fn in_rollout(unit: &UnitId, event: &RolloutEvent) -> Option<Entry> {
    let (action, outcome, detail) = match event {
        RolloutEvent::SettleBegun { why: Why::Failed(failure), .. } => ("abort", "turning back", failed(failure)),
        RolloutEvent::Ended { outcome: Outcome::RolledBack(failure) } => ("abort", "turned back", failed(failure)),
        RolloutEvent::Stopped { reason } => ("stop", "waits for somebody", json!({ "reason": reason })),
        _ => return None,
    };
    Some(entry(unit, action, outcome.to_owned(), &detail))
}

fn failed(failure: &Failure) -> Value {
    json!({ "reason": failure.reason, "trigger": failure.trigger, "analysis": failure.analysis })
}

fn entry(unit: &UnitId, action: &str, outcome: String, detail: &Value) -> Entry {
    let (subject, detail) = (unit.to_string(), detail.to_string());
    Entry { actor: ACTOR.into(), action: action.into(), subject, detail, outcome, of: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::desired::Trigger;
    use crate::domain::digest::Digest;
    use crate::domain::id::{Revision, RollbackId};
    use crate::domain::plan::PhaseId;

    fn failure() -> Failure {
        let (trigger, reason) = (Trigger::Analysis, "5 of 100 requests failed".into());
        Failure { trigger, phase: PhaseId(2), reason, analysis: Some("errors".parse().unwrap()) }
    }

    fn recorded(event: &UnitEvent) -> Option<(String, String, Value)> {
        let entry = deed(&"web/dev/default".parse().unwrap(), event)?;
        assert_eq!((entry.actor.as_str(), entry.subject.as_str(), entry.of), ("trimtab", "web/dev/default", None));
        Some((entry.action, entry.outcome, serde_json::from_str(&entry.detail).unwrap()))
    }

    fn told(event: UnitEvent) -> (String, String, Value) {
        recorded(&event).unwrap_or_else(|| panic!("{event:?} is not recorded"))
    }

    #[test]
    fn what_nobody_asked_for_is_recorded_with_its_reason() {
        let (id, revision) = (RollbackId("r1".into()), Revision("a".repeat(40)));
        let rendered = Digest::from_text("d1:1");
        let quarantined = UnitEvent::Quarantined { rendered: rendered.clone(), reason: "it crashes".into() };
        let (action, outcome, detail) = told(quarantined);
        assert_eq!(
            (action.as_str(), outcome.as_str(), &detail["reason"]),
            ("quarantine", "done", &json!("it crashes"))
        );

        let decided = UnitEvent::RollbackDecided {
            id: id.clone(),
            trigger: Some(Trigger::Analysis),
            reason: failure().reason,
            bad: rendered.clone(),
            bad_revision: revision.clone(),
            good: rendered.clone(),
            good_revision: revision.clone(),
        };
        let (action, outcome, detail) = told(decided);
        assert_eq!((action.as_str(), outcome.as_str()), ("rollback", "decided"));
        assert_eq!((&detail["trigger"], &detail["rollback"]), (&json!("analysis"), &json!("r1")));

        let (of, at) = (|| id.clone(), || revision.clone());
        for (event, expected) in [
            (UnitEvent::RollbackCommitted { id: of(), revision: at() }, ("revert", "made")),
            (UnitEvent::RollbackPushed { id: of(), revision: at() }, ("revert", "pushed")),
            (UnitEvent::RollbackSettled { id: of(), revision: at() }, ("rollback", "settled")),
        ] {
            let (action, outcome, detail) = told(event);
            assert_eq!(((action.as_str(), outcome.as_str()), &detail["commit"]), (expected, &json!(revision)));
        }
        let held = UnitEvent::RollbackHeld { id, reason: "the branch is protected".into(), branch: Some("b".into()) };
        let (action, outcome, detail) = told(held);
        assert_eq!((action.as_str(), &detail["branch"]), ("revert", &json!("b")));
        assert_eq!(outcome, "held: the branch is protected");

        let why = Why::Failed(failure());
        let (action, outcome, detail) = told(UnitEvent::Rollout(RolloutEvent::SettleBegun { phase: PhaseId(1), why }));
        assert_eq!((action.as_str(), outcome.as_str()), ("abort", "turning back"));
        assert_eq!((&detail["analysis"], &detail["reason"]), (&json!("errors"), &json!(failure().reason)));
        let ended = RolloutEvent::Ended { outcome: Outcome::RolledBack(failure()) };
        assert_eq!(told(UnitEvent::Rollout(ended)).1, "turned back");
        let stopped = RolloutEvent::Stopped { reason: "nobody knows how the hook ended".into() };
        assert_eq!(told(UnitEvent::Rollout(stopped)).0, "stop");
    }

    #[test]
    fn what_was_asked_for_is_recorded_with_the_asking() {
        let (by, reason) = ("alice".to_owned(), String::new());
        let aborted = Why::Aborted { by: by.clone(), reason: reason.clone() };
        for event in [
            UnitEvent::Suspended { by: by.clone(), reason: reason.clone() },
            UnitEvent::Rollout(RolloutEvent::SettleBegun { phase: PhaseId(1), why: aborted }),
            UnitEvent::Rollout(RolloutEvent::Ended { outcome: Outcome::Aborted { by, reason } }),
            UnitEvent::Rollout(RolloutEvent::SettleBegun { phase: PhaseId(1), why: Why::Superseded { by: None } }),
            UnitEvent::Rollout(RolloutEvent::Ended { outcome: Outcome::Verified }),
            UnitEvent::Removed {},
        ] {
            assert_eq!(recorded(&event), None, "{event:?}");
        }
    }
}
