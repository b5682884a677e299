//! What Services and HTTPRoutes say of where the requests of a unit go, and whether it is so.
//!
//! It stands on each of them, written together with what makes it so. With several versions at once a route divides the requests
//! between Services that lead to one version each; without a route a Service selects the pods of all: their numbers make the shares.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::parts::{Leads, selects};
use super::sight;
use crate::adapters::platform::kubernetes::cache::{KindName, State};
use crate::adapters::platform::kubernetes::inventory::{Parent, ROUTED};
use crate::adapters::platform::kubernetes::live::Live;
use crate::domain::action::Which;
use crate::domain::digest::Digest;
use crate::domain::id::{GroupId, UnitId};
use crate::domain::observed::{ObservedBackend, ObservedTraffic};
use crate::domain::workload::http_route;
use crate::domain::workload::kubernetes::ObjectId;

/// What is said of where requests go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The later of two that differ has the higher.
    pub serial: u64,
    /// Which requests.
    pub which: Which,
    /// The digest of what leads them, apart from where.
    pub settings: Digest,
    /// What each version gets.
    pub backends: BTreeMap<GroupId, Share>,
    /// All Services that say the same.
    pub services: BTreeSet<String>,
    /// The version that they lead to, where routes divide the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<String>,
    /// The Services that stand beside them, for the others.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub beside: BTreeSet<String>,
    /// Those that a route needs beside them before it leads where it does in the end.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub passing: BTreeSet<String>,
    /// The routes that say the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<String, Way>,
}

/// What a version gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Its weight.
    pub weight: u32,
    /// How many of its instances.
    pub slots: u32,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// In the end.
    pub last: Digest,
    /// Before that, where something has to come before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Digest>,
}

impl Record {
    /// What an object says.
    pub fn read(live: &Live) -> Option<Record> {
        serde_json::from_str(live.led()?.traffic.as_deref()?).ok()
    }

    /// The same but for its number.
    pub fn is_like(&self, other: &Record) -> bool {
        Record { serial: other.serial, ..self.clone() } == *other
    }

    /// Where its Services lead.
    pub fn leads(&self) -> Leads<'_> {
        let mut groups = self.backends.iter().filter(|(_, share)| share.weight > 0).map(|(group, _)| group);
        match (groups.next(), groups.next(), &self.lead) {
            (None, _, _) => Leads::Nowhere,
            (_, _, Some(lead)) => Leads::To(lead),
            (Some(group), None, None) => Leads::To(super::short(group)),
            (Some(_), Some(_), None) => Leads::ToAll,
        }
    }

    /// Whether a Service is as it says.
    pub fn holds(&self, live: &Live) -> bool {
        live.deleting.is_none()
            && Record::read(live).as_ref() == Some(self)
            && live.led().is_some_and(|led| led.selects.as_deref() == selects(self.leads()))
    }
}

/// What says where the requests of a unit go: Services, and routes.
pub struct Said<'s> {
    /// Services that say it.
    pub services: Vec<(&'s ObjectId, &'s Live, Record)>,
    /// Routes that say it.
    pub routes: Vec<(&'s ObjectId, &'s Live, Record)>,
    /// Services that stand beside others.
    pub beside: Vec<(&'s ObjectId, &'s Live)>,
}

impl<'s> Said<'s> {
    /// What all objects of a unit say.
    pub fn of(state: &'s State, unit: &'s UnitId, which: Which) -> Said<'s> {
        let all =
            |kind: fn() -> KindName| state.parents_of(unit).flat_map(move |parent| state.of_parent(kind(), parent));
        let saying = |kind: fn() -> KindName| -> Vec<_> {
            let read = all(kind).filter_map(|(id, live)| Some((id, live, Record::read(live)?)));
            read.filter(|(_, _, record)| record.which == which).collect()
        };
        let beside = all(KindName::service).filter(|(_, live)| live.led().is_some_and(|led| led.beside.is_some()));
        Said {
            services: saying(KindName::service),
            routes: saying(KindName::route),
            beside: beside.filter(|_| which == Which::Main).collect(),
        }
    }

    /// What was said last.
    pub fn latest(&self) -> Option<&Record> {
        let all = self.services.iter().chain(&self.routes).map(|(_, _, record)| record);
        all.max_by_key(|record| record.serial)
    }

    /// Whether it is as was said last; where it is and somebody has yet to confirm it, who.
    fn stands(&self, latest: &Record) -> Result<Option<String>, ()> {
        let led = |name: &String| self.services.iter().any(|(id, live, _)| id.name == *name && latest.holds(live));
        let led = latest.services.iter().all(led);
        let there = |name: &String| self.beside.iter().any(|(id, live)| id.name == *name && stands_beside(id, live));
        let (beside, passing) = (latest.beside.iter().all(there), latest.passing.iter().all(there));
        let (mut last, mut through, mut unconfirmed) = (true, true, None);
        for (name, way) in &latest.routes {
            let said = |(id, live, record): &&(&ObjectId, &Live, Record)| {
                id.name == *name && live.deleting.is_none() && record == latest
            };
            let Some((id, live, _)) = self.routes.iter().find(said) else { return Err(()) };
            let now = live.led().and_then(|led| led.backends.as_ref());
            last &= now == Some(&way.last);
            through &= way.through.is_some() && now == way.through.as_ref();
            let missing = live.led().and_then(|led| led.unconfirmed.as_ref());
            unconfirmed = unconfirmed.or(missing.map(|missing| format!("HTTPRoute {}: {missing}", id.name)));
        }
        let waits = unconfirmed.filter(|_| !self.beside.is_empty());
        let surplus = self.beside.iter().any(|(id, _)| !latest.beside.contains(&id.name));
        match waits {
            Some(waits) if led && last && beside => Ok(Some(waits)),
            Some(waits) if !last && through && passing => Ok(Some(waits)),
            None if led && last && beside && !surplus => Ok(None),
            _ => Err(()),
        }
    }
}

fn stands_beside(id: &ObjectId, live: &Live) -> bool {
    let group = live.led().and_then(|led| led.selects.as_deref());
    live.deleting.is_none() && group.is_some_and(|group| id.name.ends_with(&format!("-{group}")))
}

/// Where the requests of a unit go. What differs is told as settings that nobody asks for, so that it is set again.
pub fn observed(state: &State, unit: &UnitId, which: Which) -> Result<Option<ObservedTraffic>, String> {
    // What is said stands on Services that some version names.
    let has_services = |parent: &Parent| parent.objects.keys().any(|id| KindName::of(id) == KindName::service());
    if !state.parents_of(unit).any(|parent| parent.version_of.is_some() && has_services(parent)) {
        return Ok(None);
    }
    state.known(&KindName::service())?;
    state.known(&KindName::pod())?;
    let has_routes = |parent: &Parent| {
        parent.objects.iter().any(|(id, entry)| is_route(id) && entry.applied.as_deref() == Some(ROUTED))
    };
    if state.parents_of(unit).any(has_routes) {
        state.known(&KindName::route())?;
    }
    let said = Said::of(state, unit, which);
    let Some(latest) = said.latest() else { return Ok(None) };
    let (settings, unconfirmed) = match said.stands(latest) {
        Ok(unconfirmed) => (latest.settings.clone(), unconfirmed),
        Err(()) => (Digest::of("s1", &json!("the Services differ")), None),
    };
    let backend = |(group, share): (&GroupId, &Share)| {
        let endpoints = endpoints(state, unit, group, share.slots);
        (group.clone(), ObservedBackend { weight: share.weight, endpoints, testers: false })
    };
    let backends = latest.backends.iter().map(backend).collect();
    Ok(Some(ObservedTraffic { backends, hold: false, settings, draining: BTreeMap::new(), unconfirmed }))
}

/// Whether an object is an HTTPRoute.
pub fn is_route(id: &ObjectId) -> bool {
    (id.group.as_str(), id.kind.as_str()) == (http_route::GROUP, http_route::KIND)
}

/// The pods that serve of a version, as many as it was last set for.
fn endpoints(state: &State, unit: &UnitId, group: &GroupId, slots: u32) -> BTreeMap<String, SocketAddr> {
    let Some(parent) = state.parent_of(unit, group).filter(|parent| !parent.retiring) else { return BTreeMap::new() };
    let Some(version) = &parent.version_of else { return BTreeMap::new() };
    let instances = sight::instances(state, parent, version).into_iter();
    instances.filter(|one| one.slot < slots).filter_map(|one| Some((one.id, one.address?))).collect()
}
