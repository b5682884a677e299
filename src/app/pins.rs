//! Pins: the commits without which something that runs, or that a rollback leads to, could not be read any more. They stay
//! in the mirror when the branch's history is rewritten and the mirror is cleaned up.
//!
//! One pin stands for one commit, however many units need it. A commit is pinned as soon as a unit needs it; what none
//! needs any more is unpinned when the head moves.

use std::collections::BTreeSet;

use super::registry::Registry;
use super::world::World;
use crate::domain::id::Revision;
use crate::domain::unit::state::UnitState;
use crate::ports::source::SourceError;

/// What the names of pins begin with.
const PREFIX: &str = "commit/";

fn name(revision: &Revision) -> String {
    format!("{PREFIX}{revision}")
}

/// The commits that a unit's state needs: of what is made true, of what had the traffic last, of what was verified last and
/// before that, and of both ends of a rollback.
pub fn needed(state: &UnitState) -> BTreeSet<Revision> {
    let effective = state.effective.as_ref().filter(|effective| effective.rendered.is_some());
    let verified = state.last_verified.as_ref();
    let before = verified.and_then(|verified| verified.before.as_deref());
    let kept = [verified, before, state.serving.as_ref()].into_iter().flatten().map(|one| &one.revision);
    let rollback = state.rollback.as_ref().map(|rollback| [&rollback.good_revision, &rollback.bad_revision]);
    effective
        .map(|effective| &effective.revision)
        .into_iter()
        .chain(kept)
        .chain(rollback.into_iter().flatten())
        .cloned()
        .collect()
}

/// Pins what a unit's state needs now and did not before. A failure is told and made good by the next [`sweep`].
pub async fn keep(world: &World, before: &BTreeSet<Revision>, after: &BTreeSet<Revision>) {
    for revision in after.difference(before) {
        if let Err(error) = world.source.pin(&name(revision), revision).await {
            tracing::warn!(%revision, %error, "the commit is not pinned");
        }
    }
}

/// Pins everything that any unit needs, and unpins the rest.
///
/// # Errors
///
/// The pins can't be read. Single ones that can't be set or removed are told, and tried again by the next sweep.
pub async fn sweep(world: &World, registry: &Registry) -> Result<(), SourceError> {
    // Listed first: what a unit pins from here on is not among them, and stays.
    let listed = world.source.pins().await?;
    let mut needed_now = BTreeSet::new();
    for unit in registry.all() {
        let glance = unit.glance();
        needed_now.extend(needed(&glance.state));
        needed_now.extend(glance.state.candidate.as_ref().map(|candidate| candidate.revision.clone()));
    }
    let pinned: BTreeSet<Revision> =
        listed.iter().filter(|(pin, revision)| *pin == name(revision)).map(|(_, revision)| revision.clone()).collect();
    keep(world, &pinned, &needed_now).await;
    for (pin, revision) in listed {
        if pin == name(&revision) && needed_now.contains(&revision) {
            continue;
        }
        if let Err(error) = world.source.unpin(&pin).await {
            tracing::warn!(pin, %error, "the pin is not removed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::digest::Digest;
    use crate::domain::unit::event::UnitEvent;

    #[test]
    fn what_is_effective_and_what_a_rollback_leads_to_are_needed() {
        let digest = |text: &str| Digest::from_text(format!("r1:{text}"));
        let mut state = UnitState::default();
        let verified = |text: &str| UnitEvent::Verified {
            revision: text.into(),
            rendered: digest(text),
            restarts: 0,
            undo: Vec::new(),
        };
        let set = |text: &str| UnitEvent::EffectiveSet { revision: text.into(), rendered: Some(digest(text)) };
        let mut seen = Vec::new();
        for event in [set("a"), verified("a"), set("b"), verified("b"), set("c")] {
            state.apply(&event, Timestamp::UNIX_EPOCH).unwrap();
            let names: Vec<String> = needed(&state).into_iter().map(|revision| revision.0).collect();
            seen.push(names.concat());
        }
        assert_eq!(seen, ["a", "a", "ab", "ab", "abc"]);
        let gone = UnitEvent::EffectiveSet { revision: "d".into(), rendered: None };
        state.apply(&gone, Timestamp::UNIX_EPOCH).unwrap();
        state.apply(&UnitEvent::Removed {}, Timestamp::UNIX_EPOCH).unwrap();
        assert!(needed(&state).is_empty());
    }
}
