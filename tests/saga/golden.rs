//! Journals of earlier builds. They must fold for good; `TRIMTAB_GOLDEN=write` writes those of this build anew.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use trimtab::domain::analysis::Outcome;
use trimtab::domain::hook::OnRollback;
use trimtab::domain::strategy::Promote;
use trimtab::domain::unit::event::{Entry, UnitEvent, upcast};
use trimtab::domain::unit::state::UnitState;

use super::bed::*;

#[derive(Serialize, Deserialize)]
struct Golden {
    /// What the fold came to when it was written.
    state: Value,
    entries: Vec<Entry>,
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/saga/golden").join(format!("{name}.json"))
}

fn fold(entries: &[Entry]) -> UnitState {
    let mut state = UnitState::default();
    for entry in entries {
        let event: UnitEvent = upcast(entry.version, entry.event.clone()).unwrap();
        state.apply(&event, entry.at).unwrap_or_else(|error| panic!("{error}: {}", entry.event));
    }
    state
}

fn journals() -> Vec<(&'static str, Bed)> {
    let mut rolled_out = Bed::running(&desired("1", 2, canary(usual_steps())));
    let mut next = desired("2", 2, canary(usual_steps()));
    next.hooks.before = vec![hook("migrate", true, OnRollback::Script(script()))];
    rolled_out.want(&next);
    rolled_out.settle();

    let mut rolled_back = Bed::running(&desired("1", 2, blue_green(Promote::Auto)));
    rolled_back.measures = Box::new(|_, _| Outcome::Failure);
    let mut bad = desired("2", 2, blue_green(Promote::Auto));
    bad.hooks.before = vec![hook("migrate", true, OnRollback::Script(script()))];
    rolled_back.want(&bad);
    rolled_back.settle();

    let mut removed = Bed::running(&desired("1", 2, rolling()));
    removed.event(UnitEvent::RestartRequested { by: "ada".into() });
    removed.settle();
    removed.event(UnitEvent::Suspended { by: "ada".into(), reason: "a fair".into() });
    removed.event(UnitEvent::Unsuspended { by: "ada".into() });
    removed.want_nothing();
    removed.settle();
    vec![("rolled-out", rolled_out), ("rolled-back", rolled_back), ("removed", removed)]
}

#[test]
fn golden_journals_fold() {
    if std::env::var("TRIMTAB_GOLDEN").is_ok_and(|value| value == "write") {
        for (name, bed) in journals() {
            let entries = bed.journal.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
            let golden = Golden { state: serde_json::to_value(&bed.state).unwrap(), entries };
            std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            std::fs::write(path(name), serde_json::to_string_pretty(&golden).unwrap() + "\n").unwrap();
        }
    }
    for name in ["rolled-out", "rolled-back", "removed"] {
        let text = std::fs::read_to_string(path(name)).unwrap();
        let golden: Golden = serde_json::from_str(&text).unwrap();
        let state = fold(&golden.entries);
        let before: UnitState = serde_json::from_value(golden.state).unwrap();
        assert_eq!(state, before, "{name} folds to what it folded to");
    }
}

#[test]
fn an_event_of_a_newer_build_is_refused_with_a_word() {
    let error = upcast(999, Value::Null).unwrap_err().to_string();
    assert!(error.contains("newer trimtab"), "{error}");
    assert!(upcast(1, serde_json::json!({"nonsense": {}})).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn what_cannot_follow_is_refused() {
    let (mut state, at) = (UnitState::default(), start());
    let verified = serde_json::json!({"rollout": {"phaseTrue": {"phase": 0}}});
    let event = upcast(1, verified).unwrap();
    assert!(state.apply(&event, at).unwrap_err().to_string().contains("no rollout has been started"));
    let started = serde_json::json!({"rolloutStarted": {"id": "r1", "plan": "p1:00", "kind": "rollout"}});
    state.apply(&upcast(1, started.clone()).unwrap(), at).unwrap();
    assert!(state.apply(&upcast(1, started).unwrap(), at).unwrap_err().to_string().contains("has not ended"));
    let before = state.clone();
    for (event, words) in [
        (serde_json::json!({"phaseTrue": {"phase": 0}}), "another phase"),
        (serde_json::json!({"actionSucceeded": {}}), "no effect was started"),
        (serde_json::json!({"hookEnded": {"call": "before-0", "outcome": "succeeded"}}), "never started"),
        (serde_json::json!({"resumed": {"by": "ada"}}), "not paused"),
        (serde_json::json!({"stableChecked": {"passes": true, "detail": ""}}), "nothing has failed"),
    ] {
        let event = upcast(1, serde_json::json!({ "rollout": event })).unwrap();
        let error = state.apply(&event, at).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(state, before, "a refused event changes nothing");
    }
}
