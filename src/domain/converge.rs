//! Making a phase true: which effect comes next, from any state whatsoever.
//!
//! The order is the same in every phase: hold, raise groups, wait until they are ready, traffic, drain, lower and retire groups.
//! Traffic leaves an instance before it is stopped, and reaches one only once it is ready; so no order of phases, however
//! they are entered or left, sends requests to nothing. Nothing is lowered while who carries the requests has yet to confirm where
//! they go.

mod traffic;
mod view;

use self::traffic::Goal;
use self::view::View;
use super::action::{Action, Which};
use super::id::GroupId;
use super::observed::ObservedUnit;
use super::plan::{Phase, Plan};

/// What making a phase true needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Converge {
    /// This effect.
    Do(Action),
    /// Nothing but time.
    Wait(Waiting),
    /// Nothing: it is true.
    True,
    /// It can't be told; why.
    Unknown(String),
}

/// What time is needed for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What for.
    pub kind: WaitKind,
    /// The same for people.
    pub reason: String,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// Instances becoming ready.
    Ready,
    /// Requests in flight.
    Drain,
    /// Instances ending.
    End,
}

fn wait(kind: WaitKind, reason: String) -> Converge {
    Converge::Wait(Waiting { kind, reason })
}

/// The next effect towards a phase. With `force` it has waited long enough for everything but the target: a phase that moves
/// traffic as instances become available moves all of it as soon as a single one can serve, and instances of other groups
/// that have yet to come up are not waited for.
pub fn next_action(plan: &Plan, phase: &Phase, observed: &ObservedUnit, force: bool) -> Converge {
    match View::new(plan, phase, observed) {
        Err(reason) => Converge::Unknown(reason),
        Ok(view) => stop_first(&view)
            .or_else(|| raise(&view))
            .or_else(|| steer(&view, force))
            .or_else(|| unroute(&view))
            .or_else(|| lower(&view))
            .or_else(|| ending(&view))
            .or_else(|| not_ready(&view, force))
            .unwrap_or(Converge::True),
    }
}

/// Whether a phase needs any effect: what only waits for instances that the platform restarts by itself does not.
pub fn needs_effect(plan: &Plan, phase: &Phase, observed: &ObservedUnit) -> bool {
    match View::new(plan, phase, observed) {
        Err(_) => true,
        Ok(view) => {
            let sizes = view.phase.groups.keys().any(|group| view.raise_to(group).is_some())
                || view.excess().next().is_some()
                || view.leftover().any(|seen| !seen.retiring);
            sizes || Goal::new(&view).is_some_and(|goal| !goal.in_force(&view)) || unroute(&view).is_some()
        }
    }
}

/// Where nothing may run side by side: hold, drain, and end all others before anything of the phase starts.
fn stop_first(view: &View<'_>) -> Option<Converge> {
    let hold = view.phase.stop_first?;
    view.leftover().next()?;
    if let Some(removal) = view.needless_route() {
        return Some(removal);
    }
    if let Some(goal) = &view.phase.traffic {
        let set = traffic::closed(goal, hold);
        if view.main.is_none_or(|seen| !set.matches(seen)) {
            return Some(Converge::Do(Action::SetTraffic { which: Which::Main, traffic: set }));
        }
    }
    retire(view).or_else(|| ending(view))
}

/// Groups that are missing, too small, or marked as made from something else.
fn raise(view: &View<'_>) -> Option<Converge> {
    view.phase.groups.keys().find_map(|group| {
        let replicas = view.raise_to(group)?;
        Some(view.ensure(group, replicas))
    })
}

/// The main route, once what it leads to is ready.
fn steer(view: &View<'_>, force: bool) -> Option<Converge> {
    let Some(goal) = Goal::new(view) else {
        // Without a route nothing but the instances themselves tells when the old ones may go.
        if !view.must_lower() || view.phase.groups.is_empty() {
            return None;
        }
        if !view.phase.as_available {
            return not_ready(view, force);
        }
        let dark = view.nothing_ready() && view.others_ready();
        return dark.then(|| wait(WaitKind::Ready, view.readiness()));
    };
    if goal.in_force(view) {
        if let Some(missing) = view.main.and_then(|seen| seen.unconfirmed.as_ref()) {
            return Some(wait(WaitKind::Ready, missing.clone()));
        }
        return if view.must_lower() && !view.phase.as_available { not_ready(view, force) } else { None };
    }
    if !view.phase.as_available
        && let Some(waiting) = not_ready(view, force)
    {
        return Some(waiting);
    }
    match goal.next(view, force) {
        Some(set) if view.main.is_some_and(|seen| set.matches(seen)) => Some(wait(WaitKind::Ready, view.readiness())),
        Some(set) => Some(Converge::Do(Action::SetTraffic { which: Which::Main, traffic: set })),
        // The new version is as ready as it shall be, and what is to have the requests for now is dead: as true as it can be. What
        // serves meanwhile is left as it is; a dead stable version never holds up its successor.
        None if !view.phase.as_available => Some(Converge::True),
        None => Some(wait(WaitKind::Ready, view.readiness())),
    }
}

/// Routes that shall not be there, and the preview.
fn unroute(view: &View<'_>) -> Option<Converge> {
    view.needless_route().or_else(|| {
        let set = traffic::preview(view, view.phase.preview.as_ref()?)?;
        let different = view.preview.is_none_or(|seen| !set.matches(seen));
        different.then_some(Converge::Do(Action::SetTraffic { which: Which::Preview, traffic: set }))
    })
}

/// Groups that are too big, and those that shall not be there, once nothing is in flight on what goes.
fn lower(view: &View<'_>) -> Option<Converge> {
    let Some((group, seen, replicas)) = view.excess().next() else { return retire(view) };
    draining(view, seen.instances.iter().filter(|one| one.slot >= replicas))
        .or_else(|| Some(view.ensure(group, replicas)))
}

fn retire(view: &View<'_>) -> Option<Converge> {
    let mut waiting = None;
    for seen in view.leftover().filter(|seen| !seen.retiring) {
        match draining(view, seen.instances.iter()) {
            Some(reason) => waiting = waiting.or(Some(reason)),
            None => return Some(Converge::Do(Action::RetireGroup { group: seen.group.clone() })),
        }
    }
    waiting
}

/// Instances that are being stopped.
fn ending(view: &View<'_>) -> Option<Converge> {
    if let Some(seen) = view.leftover().next() {
        let left = seen.instances.len();
        // What keeps an object from going, such as a finalizer.
        let kept =
            seen.instances.iter().filter(|_| seen.in_place).find_map(|one| Some((&one.id, one.message.as_ref()?)));
        let why = kept.map(|(id, message)| format!("; {id}: {message}")).unwrap_or_default();
        return Some(wait(WaitKind::End, format!("{left} instances of {} are being stopped{why}", seen.version)));
    }
    view.phase.groups.iter().find_map(|(group, replicas)| {
        let seen = view.group(group)?;
        let left = seen.instances.iter().filter(|one| one.slot >= *replicas).count();
        (left > 0).then(|| wait(WaitKind::End, format!("{left} instances of {} are being stopped", seen.version)))
    })
}

/// In-flight requests on instances that are to be stopped.
fn draining<'a>(
    view: &View<'_>,
    mut instances: impl Iterator<Item = &'a super::observed::ObservedInstance>,
) -> Option<Converge> {
    instances.find_map(|instance| {
        let open = view.in_flight(&instance.id);
        (open > 0).then(|| wait(WaitKind::Drain, format!("{open} requests are still in flight on {}", instance.id)))
    })
}

/// What the phase waits for until it counts as ready: the whole target; of the others only instances that have yet to come up
/// for the first time. A stable instance that broke never holds up a healthy new version, nor the way back.
fn not_ready(view: &View<'_>, force: bool) -> Option<Converge> {
    if view.phase.unready {
        return None;
    }
    let target = view.plan.target.as_ref().filter(|target| view.phase.groups.contains_key(*target));
    let settling = view.is_settle();
    for (group, replicas) in &view.phase.groups {
        let is_target = !settling && target == Some(group);
        let enough = match is_target {
            true => view.ready(group) >= *replicas,
            false => force || !view.matters(group) || view.pending(group) == 0,
        };
        if !enough {
            return Some(wait(WaitKind::Ready, view.readiness()));
        }
    }
    if view.phase.groups.is_empty() || !view.nothing_ready() {
        return None;
    }
    if settling {
        // On the way back something has to serve.
        return Some(wait(WaitKind::Ready, view.readiness()));
    }
    // On the way forward the last that serves is not stopped for something dead: the phase is as true as it can be.
    (target.is_none() && view.others_ready()).then_some(Converge::True)
}

/// Instances of the target that the phase asks for and that are not ready.
pub fn unready_target<'a>(
    plan: &'a Plan,
    phase: &'a Phase,
    observed: &'a ObservedUnit,
) -> Vec<&'a super::observed::ObservedInstance> {
    let Some((group, replicas)) = target_of(plan, phase) else { return Vec::new() };
    observed
        .groups
        .known()
        .into_iter()
        .flatten()
        .filter(|seen| seen.group == *group)
        .flat_map(move |seen| seen.instances.iter().filter(move |one| one.slot < replicas && !one.ready))
        .collect()
}

/// The target and its size in a phase, where it has any there.
pub fn target_of<'a>(plan: &'a Plan, phase: &Phase) -> Option<(&'a GroupId, u32)> {
    let target = plan.target.as_ref()?;
    phase.groups.get(target).map(|replicas| (target, *replicas))
}
