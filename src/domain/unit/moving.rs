//! Renaming a unit: everything that is remembered of it goes over to its new name.
//!
//! Four events make it safe to be killed anywhere. `MoveBegun` in the old unit's stream stops it for good; `TakenOver` gives
//! the new one its state; `MovedAway` empties the old one; `WorkloadTaken` tells that what runs carries the new name. Each
//! is appended only if it is missing, so the whole can be repeated from wherever it was left.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{UnitState, Verified, Wants};
use crate::domain::digest::Digest;

/// Why a unit can't be renamed now; `None`: it can.
pub fn hindrance(state: &UnitState) -> Option<String> {
    if let Some(moving) = &state.moving {
        return Some(format!("it is being renamed to {}", moving.to));
    }
    if let Some(from) = &state.taking {
        return Some(format!("what runs is still being taken over from {from}"));
    }
    if state.running().is_some() {
        return Some("its rollout is under way".into());
    }
    state.rollback.as_ref().map(|rollback| format!("its rollback {} is not settled with Git", rollback.id))
}

/// Whether something runs, or is being made to, so that nothing else can take the name.
pub fn is_alive(state: &UnitState) -> bool {
    let effective = state.effective.as_ref().is_some_and(|effective| effective.rendered.is_some());
    effective
        || state.last_verified.is_some()
        || state.running().is_some()
        || state.moving.is_some()
        || state.taking.is_some()
}

/// Whether a unit holds anything that a new name should get. One that was removed, or never seen, does not.
pub fn is_worth_moving(state: &UnitState) -> bool {
    is_alive(state) || state.candidate.as_ref().is_some_and(|candidate| matches!(candidate.wants, Wants::Run { .. }))
}

/// Whether nothing at all is remembered of a unit.
pub fn is_blank(state: &UnitState) -> bool {
    state.candidate.is_none() && state.effective.is_none() && !is_alive(state)
}

/// The rendered digests that a state names. A desired state holds its unit's name, so each is another under a new one.
pub fn digests(state: &UnitState) -> BTreeSet<Digest> {
    let mut seen = BTreeSet::new();
    // Renaming nothing visits all there are.
    let _ = renamed(state, |digest| {
        seen.insert(digest.clone());
        digest.clone()
    });
    seen
}

/// Those of them without which nothing can be kept true or rolled back to.
pub fn needed(state: &UnitState) -> BTreeSet<Digest> {
    let effective = state.effective.as_ref().and_then(|effective| effective.rendered.clone());
    let verified = [&state.last_verified, &state.serving].into_iter().flatten().map(|one| one.rendered.clone());
    effective.into_iter().chain(verified).collect()
}

/// The state with every rendered digest replaced by that of the same desired state under the new name.
pub fn renamed(state: &UnitState, mut to: impl FnMut(&Digest) -> Digest) -> UnitState {
    let mut next = state.clone();
    if let Some(Wants::Run { rendered, .. }) = next.candidate.as_mut().map(|candidate| &mut candidate.wants) {
        *rendered = to(rendered);
    }
    if let Some(rendered) = next.effective.as_mut().and_then(|effective| effective.rendered.as_mut()) {
        *rendered = to(rendered);
    }
    for verified in [&mut next.last_verified, &mut next.serving].into_iter().flatten() {
        rename_verified(verified, &mut to);
    }
    next.quarantine = std::mem::take(&mut next.quarantine)
        .into_iter()
        .map(|(rendered, why)| (to(&rendered), why))
        .collect::<BTreeMap<_, _>>();
    for rendered in [&mut next.begun, &mut next.aborted, &mut next.adopted].into_iter().flatten() {
        *rendered = to(rendered);
    }
    if let Some(rollback) = &mut next.rollback {
        rollback.bad = to(&rollback.bad);
        rollback.good = to(&rollback.good);
    }
    next
}

fn rename_verified(verified: &mut Verified, to: &mut impl FnMut(&Digest) -> Digest) {
    verified.rendered = to(&verified.rendered);
    if let Some(before) = &mut verified.before {
        rename_verified(before, to);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::id::UnitId;
    use crate::domain::unit::event::UnitEvent;

    fn digest(text: &str) -> Digest {
        Digest::from_text(format!("r1:{text}"))
    }

    fn old() -> UnitId {
        "old/dev/default".parse().unwrap()
    }

    fn new() -> UnitId {
        "new/dev/default".parse().unwrap()
    }

    fn apply(state: &mut UnitState, event: &UnitEvent) -> Result<(), String> {
        state.apply(event, Timestamp::UNIX_EPOCH).map_err(|error| error.to_string())
    }

    fn verified(text: &str) -> UnitEvent {
        UnitEvent::Verified { revision: text.into(), rendered: digest(text), restarts: 2, undo: Vec::new() }
    }

    /// A unit that has a whole life behind it.
    fn lived() -> UnitState {
        let mut state = UnitState::default();
        for event in [
            UnitEvent::CandidateSeen { revision: "a".into(), rendered: digest("a"), version: "1".into() },
            UnitEvent::EffectiveSet { revision: "a".into(), rendered: Some(digest("a")) },
            verified("a"),
            UnitEvent::EffectiveSet { revision: "b".into(), rendered: Some(digest("b")) },
            verified("b"),
            UnitEvent::Quarantined { rendered: digest("c"), reason: "it crashed".into() },
            UnitEvent::RestartRequested { by: "me".into() },
            UnitEvent::Suspended { by: "me".into(), reason: "lunch".into() },
            UnitEvent::Adopted { rendered: digest("a"), restarts: 1 },
        ] {
            apply(&mut state, &event).unwrap();
        }
        state
    }

    fn prefixed(state: &UnitState) -> UnitState {
        renamed(state, |rendered| digest(&format!("new-{}", rendered.short())))
    }

    fn hand_over(old_state: &UnitState) -> [(bool, UnitEvent); 3] {
        let id = crate::domain::id::MoveId::from("m");
        let state = Box::new(prefixed(old_state));
        [
            (true, UnitEvent::MoveBegun { id: id.clone(), to: new() }),
            (false, UnitEvent::TakenOver { id: id.clone(), from: old(), state }),
            (true, UnitEvent::MovedAway { id }),
        ]
    }

    #[test]
    fn everything_follows_the_name() {
        let before = lived();
        let (mut from, mut to) = (before.clone(), UnitState::default());
        for (in_old, event) in hand_over(&before) {
            apply(if in_old { &mut from } else { &mut to }, &event).unwrap();
        }
        assert_eq!(from, UnitState::default());
        assert_eq!(to.taking, Some(old()));
        apply(&mut to, &UnitEvent::WorkloadTaken {}).unwrap();
        assert_eq!(to.last_verified.as_ref().unwrap().rendered, digest("new-b"));
        assert_eq!(to.last_verified.as_ref().unwrap().before.as_ref().unwrap().rendered, digest("new-a"));
        assert_eq!(to.effective.as_ref().unwrap().rendered, Some(digest("new-b")));
        assert!(to.quarantine.contains_key(&digest("new-c")));
        assert_eq!((to.restarts, to.suspended.clone()), (1, before.suspended.clone()));
        assert_eq!((to.history.clone(), to.taking.clone()), (before.history.clone(), None));
        assert_eq!(to.taken, Some("m".into()));
    }

    #[test]
    fn every_digest_is_named() {
        let all: BTreeSet<_> = ["a", "b", "c"].into_iter().map(digest).collect();
        assert_eq!(digests(&lived()), all);
        assert_eq!(needed(&lived()), BTreeSet::from([digest("b")]));
        assert!(digests(&prefixed(&lived())).iter().all(|digest| digest.as_str().starts_with("r1:new-")));
    }

    #[test]
    fn what_was_begun_and_never_verified_tells_where_it_is_until_it_is_removed() {
        let mut state = UnitState::default();
        let set =
            |rendered: Option<&str>| UnitEvent::EffectiveSet { revision: "a".into(), rendered: rendered.map(digest) };
        for (event, present) in [
            (set(Some("a")), Some("a")),
            (set(Some("b")), Some("b")),
            (UnitEvent::CandidateGone { revision: "b".into(), prune: true }, Some("b")),
            (set(None), Some("b")),
            (UnitEvent::Removed {}, None),
            (set(Some("c")), Some("c")),
            (verified("c"), Some("c")),
            (set(None), Some("c")),
            (UnitEvent::Removed {}, None),
        ] {
            apply(&mut state, &event).unwrap();
            assert_eq!(state.present().cloned(), present.map(digest), "{event:?}");
        }
        for event in [set(Some("d")), set(None)] {
            apply(&mut state, &event).unwrap();
        }
        assert_eq!(prefixed(&state).present(), Some(&digest("new-d")), "it follows the name");
    }

    #[test]
    fn nothing_is_renamed_in_the_middle_of_something() {
        let mut state = lived();
        let plan = Digest::from_text("p1:0");
        let started = UnitEvent::RolloutStarted {
            id: "r".into(),
            plan,
            kind: crate::domain::plan::PlanKind::Rollout,
            to: Some(digest("b")),
            fallback: None,
            cause: None,
        };
        apply(&mut state, &started).unwrap();
        let begun = UnitEvent::MoveBegun { id: "m".into(), to: new() };
        assert!(apply(&mut state, &begun).unwrap_err().contains("rollout is under way"));
        let mut state = lived();
        let decided = UnitEvent::RollbackDecided {
            id: "x".into(),
            trigger: None,
            reason: "me".into(),
            bad: digest("b"),
            bad_revision: "b".into(),
            good: digest("a"),
            good_revision: "a".into(),
        };
        apply(&mut state, &decided).unwrap();
        assert!(apply(&mut state, &begun).unwrap_err().contains("rollback x"));
    }

    #[test]
    fn a_name_in_use_is_not_taken() {
        let mut living = lived();
        let [.., (_, taken), _] = hand_over(&lived());
        assert!(apply(&mut living, &taken).is_err());
        assert!(apply(&mut UnitState::default(), &UnitEvent::MovedAway { id: "m".into() }).is_err());
        // What was removed leaves its name free, and takes nothing along.
        let mut removed = UnitState::default();
        for event in [
            UnitEvent::CandidateGone { revision: "a".into(), prune: true },
            UnitEvent::EffectiveSet { revision: "a".into(), rendered: None },
        ] {
            apply(&mut removed, &event).unwrap();
        }
        assert!(!is_worth_moving(&removed) && !is_blank(&removed) && is_blank(&UnitState::default()));
        apply(&mut removed, &taken).unwrap();
    }

    #[test]
    fn a_state_reads_back_from_its_event() {
        let [.., (_, taken), _] = hand_over(&lived());
        let text = serde_json::to_value(&taken).unwrap();
        assert_eq!(crate::domain::unit::event::upcast(1, text).unwrap(), taken);
    }
}
