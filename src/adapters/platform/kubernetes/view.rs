//! A unit on a cluster in the domain's words.

use super::cache::{KindName, State};
use super::health::Health;
use super::hooks;
use super::inventory::{Entry, FOUND, Parent};
use super::live::Live;
use super::versions::sight;
use crate::domain::observed::{Leaving, ObservedGroup, ObservedInstance};
use crate::domain::workload::kubernetes::{Drift, ObjectId};

/// The group that a parent tells of, or what of it can't be seen.
pub(super) fn group(state: &State, parent: &Parent) -> Result<ObservedGroup, String> {
    for id in parent.objects.keys() {
        state.known(&KindName::of(id))?;
    }
    if let Some(version) = &parent.version_of {
        return sight::group(state, parent, version);
    }
    let (mut instances, mut right) = (Vec::new(), 0);
    for (slot, (id, entry)) in (0..).zip(parent.wanted()) {
        let seen = Sight::of(state, parent, id, entry);
        right += u32::from(seen.is_right(parent));
        instances.push(instance(parent, id, slot, seen));
    }
    // What is no longer asked for goes only once all that replaces it is well: until then old pods may need it.
    let well = instances.iter().all(|one| one.ready);
    let to_prune = well && !parent.rises() && is_to_prune(state, parent);
    if !parent.retiring && (to_prune || untidy(state, parent)) {
        right = right.saturating_sub(1);
    }
    if parent.retiring {
        for (id, live) in to_go(state, parent) {
            let slot = u32::try_from(instances.len()).unwrap_or(u32::MAX);
            instances.push(one_leaving(state, parent, id, slot, live));
        }
    }
    Ok(ObservedGroup {
        group: parent.group.clone(),
        rendered: parent.rendered.clone(),
        version: parent.version.clone(),
        replicas: right,
        retiring: parent.retiring,
        in_place: true,
        found: parent.objects.values().any(|entry| entry.applied.as_deref() == Some(FOUND)),
        leaving: leaving(state, parent),
        instances,
    })
}

/// Whether hooks have ended whose objects are to go for that, or pods are in the way of others.
pub(super) fn untidy(state: &State, parent: &Parent) -> bool {
    parent.wanted().any(|(id, _)| state.in_the_way(parent, id).is_some())
        || parent.hooks().any(|(id, _)| state.live(id).is_some_and(|live| hooks::is_to_go(parent, id, live)))
}

/// Whether something that is no longer asked for is to be deleted now: what is of a lower wave goes once those above it are gone.
pub(super) fn is_to_prune(state: &State, parent: &Parent) -> bool {
    let to_go = to_go(state, parent);
    let wave = |id: &ObjectId| parent.objects.get(id).map_or(0, |entry| entry.wave);
    let highest = to_go.iter().map(|(id, _)| wave(id)).max();
    to_go.iter().any(|(id, live)| Some(wave(id)) == highest && live.deleting.is_none())
}

/// The group's objects that are being deleted and are still there.
pub(super) fn leaving(state: &State, parent: &Parent) -> Vec<Leaving> {
    let wanted = parent.wanted().filter_map(|(id, _)| Some((id, state.live(id).filter(|live| owns(parent, live))?)));
    let told = |(id, live): (&ObjectId, &Live)| {
        let deleting = live.deleting.as_ref()?;
        Some(Leaving { id: name(parent, id), message: deleting.message(), remedy: deleting.remedy(id) })
    };
    to_go(state, parent).into_iter().chain(wanted).filter_map(told).collect()
}

/// The group's objects that are no longer asked for, and are there.
pub(super) fn to_go<'s>(state: &'s State, parent: &'s Parent) -> Vec<(&'s ObjectId, &'s Live)> {
    let there = parent.leftover().filter_map(|(id, _)| Some((id, state.live(id)?)));
    let goes = |id: &ObjectId, live: &Live| {
        owns(parent, live) && !state.wanted_beside(parent, id) && !stays(state, parent, id, live)
    };
    there.filter(|(id, live)| goes(id, live)).collect()
}

/// Whether an object stays although nobody asks for it any more. A version that gives way to another keeps nothing, nor does one keep
/// its Deployment.
pub(super) fn stays(state: &State, parent: &Parent, id: &ObjectId, live: &Live) -> bool {
    if parent.version_of.as_ref().is_some_and(|version| version.deployment == *id) {
        return false;
    }
    match parent.retiring {
        true => live.keeps.removed && state.parents_of(&parent.unit).all(|other| other.retiring),
        false => live.keeps.dropped,
    }
}

/// Whether an object belongs to the parent's group.
pub(super) fn owns(parent: &Parent, live: &Live) -> bool {
    live.unit.as_deref() == Some(parent.key())
}

/// One object beside what it shall be.
struct Sight<'a> {
    live: Option<&'a Live>,
    /// It is what was applied last.
    current: bool,
    drift: Option<String>,
    rests: bool,
    /// How it is doing, by the rules that are in force.
    health: Option<Health>,
    diagnosis: Option<&'a super::cache::Diagnosis>,
    /// A later group of the unit has it as it shall be there.
    superseded: bool,
    /// Why it could not be applied.
    obstacle: Option<&'a str>,
}

impl<'a> Sight<'a> {
    fn of(state: &'a State, parent: &Parent, id: &ObjectId, entry: &Entry) -> Self {
        let live = state.live(id);
        let superseded = live.is_some_and(|live| state.superseded(parent, live));
        // What was found is nobody's to make: it is there, whatever was made of it.
        let found = entry.applied.as_deref() == Some(FOUND);
        let live = live.filter(|live| found || owns(parent, live));
        Sight {
            superseded,
            live,
            current: live.is_some_and(|live| live.deleting.is_none() && (found || live.applied == entry.applied)),
            drift: live.and_then(|live| live.drift(id, &parent.settings)),
            rests: entry.rests,
            health: live.map(|live| health(state, parent, id, live)),
            diagnosis: state.diagnosis(id),
            obstacle: state.obstacle(id),
        }
    }

    /// Nothing has to be sent for it.
    fn is_right(&self, parent: &Parent) -> bool {
        self.superseded || (self.current && (self.drift.is_none() || parent.settings.drift == Drift::Report))
    }

    fn is_ready(&self) -> bool {
        self.superseded
            || self.current
                && match &self.health {
                    Some(Health::Healthy) => true,
                    Some(Health::Suspended(_)) => self.rests,
                    _ => false,
                }
    }

    fn message(&self) -> Option<String> {
        if self.superseded {
            return None;
        }
        let hindered = |what: &str| match self.obstacle {
            Some(why) => format!("{what}: {why}"),
            None => what.to_owned(),
        };
        let Some(live) = self.live else { return Some(hindered("it is not there")) };
        if let Some(deleting) = &live.deleting {
            return Some(deleting.message());
        }
        if !self.current {
            return Some(hindered("it has yet to be applied"));
        }
        let health = self.health.as_ref().and_then(Health::message).map(|health| {
            match self.diagnosis.and_then(|diagnosis| diagnosis.message.as_deref()) {
                Some(cause) => format!("{health}; {cause}"),
                None => health.to_owned(),
            }
        });
        self.drift.clone().or(health)
    }
}

/// How an object is doing; what other rules said of it is not known to be so by these.
fn health(state: &State, parent: &Parent, id: &ObjectId, live: &Live) -> Health {
    match state.rules_for(id, Some(parent.key())).map(|rules| &rules.mark) == live.judged.as_ref() {
        true => live.health.clone(),
        false => Health::Progressing("it has yet to be looked at by its rules of health".into()),
    }
}

/// Whether an object needs to be sent again.
pub(super) fn is_right(state: &State, parent: &Parent, id: &ObjectId, entry: &Entry) -> bool {
    Sight::of(state, parent, id, entry).is_right(parent)
}

/// Whether all objects of the group in force are well.
pub(super) fn all_ready(state: &State, parent: &Parent) -> bool {
    parent.wanted().all(|(id, entry)| Sight::of(state, parent, id, entry).is_ready())
}

fn instance(parent: &Parent, id: &ObjectId, slot: u32, seen: Sight<'_>) -> ObservedInstance {
    let health = seen.health.as_ref();
    let hopeless = matches!(health, Some(Health::Degraded { for_good: true, .. }));
    let unwell = health.is_some_and(|health| *health != Health::Healthy);
    let diagnosis = seen.diagnosis.filter(|_| unwell);
    ObservedInstance {
        id: name(parent, id),
        slot,
        running: seen.superseded || seen.live.is_some_and(|live| live.deleting.is_none()),
        stopping: seen.live.is_some_and(|live| live.deleting.is_some()) && parent.retiring,
        ready: seen.is_ready(),
        address: None,
        started: seen.live.and_then(|live| live.created),
        restarts: diagnosis.map_or(0, |diagnosis| diagnosis.restarts),
        given_up: seen.current && (hopeless || diagnosis.is_some_and(|diagnosis| diagnosis.for_good)),
        message: seen.message(),
    }
}

/// An object that goes with its group, beside why it does not.
pub(super) fn one_leaving(state: &State, parent: &Parent, id: &ObjectId, slot: u32, live: &Live) -> ObservedInstance {
    let message = live.deleting.as_ref().map(|deleting| deleting.message());
    ObservedInstance {
        id: name(parent, id),
        slot,
        running: true,
        stopping: true,
        ready: false,
        address: None,
        started: live.created,
        restarts: 0,
        given_up: false,
        message: message.or_else(|| state.obstacle(id).map(|why| format!("it can't be deleted: {why}"))),
    }
}

/// What an object is called among its unit's: `Deployment.apps/web`, with the namespace where it is not the unit's own.
pub(super) fn name(parent: &Parent, id: &ObjectId) -> String {
    let dot = if id.group.is_empty() { "" } else { "." };
    let namespace = id.namespace.as_deref().filter(|namespace| *namespace != parent.namespace);
    let slash = if namespace.is_some() { "/" } else { "" };
    format!("{}{dot}{}/{}{slash}{}", id.kind, id.group, namespace.unwrap_or_default(), id.name)
}
