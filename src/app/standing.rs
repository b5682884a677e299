//! How a unit stands, in a word and a line, for people and metrics.

use super::unit::glance::Glance;
use super::view::{Known, rollback_status, version};
use crate::api::types::{AS_ASKED, UnitHealth};
use crate::domain::observed::{ObservedGroup, ObservedInstance, ObservedUnit, Seen};
use crate::domain::plan::PlanKind;
use crate::domain::rollout::event::Why;
use crate::domain::rollout::state::{Course, RolloutState};

/// So many objects are told of in one line.
const MOST_NOTES: usize = 3;

/// How the unit stands, and the most important thing to know, the root cause first.
pub fn health(glance: &Glance, known: &Known) -> (UnitHealth, String) {
    let state = &glance.state;
    if let Some(ObservedUnit { groups: Seen::Unknown(reason), .. }) = &glance.observed {
        return (UnitHealth::Unknown, format!("what runs can't be seen: {reason}"));
    }
    if let Some(reason) = glance.stuck.as_ref().or_else(|| state.running().and_then(|rollout| rollout.stopped.as_ref()))
    {
        return (UnitHealth::Stuck, reason.clone());
    }
    if let Some(rollback) = &state.rollback {
        let (.., message) = rollback_status(&rollback.status);
        let good = version(known, &rollback.good, None).version;
        return (UnitHealth::RollingBack, format!("back to {good}: {}; {message}", rollback.reason));
    }
    if let Some(rollout) = state.running() {
        return running(glance, rollout);
    }
    if let Some(reason) = &glance.blocked {
        return (UnitHealth::Degraded, reason.clone());
    }
    if let Some(held) = state.held.first() {
        return (UnitHealth::Held, held.message.clone());
    }
    match (&state.candidate, &state.effective) {
        (None, None) => (UnitHealth::Unknown, "not looked at yet".into()),
        (_, Some(effective)) if effective.rendered.is_none() => (UnitHealth::InSync, "removed".into()),
        _ if state.last_verified.is_none() => (UnitHealth::Progressing, "not looked at yet".into()),
        _ => as_asked(glance),
    }
}

/// What Git asks for is applied; what is told of its objects all the same, such as who changed one that is left so, stands beside it. What
/// is not well is no drift, and yet what should run does not.
fn as_asked(glance: &Glance) -> (UnitHealth, String) {
    let observed = glance.observed.as_ref();
    let worst = observed.and_then(|observed| observed.notable().first().map(|(object, _)| *object));
    let lacking = lacking(glance);
    let dropped = observed.and_then(notes_of_dropped).map(|told| format!("not gone yet: {told}"));
    let health = match worst {
        Some(object) if object.given_up => UnitHealth::Degraded,
        _ if lacking.is_some_and(serves_no_more) => UnitHealth::Degraded,
        Some(object) if !object.ready => UnitHealth::Progressing,
        _ if lacking.is_some() => UnitHealth::Progressing,
        // What Git no longer asks for is there.
        _ if dropped.is_some() => UnitHealth::Progressing,
        _ => UnitHealth::InSync,
    };
    let well = lacking.is_none() && matches!(worst, None | Some(ObservedInstance { ready: true, .. }));
    let told = observed.and_then(notes);
    let parts: Vec<String> = match well {
        true => dropped.into_iter().chain([AS_ASKED.to_owned()]).chain(told).collect(),
        false => lacking.and_then(ObservedGroup::shortfall).into_iter().chain(told).chain(dropped).collect(),
    };
    (health, parts.join("; "))
}

/// The group of what Git asks for, where fewer of its instances are ready than it has. Objects that are replaced in place tell of themselves.
fn lacking(glance: &Glance) -> Option<&ObservedGroup> {
    let asked = glance.state.effective.as_ref()?.rendered.as_ref()?;
    let groups = glance.observed.as_ref()?.groups.known()?;
    let mut of_asked = groups.iter().filter(|group| group.rendered == *asked && !group.retiring && !group.in_place);
    of_asked.find(|group| group.ready(u32::MAX) < group.replicas)
}

/// None of a group is ready, or one of it will not become so by itself.
fn serves_no_more(group: &ObservedGroup) -> bool {
    group.ready(u32::MAX) == 0 || group.instances.iter().any(|instance| instance.given_up)
}

/// What there is to tell of objects that are replaced in place, the worst first, in a line; `None`: nothing.
pub fn notes(observed: &ObservedUnit) -> Option<String> {
    in_a_line(observed.notable().into_iter().map(|(object, message)| format!("{}: {message}", object.id)))
}

/// The same of what is no longer asked for and not gone.
fn notes_of_dropped(observed: &ObservedUnit) -> Option<String> {
    in_a_line(observed.dropped().map(|one| format!("{}: {}", one.id, one.message)))
}

/// Some of the notes, and how many more there are; `None` without any.
fn in_a_line(notes: impl Iterator<Item = String>) -> Option<String> {
    let mut notes: Vec<String> = notes.collect();
    let more = notes.len().saturating_sub(MOST_NOTES);
    notes.truncate(MOST_NOTES);
    if more > 0 {
        notes.push(format!("and {more} more objects"));
    }
    (!notes.is_empty()).then(|| notes.join("; "))
}

fn running(glance: &Glance, rollout: &RolloutState) -> (UnitHealth, String) {
    let phase =
        rollout.phase.as_ref().and_then(|phase| glance.plan.as_ref()?.phase(phase.id).map(|phase| phase.name.clone()));
    let phase = phase.unwrap_or_else(|| "starting".into());
    if let Some(by) = &rollout.paused {
        return (UnitHealth::Paused, format!("{phase}: paused by {by}"));
    }
    let waits = glance.waits.as_ref().map(|waits| waits.reason.as_str());
    let message = in_phase(&phase, waits);
    let waits_for_people = glance.waits.as_ref().is_some_and(|waits| waits.until.is_none())
        && rollout.phase.as_ref().is_some_and(|phase| phase.true_since.is_some());
    match (rollout.kind, &rollout.course) {
        (_, Course::Settling(Why::Failed(failure))) => (UnitHealth::RollingBack, failure.reason.clone()),
        (PlanKind::Heal, _) => (UnitHealth::Degraded, message),
        (PlanKind::Remove, _) => (UnitHealth::Removing, message),
        (PlanKind::Rollback, _) => (UnitHealth::RollingBack, message),
        _ if waits_for_people => (UnitHealth::Paused, message),
        _ => (UnitHealth::Progressing, message),
    }
}

/// Where a rollout stands and what it waits for. What a step of a phase waits for names the phase itself.
fn in_phase(phase: &str, waits: Option<&str>) -> String {
    match waits {
        None => phase.to_owned(),
        Some(waits) if waits.starts_with(phase) => waits.to_owned(),
        Some(waits) => format!("{phase}: {waits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::Digest;
    use crate::domain::id::{GroupId, Revision};
    use crate::domain::observed::{Leaving, ObservedGroup};
    use crate::domain::unit::state::{Effective, UnitState};

    fn object(name: &str, ready: bool, given_up: bool, message: Option<&str>) -> ObservedInstance {
        ObservedInstance {
            id: name.into(),
            slot: 0,
            running: true,
            stopping: false,
            ready,
            address: None,
            started: None,
            restarts: 0,
            given_up,
            message: message.map(str::to_owned),
        }
    }

    fn effective(rendered: &Digest) -> Effective {
        Effective { revision: Revision("c1".into()), rendered: Some(rendered.clone()) }
    }

    fn asked(objects: Vec<ObservedInstance>) -> (UnitHealth, String) {
        asked_beside(objects, Vec::new())
    }

    fn asked_beside(objects: Vec<ObservedInstance>, leaving: Vec<Leaving>) -> (UnitHealth, String) {
        as_asked(&beside(objects, leaving))
    }

    fn beside(objects: Vec<ObservedInstance>, leaving: Vec<Leaving>) -> Glance {
        let group = ObservedGroup {
            group: GroupId("g".into()),
            rendered: Digest::of("r1", &()),
            version: "1".into(),
            replicas: 1,
            retiring: false,
            in_place: true,
            found: false,
            leaving,
            instances: objects,
        };
        let unseen = ObservedUnit {
            groups: Seen::Known(vec![]),
            traffic: Seen::Known(None),
            preview: Seen::Known(None),
            runs: std::collections::BTreeMap::new(),
        };
        let mut glance = Glance::of(UnitState::default());
        glance.observed = Some(ObservedUnit { groups: Seen::Known(vec![group]), ..unseen });
        glance
    }

    #[test]
    fn an_object_that_is_not_well_is_not_in_sync_although_nothing_is_to_be_applied() {
        let note = Some("mallory changed .data.word");
        for (objects, health, message) in [
            (vec![], UnitHealth::InSync, AS_ASKED.to_owned()),
            (vec![object("a", true, false, None)], UnitHealth::InSync, AS_ASKED.to_owned()),
            (
                vec![object("a", true, false, note)],
                UnitHealth::InSync,
                format!("{AS_ASKED}; a: mallory changed .data.word"),
            ),
            (
                vec![object("a", true, false, note), object("b", false, false, Some("2 of 3 ready"))],
                UnitHealth::Progressing,
                "b: 2 of 3 ready; a: mallory changed .data.word".to_owned(),
            ),
            (
                vec![object("b", false, false, Some("2 of 3 ready")), object("c", false, true, Some("no such image"))],
                UnitHealth::Degraded,
                "c: no such image; b: 2 of 3 ready".to_owned(),
            ),
        ] {
            assert_eq!(asked(objects), (health, message));
        }
        let many = (0..5).map(|_| object("a", false, false, Some("m"))).collect();
        assert_eq!(asked(many).1, "a: m; a: m; a: m; and 2 more objects");
    }

    #[test]
    fn instances_that_stop_being_ready_after_their_rollout_are_not_in_sync() {
        let instances =
            |ready: usize| (0..4).map(move |at| object(&at.to_string(), at < ready, false, Some("no answer")));
        let (asked, other) = (Digest::of("r1", &()), Digest::of("r1", &"other"));
        let seen = |rendered: &Digest, ready: usize, given_up: bool| {
            let mut glance = beside(instances(ready).collect(), Vec::new());
            glance.state = UnitState { effective: Some(effective(&asked)), ..UnitState::default() }.into();
            let groups = glance.observed.as_mut().map(|observed| &mut observed.groups);
            let Some(Seen::Known(groups)) = groups else { unreachable!("made so") };
            (groups[0].in_place, groups[0].replicas, groups[0].rendered) = (false, 4, rendered.clone());
            groups[0].instances[3].given_up = given_up;
            as_asked(&glance)
        };
        let short = |ready: u32| format!("{ready} of 4 instances of 1 are ready; {ready}: no answer");
        assert_eq!(seen(&asked, 4, false), (UnitHealth::InSync, AS_ASKED.to_owned()));
        assert_eq!(seen(&asked, 3, false), (UnitHealth::Progressing, short(3)));
        assert_eq!(seen(&asked, 3, true), (UnitHealth::Degraded, short(3)));
        assert_eq!(seen(&asked, 0, false), (UnitHealth::Degraded, short(0)));
        // What is kept of another version may rest.
        assert_eq!(seen(&other, 0, false), (UnitHealth::InSync, AS_ASKED.to_owned()));
    }

    #[test]
    fn a_phase_is_named_once() {
        assert_eq!(in_phase("preview", None), "preview");
        assert_eq!(in_phase("preview", Some("preview: waits until promoted")), "preview: waits until promoted");
        assert_eq!(in_phase("preview", Some("1 of 2 are ready")), "preview: 1 of 2 are ready");
    }

    #[test]
    fn what_git_dropped_and_does_not_go_is_not_in_sync() {
        let leaving = |id: &str| Leaving { id: id.into(), message: "being deleted".into(), remedy: None };
        let (health, message) = asked_beside(vec![object("a", true, false, None)], vec![leaving("x")]);
        assert_eq!(health, UnitHealth::Progressing);
        assert_eq!(message, format!("not gone yet: x: being deleted; {AS_ASKED}"));
        let unwell = object("b", false, true, Some("no such image"));
        let (health, message) = asked_beside(vec![unwell], vec![leaving("x")]);
        assert_eq!(
            (health, message.as_str()),
            (UnitHealth::Degraded, "b: no such image; not gone yet: x: being deleted")
        );
        // What is asked for tells of itself.
        let (_, message) = asked_beside(vec![object("a", false, false, Some("being deleted"))], vec![leaving("a")]);
        assert_eq!(message, "a: being deleted");
    }
}
