//! An observation seen from one phase: everything known, or nothing.

use std::collections::BTreeMap;

use super::Converge;
use crate::domain::action::{Action, Which};
use crate::domain::id::GroupId;
use crate::domain::observed::{ObservedGroup, ObservedInstance, ObservedTraffic, ObservedUnit, Seen, shortfall};
use crate::domain::plan::{Phase, Plan, TrafficGoal};

/// A phase beside what is observed.
pub(super) struct View<'a> {
    pub plan: &'a Plan,
    pub phase: &'a Phase,
    groups: &'a [ObservedGroup],
    pub main: Option<&'a ObservedTraffic>,
    pub preview: Option<&'a ObservedTraffic>,
}

impl<'a> View<'a> {
    /// Fails with the reason where anything that matters is unknown: half an observation decides nothing.
    pub fn new(plan: &'a Plan, phase: &'a Phase, observed: &'a ObservedUnit) -> Result<Self, String> {
        fn known<'a, T>(what: &str, seen: &'a Seen<T>) -> Result<&'a T, String> {
            match seen {
                Seen::Known(value) => Ok(value),
                Seen::Unknown(reason) => Err(format!("{what} can't be seen: {reason}")),
            }
        }
        Ok(View {
            plan,
            phase,
            groups: known("what runs", &observed.groups)?,
            main: known("the route", &observed.traffic)?.as_ref(),
            preview: known("the preview route", &observed.preview)?.as_ref(),
        })
    }

    pub fn is_settle(&self) -> bool {
        self.plan.settle.iter().any(|phase| phase.id == self.phase.id)
    }

    pub fn group(&self, group: &GroupId) -> Option<&'a ObservedGroup> {
        self.groups.iter().find(|seen| seen.group == *group)
    }

    /// The size a group must be brought up to now; `None`: it is not too small.
    pub fn raise_to(&self, group: &GroupId) -> Option<u32> {
        let replicas = *self.phase.groups.get(group)?;
        let source = self.plan.groups.get(group)?;
        match self.group(group) {
            None => Some(replicas),
            Some(seen) if seen.retiring || seen.replicas < replicas => Some(replicas),
            Some(seen) if seen.rendered != source.rendered => Some(seen.replicas),
            Some(_) => None,
        }
    }

    pub fn ensure(&self, group: &GroupId, replicas: u32) -> Converge {
        match self.plan.groups.get(group) {
            Some(source) => {
                Converge::Do(Action::EnsureGroup { group: group.clone(), source: source.clone(), replicas })
            }
            None => Converge::Unknown(format!("the plan does not say what group {group} is made from")),
        }
    }

    /// Groups of the phase that are bigger than it says.
    pub fn excess(&self) -> impl Iterator<Item = (&'a GroupId, &'a ObservedGroup, u32)> {
        self.phase.groups.iter().filter_map(|(group, replicas)| {
            let seen = self.group(group)?;
            (seen.replicas > *replicas).then_some((group, seen, *replicas))
        })
    }

    /// Groups that the phase does not name.
    pub fn leftover(&self) -> impl Iterator<Item = &'a ObservedGroup> {
        self.groups.iter().filter(|seen| !self.phase.groups.contains_key(&seen.group))
    }

    pub fn must_lower(&self) -> bool {
        self.excess().next().is_some() || self.leftover().any(|seen| !seen.retiring)
    }

    /// Requests in flight on an instance that was taken out of a route.
    pub fn in_flight(&self, instance: &str) -> u64 {
        let open = |route: Option<&ObservedTraffic>| route.and_then(|seen| seen.draining.get(instance)).copied();
        open(self.main).unwrap_or(0).saturating_add(open(self.preview).unwrap_or(0))
    }

    /// The instances of a group below its size in the phase.
    pub fn instances(&self, group: &GroupId) -> impl Iterator<Item = &'a ObservedInstance> {
        let replicas = self.phase.groups.get(group).copied().unwrap_or(0);
        let instances = self.group(group).map(|seen| seen.instances.as_slice()).unwrap_or_default();
        instances.iter().filter(move |one| one.slot < replicas && !one.stopping)
    }

    pub fn ready(&self, group: &GroupId) -> u32 {
        count(self.instances(group).filter(|one| one.ready))
    }

    /// Instances that have yet to become ready for the first time: not routed to, not crashed. Without a route nothing tells
    /// one that broke from one that comes up; neither is waited for then.
    pub fn pending(&self, group: &GroupId) -> u32 {
        let replicas = self.phase.groups.get(group).copied().unwrap_or(0);
        let routeless = self.phase.traffic.is_none();
        let settled =
            self.instances(group).filter(|one| routeless || one.ready || one.restarts > 0 || self.routed(group, one));
        replicas.saturating_sub(count(settled))
    }

    /// Whether it matters to the phase that a group other than the target can serve.
    pub fn matters(&self, group: &GroupId) -> bool {
        self.phase.traffic.as_ref().is_none_or(|goal| goal.backends.contains_key(group))
    }

    /// Whether the main route leads to an instance, where it is now.
    pub fn routed(&self, group: &GroupId, instance: &ObservedInstance) -> bool {
        let backend = self.main.and_then(|seen| seen.backends.get(group));
        backend.is_some_and(|backend| backend.endpoints.get(&instance.id).copied() == instance.address)
            && instance.address.is_some()
    }

    pub fn nothing_ready(&self) -> bool {
        self.phase.groups.keys().all(|group| self.ready(group) == 0)
    }

    /// Whether anything that is to go still serves.
    pub fn others_ready(&self) -> bool {
        let lowered =
            self.excess().any(|(_, seen, size)| seen.instances.iter().any(|one| one.ready && one.slot >= size));
        lowered || self.leftover().any(|seen| seen.instances.iter().any(|one| one.ready))
    }

    /// The removal of a route that shall not be there.
    pub fn needless_route(&self) -> Option<Converge> {
        let needless = |goal: &Option<TrafficGoal>, seen: Option<&ObservedTraffic>| goal.is_none() && seen.is_some();
        if needless(&self.phase.traffic, self.main) {
            return Some(Converge::Do(Action::RemoveTraffic { which: Which::Main }));
        }
        let preview = needless(&self.phase.preview, self.preview);
        preview.then_some(Converge::Do(Action::RemoveTraffic { which: Which::Preview }))
    }

    /// Who is ready and who is not, for people.
    pub fn readiness(&self) -> String {
        if let Some(stage) = &self.phase.stage
            && let Some(late) = self.phase.groups.keys().flat_map(|group| self.instances(group)).find(|one| !one.ready)
        {
            let why = late.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
            return format!("{stage} waits for {}{why}", late.id);
        }
        let mut parts = BTreeMap::new();
        for (group, replicas) in &self.phase.groups {
            let ready = self.ready(group);
            if ready >= *replicas {
                continue;
            }
            let version = self.plan.groups.get(group).map_or(group.as_str(), |source| source.version.as_str());
            parts.insert(group, shortfall(ready, *replicas, version, self.instances(group)));
        }
        if parts.is_empty() {
            return "traffic has yet to be set".into();
        }
        parts.into_values().collect::<Vec<_>>().join("; ")
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}
