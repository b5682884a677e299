//! How what leads the requests of a unit comes from where it leads now to where it shall lead.

use std::collections::{BTreeMap, BTreeSet};

use super::parts::{NOBODY, preview, service};
use super::record::{Record, Said, Share, Way};
use super::shares::{self, Division, Weights};
use super::{led, short};
use crate::adapters::platform::kubernetes::cache::State;
use crate::domain::action::Which;
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::UnitId;
use crate::domain::observed::ObservedBackend;
use crate::domain::route;
use crate::domain::workload::http_route;
use crate::domain::workload::kubernetes::{KubernetesSpec, Object, ObjectId};
use crate::domain::workload::versioned::Versioned;
use crate::ports::traffic::SetTraffic;

/// What leads requests as it shall be, and what comes before.
pub struct Shift {
    /// What all of it says.
    pub record: Record,
    /// Services as they are in the end.
    pub services: Vec<Object>,
    /// Routes before that; none where nothing has to come before.
    pub through: Vec<Object>,
    /// Routes in the end.
    pub routes: Vec<Object>,
    /// Services that stand beside others before that, each with its version.
    pub passing: Vec<(Object, String)>,
    /// The same in the end.
    pub beside: Vec<(Object, String)>,
}

impl Shift {
    /// From where everything leads now. One that went half-way is found to be there.
    ///
    /// # Errors
    ///
    /// A route has no room for two versions.
    pub fn of(
        state: &State,
        request: &SetTraffic,
        spec: &KubernetesSpec,
        versioned: &Versioned,
    ) -> Result<Shift, String> {
        let objects = |ids: &[ObjectId]| -> Vec<Object> {
            spec.objects.iter().filter(|one| ids.contains(&one.id())).cloned().collect()
        };
        let (services, routes) = match request.kind {
            Which::Main => (objects(&versioned.services), objects(&versioned.routes)),
            Which::Preview => (objects(&versioned.services).iter().map(preview).collect(), Vec::new()),
        };
        let said = Said::of(state, &request.desired.unit, request.kind);
        let ways = Ways::of(&said, &services, &routes, request);
        let (passing, beside) = (ways.beside(&services, &ways.through), ways.beside(&services, &ways.last));
        let names = |all: &[(Object, String)]| all.iter().map(|(object, _)| object.name().to_owned()).collect();
        let mut record = Record {
            serial: 1,
            which: request.kind,
            settings: settings_of(&request.desired, request.kind),
            backends: request.backends.iter().map(|(group, backend)| (group.clone(), share(backend))).collect(),
            services: services.iter().map(|object| object.name().to_owned()).collect(),
            lead: ways.lead.clone(),
            beside: names(&beside),
            passing: names(&passing),
            routes: ways.digests(&routes)?,
        };
        if let Some(latest) = said.latest() {
            record.serial = latest.serial + u64::from(!latest.is_like(&record));
        }
        let written = serde_json::to_string(&record).map_err(|error| error.to_string())?;
        let through = if ways.through.is_empty() { &[][..] } else { &routes };
        Ok(Shift {
            services: services.iter().map(|object| service(object, record.leads(), &written)).collect(),
            through: divided(through, &ways.through, &written)?,
            routes: divided(&routes, &ways.last, &written)?,
            record,
            passing,
            beside,
        })
    }

    /// Whether all routes lead where they do in the end.
    pub fn has_arrived(&self, state: &State, unit: &UnitId) -> bool {
        let said = Said::of(state, unit, Which::Main);
        self.record.routes.iter().all(|(name, way)| {
            let now = said.routes.iter().find(|(id, _, _)| id.name == *name).and_then(|(_, live, _)| live.led());
            now.is_some_and(|led| led.backends.as_ref() == Some(&way.last))
        })
    }

    /// Whether all routes lead there, in the end or before, and their gateways say so.
    pub fn is_confirmed(&self, state: &State, unit: &UnitId, last: bool) -> bool {
        let said = Said::of(state, unit, Which::Main);
        self.record.routes.iter().all(|(name, way)| {
            let wanted = if last { Some(&way.last) } else { way.through.as_ref() };
            let found = said.routes.iter().find(|(id, _, record)| id.name == *name && *record == self.record);
            let led = found.and_then(|(_, live, _)| live.led());
            led.is_some_and(|led| led.backends.as_ref() == wanted && led.unconfirmed.is_none())
        })
    }
}

fn share(backend: &ObservedBackend) -> Share {
    Share { weight: backend.weight, slots: u32::try_from(backend.endpoints.len()).unwrap_or(u32::MAX) }
}

fn divided(routes: &[Object], ways: &BTreeMap<ObjectId, Division>, record: &str) -> Result<Vec<Object>, String> {
    routes.iter().map(|object| shares::route(object, ways, record)).collect()
}

/// The digest of the settings of what leads requests, apart from where.
pub fn settings_of(desired: &DesiredUnit, which: Which) -> Digest {
    route::settings(desired, which).unwrap_or_else(|| Digest::of("s1", &()))
}

/// How the requests of each Service that a route leads to are divided.
#[derive(Default)]
struct Ways {
    lead: Option<String>,
    /// Before they are as in the end; none where nothing has to come before.
    through: BTreeMap<ObjectId, Division>,
    last: BTreeMap<ObjectId, Division>,
}

impl Ways {
    fn of(said: &Said<'_>, services: &[Object], routes: &[Object], request: &SetTraffic) -> Ways {
        if routes.is_empty() {
            return Ways::default();
        }
        let weighed = request.backends.iter().filter(|(_, backend)| backend.weight > 0);
        let weights: Weights = weighed.map(|(group, backend)| (short(group).to_owned(), backend.weight)).collect();
        let now = |name: &str| {
            let found = said.services.iter().find(|(id, _, _)| id.name == name);
            found.and_then(|(_, live, _)| live.led()?.selects.as_deref()).filter(|group| *group != NOBODY)
        };
        let leads = |service: &&Object| routes.iter().any(|route| http_route::leads_to_any(route, &[service.id()]));
        let led: Vec<&Object> = services.iter().filter(leads).collect();
        let lead = shares::lead(&weights, led.iter().filter_map(|service| now(service.name())));
        let mut ways = Ways::default();
        let mut comes_before = false;
        for service in led {
            let beside = said.beside.iter().filter_map(|(_, live)| live.led());
            let beside = beside.filter(|led| led.beside.as_deref() == Some(service.name()));
            let beside: BTreeSet<String> = beside.filter_map(|led| led.selects.clone()).collect();
            let end = shares::last(&weights, lead.as_deref());
            let before = shares::through(&weights, lead.as_deref(), now(service.name()), &beside);
            comes_before |= before.is_some();
            ways.through.insert(service.id(), before.unwrap_or_else(|| end.clone()));
            ways.last.insert(service.id(), end);
        }
        if !comes_before {
            ways.through.clear();
        }
        Ways { lead, ..ways }
    }

    /// Where each route leads.
    fn digests(&self, routes: &[Object]) -> Result<BTreeMap<String, Way>, String> {
        let digest = |object: &Object, ways| Ok::<_, String>(led::backends(shares::route(object, ways, "")?.fields()));
        let way = |object: &Object| {
            let through = (!self.through.is_empty()).then(|| digest(object, &self.through)).transpose()?;
            Ok((object.name().to_owned(), Way { last: digest(object, &self.last)?, through }))
        };
        routes.iter().map(way).collect()
    }

    /// The Services that a division needs beside others, each with its version.
    fn beside(&self, services: &[Object], ways: &BTreeMap<ObjectId, Division>) -> Vec<(Object, String)> {
        let mut all = Vec::new();
        for service in services {
            let others = ways.get(&service.id()).into_iter().flatten().filter(|(_, weight)| *weight > 0);
            for group in others.filter_map(|(group, _)| group.as_ref()) {
                all.push((shares::beside(service, group), group.clone()));
            }
        }
        all
    }
}
