//! Looks again and again at the router's weights and at what the client got, side by side.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::api::client::Api;
use crate::domain::id::{GroupId, UnitId};
use crate::load::Load;
use crate::net::client::{Client, segment};
use crate::protocol::router::RouteStatus;

/// From one look to the next.
const LOOK: Duration = Duration::from_millis(20);

/// One look.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When, from the start of the load.
    pub at: Duration,
    /// The share of the weights of each version, 0 to 1, as the router reads it back.
    pub weights: BTreeMap<String, f64>,
    /// The answers that the client got up to now, by version.
    pub answers: BTreeMap<String, u64>,
}

impl Sample {
    /// The share of the weights of a version.
    pub fn weight(&self, version: &str) -> f64 {
        self.weights.get(version).copied().unwrap_or(0.0)
    }

    /// The answers of a version.
    pub fn answered(&self, version: &str) -> u64 {
        self.answers.get(version).copied().unwrap_or(0)
    }
}

/// Samples one unit.
#[derive(Debug)]
pub struct Sampler<'l> {
    router: Client,
    api: Api,
    unit: UnitId,
    load: &'l Load,
    begun: Instant,
    versions: RefCell<BTreeMap<GroupId, String>>,
    samples: RefCell<Vec<Sample>>,
}

impl<'l> Sampler<'l> {
    /// Samples nothing yet.
    pub fn new(router: Client, api: Api, unit: UnitId, load: &'l Load) -> Self {
        let begun = load.so_far().begun;
        Sampler { router, api, unit, load, begun, versions: RefCell::default(), samples: RefCell::default() }
    }

    /// Looks until it is dropped. A look that fails is left out: what it missed shows in the next one.
    pub async fn run(&self) {
        loop {
            if let Some(sample) = self.look().await {
                self.samples.borrow_mut().push(sample);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// One look, now.
    pub async fn look(&self) -> Option<Sample> {
        let path = format!("/v1/routes/{}", segment(&self.unit.to_string()));
        let route: RouteStatus = self.router.get(&path).await.ok()?;
        let at = self.begun.elapsed();
        let report = self.load.so_far();
        let answers = report.versions.iter().map(|(name, version)| (name.clone(), version.answers)).collect();
        let backends = &route.route.backends;
        let sum: f64 = backends.iter().map(|backend| f64::from(backend.weight)).sum();
        let mut weights = BTreeMap::new();
        for backend in backends {
            let version = self.version(&backend.group).await?;
            *weights.entry(version).or_default() += f64::from(backend.weight) / sum.max(1.0);
        }
        Some(Sample { at, weights, answers })
    }

    /// The version of a group, as the daemon tells it.
    async fn version(&self, group: &GroupId) -> Option<String> {
        if let Some(version) = self.versions.borrow().get(group) {
            return Some(version.clone());
        }
        let unit = self.api.unit(&self.unit).await.ok()?;
        let known = unit.groups.into_iter().map(|view| (view.group, view.version));
        self.versions.borrow_mut().extend(known);
        self.versions.borrow().get(group).cloned()
    }

    /// The samples from a moment of the load on.
    pub fn since(&self, moment: Duration) -> Vec<Sample> {
        self.samples.borrow().iter().filter(|sample| sample.at >= moment).cloned().collect()
    }

    /// The time on the load's clock.
    pub fn now(&self) -> Duration {
        self.begun.elapsed()
    }
}
