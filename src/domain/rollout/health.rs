//! Whether the new version's instances are healthy enough to go on.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::clock::{self, Clock, Mark};
use super::state::{ActionState, PhaseState};
use crate::domain::action::Action;
use crate::domain::converge::{target_of, unready_target};
use crate::domain::observed::{ObservedInstance, ObservedUnit};
use crate::domain::plan::{Phase, Plan};
use crate::domain::span::Span;

/// How often each instance of the target has been restarted.
pub(super) fn restarts(plan: &Plan, observed: &ObservedUnit) -> BTreeMap<String, u32> {
    let Some(target) = &plan.target else { return BTreeMap::new() };
    let groups = observed.groups.known().into_iter().flatten();
    groups
        .filter(|seen| seen.group == *target)
        .flat_map(|seen| &seen.instances)
        .filter(|one| one.restarts > 0)
        .map(|one| (one.id.clone(), one.restarts))
        .collect()
}

/// Why an instance of the target is in a crash loop or given up by its platform; `None`: none is.
pub(super) fn crash_loop(
    plan: &Plan,
    phase: &Phase,
    at: &PhaseState,
    observed: &ObservedUnit,
    limit: u32,
) -> Option<String> {
    // Where nothing is judged (healing), crashes are told, not decided on.
    phase.deadline?;
    let (target, size) = target_of(plan, phase)?;
    let groups = observed.groups.known()?;
    let seen = groups.iter().find(|seen| seen.group == *target)?;
    seen.instances.iter().filter(|one| one.slot < size).find_map(|one| {
        let why = one.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        if one.given_up {
            return Some(format!("{} has failed{why}", one.id));
        }
        let before = at.restarts.get(&one.id).copied().unwrap_or(0);
        let again = one.restarts.saturating_sub(before);
        (again >= limit).then(|| format!("{} was restarted {again} times{why}", one.id))
    })
}

/// So often in a row the new version is refused for good before that is believed: what it needs may have come just before it.
const BELIEVED: u32 = 3;

/// Why the new version can't be made, however long that is waited for; `None`: it may be.
pub(super) fn refused(plan: &Plan, phase: &Phase, last: Option<&ActionState>) -> Option<String> {
    // Where nothing is judged (healing), it is told, not decided on.
    phase.deadline?;
    let last = last.filter(|last| last.refusals >= BELIEVED)?;
    let Action::EnsureGroup { group, .. } = &last.action else { return None };
    let Some(Err(reason)) = last.result.as_ref().filter(|_| plan.target.as_ref() == Some(group)) else { return None };
    Some(format!("{reason}; tried {} times, and waiting changes nothing", last.attempts))
}

/// When a phase that is not true has failed; `None`: never, or not while the clock stands still.
///
/// An instance gets the phase's deadline from its own start too, so that a reboot in the middle is not held against it; one that
/// exits again and again is a crash loop long before. Once the phase was true, an instance whose process went on running and
/// is not ready any more has only the grace.
pub(super) fn deadline(
    plan: &Plan,
    phase: &Phase,
    at: &PhaseState,
    observed: &ObservedUnit,
    clock: &Clock,
    now: Timestamp,
) -> Option<Timestamp> {
    let within = phase.deadline?;
    let unready = unready_target(plan, phase, observed);
    let (since, span) = match &at.disturbed {
        Some((since, _)) if unready.iter().any(|one| kept_running(one, since)) => {
            (*since, phase.grace.unwrap_or(within))
        }
        Some((since, _)) => (*since, within),
        None => (at.deadline_from, within),
    };
    let due = clock.due(since, span, now)?;
    let started = unready.iter().filter(|one| one.running).filter_map(|one| one.started).max();
    let own = started.filter(|_| span == within).map(|started| clock::after(started, own_time(within, started, since)));
    Some(own.map_or(due, |own| own.max(due)))
}

/// A process that started after the clock did gets its whole time; one from before got it already.
fn own_time(within: Span, started: Timestamp, since: Mark) -> Span {
    if started > since.at { within } else { Span::ZERO }
}

fn kept_running(one: &ObservedInstance, since: &Mark) -> bool {
    one.running && one.started.is_some_and(|started| started <= since.at)
}
