//! From what traffic shall be to what can be set now: concrete endpoints, and shares while instances come up.

use std::collections::BTreeMap;

use super::view::View;
use crate::domain::action::TrafficSet;
use crate::domain::id::GroupId;
use crate::domain::observed::{ObservedBackend, ObservedTraffic};
use crate::domain::plan::{BackendGoal, TrafficGoal};
use crate::domain::span::Span;

/// No data plane is given a greater weight.
const MAX_WEIGHT: u64 = 1_000_000;

/// The main route of a phase.
pub(super) struct Goal<'a>(&'a TrafficGoal);

impl<'a> Goal<'a> {
    pub fn new(view: &View<'a>) -> Option<Self> {
        view.phase.traffic.as_ref().map(Goal)
    }

    /// Whether the route is as it shall be, as far as instances can serve.
    pub fn in_force(&self, view: &View<'_>) -> bool {
        match (self.whole(view), view.main) {
            (Some(set), Some(seen)) => set.matches(seen),
            (None, Some(seen)) => self.weights_match(seen),
            (_, None) => false,
        }
    }

    /// What to set now; `None`: it stays as it is, since nothing could serve.
    pub fn next(&self, view: &View<'_>, force: bool) -> Option<TrafficSet> {
        if !view.phase.as_available || self.0.backends.is_empty() {
            return self.whole(view);
        }
        let ready: u32 = self.0.backends.keys().map(|group| view.ready(group)).sum();
        let pending: u32 = self.0.backends.keys().map(|group| view.pending(group)).sum();
        let leaving = leaving(view, self.0);
        if leaving.is_empty() || (ready > 0 && (pending == 0 || force)) {
            self.whole(view)
        } else if ready == 0 {
            None
        } else {
            self.partly(view, pending, leaving)
        }
    }

    /// The whole goal, to the instances that are ready or that the route leads to already: an instance that crashes stays, since
    /// the data plane's own probes know better and sooner. `None` where no endpoint of it can serve, though requests were wanted.
    fn whole(&self, view: &View<'_>) -> Option<TrafficSet> {
        let mut backends = BTreeMap::new();
        let mut ready = 0;
        for (group, goal) in &self.0.backends {
            let (backend, serving) = backend(view, group, goal);
            ready += serving;
            if !backend.endpoints.is_empty() {
                backends.insert(group.clone(), backend);
            }
        }
        let wanted = self.0.backends.values().any(|goal| goal.weight > 0 && goal.slots > 0);
        let served = backends.values().any(|backend: &ObservedBackend| backend.weight > 0);
        // Endpoints that are known to be down are set only where they were set before and nothing that is up goes for them.
        if wanted && (!served || (ready == 0 && serves(view))) {
            return None;
        }
        Some(self.set(backends))
    }

    /// A share for what has come up; the rest stays where it is. What leaves never gets more than it has.
    fn partly(&self, view: &View<'_>, pending: u32, leaving: BTreeMap<GroupId, ObservedBackend>) -> Option<TrafficSet> {
        let goals: u64 = self.0.backends.values().map(|goal| u64::from(goal.weight)).sum();
        let slots: u64 = self.0.backends.values().map(|goal| u64::from(goal.slots)).sum();
        let all: u64 = view.main.into_iter().flat_map(|seen| seen.backends.values()).map(|b| u64::from(b.weight)).sum();
        let left: u64 = leaving.values().map(|backend| u64::from(backend.weight)).sum();
        // Shares of what leaves: now `left / all`, allowed `pending / slots`.
        let (keep, of) =
            if left * slots <= u64::from(pending) * all { (left, all) } else { (u64::from(pending), slots) };
        let mut weights: BTreeMap<GroupId, u64> = BTreeMap::new();
        let mut backends = BTreeMap::new();
        for (group, backend) in leaving {
            weights.insert(group.clone(), u64::from(backend.weight) * keep * goals);
            backends.insert(group, backend);
        }
        for (group, goal) in &self.0.backends {
            let (backend, _) = backend(view, group, goal);
            if !backend.endpoints.is_empty() {
                weights.insert(group.clone(), (of - keep) * left * u64::from(goal.weight));
                backends.insert(group.clone(), backend);
            }
        }
        reduce(&mut weights);
        for (group, backend) in &mut backends {
            backend.weight = weights.get(group).and_then(|weight| u32::try_from(*weight).ok()).unwrap_or(0);
        }
        Some(self.set(backends))
    }

    fn set(&self, backends: BTreeMap<GroupId, ObservedBackend>) -> TrafficSet {
        TrafficSet { route: self.0.route.clone(), settings: self.0.settings.clone(), backends, hold: self.0.hold }
    }

    fn weights_match(&self, seen: &ObservedTraffic) -> bool {
        let weights = |group: &GroupId| seen.backends.get(group).map(|backend| (backend.weight, backend.testers));
        seen.settings == self.0.settings
            && seen.hold == self.0.hold.is_some()
            && seen.backends.len() == self.0.backends.len()
            && self.0.backends.iter().all(|(group, goal)| weights(group) == Some((goal.weight, goal.testers)))
    }
}

/// The route closed: requests wait, or are refused where they can't.
pub(super) fn closed(goal: &TrafficGoal, hold: Span) -> TrafficSet {
    TrafficSet {
        route: goal.route.clone(),
        settings: goal.settings.clone(),
        backends: BTreeMap::new(),
        hold: (hold != Span::ZERO).then_some(hold),
    }
}

/// The preview route; `None` while nothing of it could serve.
pub(super) fn preview(view: &View<'_>, goal: &TrafficGoal) -> Option<TrafficSet> {
    let mut backends = BTreeMap::new();
    for (group, wanted) in &goal.backends {
        let endpoints: BTreeMap<_, _> = view
            .instances(group)
            .filter(|one| one.slot < wanted.slots && (one.ready || previewed(view, group, &one.id)))
            .filter_map(|one| Some((one.id.clone(), one.address?)))
            .collect();
        if endpoints.is_empty() {
            return None;
        }
        backends.insert(group.clone(), ObservedBackend { weight: wanted.weight, endpoints, testers: false });
    }
    Some(TrafficSet { route: goal.route.clone(), settings: goal.settings.clone(), backends, hold: goal.hold })
}

fn previewed(view: &View<'_>, group: &GroupId, instance: &str) -> bool {
    let backend = view.preview.and_then(|seen| seen.backends.get(group));
    backend.is_some_and(|backend| backend.endpoints.contains_key(instance))
}

/// One backend, and how many of its endpoints are ready.
fn backend(view: &View<'_>, group: &GroupId, goal: &BackendGoal) -> (ObservedBackend, u32) {
    let mut ready = 0;
    let mut endpoints = BTreeMap::new();
    for one in view.instances(group).filter(|one| one.slot < goal.slots) {
        if let Some(address) = one.address
            && (one.ready || view.routed(group, one))
        {
            endpoints.insert(one.id.clone(), address);
            ready += u32::from(one.ready);
        }
    }
    (ObservedBackend { weight: goal.weight, endpoints, testers: goal.testers }, ready)
}

/// Groups that have requests now, shall have none, and can still serve.
fn leaving(view: &View<'_>, goal: &TrafficGoal) -> BTreeMap<GroupId, ObservedBackend> {
    let Some(seen) = view.main.filter(|seen| !seen.hold) else { return BTreeMap::new() };
    let others =
        seen.backends.iter().filter(|(group, backend)| backend.weight > 0 && !goal.backends.contains_key(*group));
    others
        .filter(|(group, backend)| up(view, group, backend))
        .map(|(group, backend)| (group.clone(), backend.clone()))
        .collect()
}

/// Whether any endpoint that has requests now can serve.
fn serves(view: &View<'_>) -> bool {
    let backends = view.main.into_iter().filter(|seen| !seen.hold).flat_map(|seen| &seen.backends);
    backends.into_iter().any(|(group, backend)| backend.weight > 0 && up(view, group, backend))
}

fn up(view: &View<'_>, group: &GroupId, backend: &ObservedBackend) -> bool {
    view.group(group)
        .is_some_and(|seen| seen.instances.iter().any(|one| one.ready && backend.endpoints.contains_key(&one.id)))
}

/// Divides by the greatest common divisor, and scales down what no data plane takes. A weight above zero stays above zero.
fn reduce(weights: &mut BTreeMap<GroupId, u64>) {
    let divisor = weights.values().copied().filter(|weight| *weight > 0).reduce(gcd).unwrap_or(1);
    let greatest = weights.values().copied().max().unwrap_or(0) / divisor;
    let scale = greatest.div_ceil(MAX_WEIGHT).max(1);
    for weight in weights.values_mut().filter(|weight| **weight > 0) {
        *weight = (*weight / divisor / scale).max(1);
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
