//! A route while it runs: one immutable [`Route`] per configuration, and what outlives a change of it in [`Shared`].

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use http::HeaderValue;
use tokio::sync::Notify;

use super::balance::Weighted;
use super::endpoint::Endpoint;
use super::hold;
use super::signal::lock;
use super::stats::Counters;
use crate::domain::id::GroupId;
use crate::protocol::router::{GroupStats, RouteConfig, RouteStatus};

/// Groups whose counters are kept after they left the route, the latest ones.
const KEPT_GROUPS: usize = 100;

/// A route as it is in force.
#[derive(Debug)]
pub struct Route {
    /// Its configuration.
    pub config: RouteConfig,
    /// Its groups, in the order of the configuration.
    pub groups: Vec<Group>,
    /// What outlives this configuration.
    pub shared: Arc<Shared>,
}

/// A group of a route.
#[derive(Debug)]
pub struct Group {
    /// Its id.
    pub id: GroupId,
    /// Its share.
    pub weight: u32,
    /// Whether testers' requests go to it.
    pub testers: bool,
    /// Its instances.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What it has served.
    pub counters: Arc<Counters>,
    /// The cookie that keeps a client on it, if the route is sticky.
    pub cookie: Option<HeaderValue>,
}

impl Weighted for Group {
    type Target = Arc<Endpoint>;

    fn weight(&self) -> u32 {
        self.weight
    }

    fn targets(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }
}

/// What a route keeps while its configuration changes.
#[derive(Debug)]
pub struct Shared {
    /// Requests that wait.
    pub queue: Arc<hold::Queue>,
    /// The number of the next request.
    pub ticket: AtomicU64,
    /// Woken when an endpoint's health changes.
    pub verdict: Arc<Notify>,
    counters: Mutex<Kept>,
    leaving: Mutex<Vec<Arc<Endpoint>>>,
}

#[derive(Debug, Default)]
struct Kept {
    round: u64,
    groups: BTreeMap<GroupId, (u64, Arc<Counters>)>,
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            queue: Arc::default(),
            // A random start, so that several routers do not draw in step.
            ticket: AtomicU64::new(rand::random()),
            verdict: Arc::default(),
            counters: Mutex::default(),
            leaving: Mutex::default(),
        }
    }
}

/// What a change of a route leads to.
#[derive(Debug)]
pub struct Change {
    /// The route as it shall be.
    pub route: Arc<Route>,
    /// Endpoints that are no longer part of it.
    pub removed: Vec<Arc<Endpoint>>,
    /// Endpoints whose probe must be started (again).
    pub unprobed: Vec<Arc<Endpoint>>,
}

impl Route {
    /// The next form of a route. Endpoints that stay keep their health, connections and count of requests in flight.
    pub fn next(config: RouteConfig, before: Option<&Arc<Route>>, workers: usize) -> Change {
        let shared = before.map_or_else(Arc::default, |route| route.shared.clone());
        let same_probe =
            before.is_some_and(|route| route.config.probe == config.probe && route.config.upstream == config.upstream);
        let mut old: Vec<Arc<Endpoint>> = before.map_or_else(Vec::new, |route| route.endpoints().cloned().collect());
        let mut unprobed = Vec::new();
        let mut groups = Vec::with_capacity(config.backends.len());
        for backend in &config.backends {
            let mut endpoints = Vec::with_capacity(backend.endpoints.len());
            for at in &backend.endpoints {
                let same = |endpoint: &Arc<Endpoint>| endpoint.group == backend.group && endpoint.at == *at;
                let endpoint = if let Some(found) = old.iter().position(same) {
                    let endpoint = old.swap_remove(found);
                    if !same_probe {
                        unprobed.push(endpoint.clone());
                    }
                    endpoint
                } else {
                    let returned = shared.take_leaving(same);
                    let new =
                        || Arc::new(Endpoint::new(backend.group.clone(), at.clone(), workers, shared.verdict.clone()));
                    let endpoint = returned.unwrap_or_else(new);
                    unprobed.push(endpoint.clone());
                    endpoint
                };
                endpoints.push(endpoint);
            }
            groups.push(Group {
                id: backend.group.clone(),
                weight: backend.weight,
                testers: backend.testers,
                endpoints,
                counters: shared.counters(&backend.group, workers),
                cookie: cookie(&config, &backend.group),
            });
        }
        shared.end_round();
        Change { route: Arc::new(Route { config, groups, shared }), removed: old, unprobed }
    }

    /// All endpoints in force.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.groups.iter().flat_map(|group| &group.endpoints)
    }

    /// The status, read back from what is in force.
    pub fn status(&self, start: &str) -> RouteStatus {
        let mut endpoints: Vec<_> = self.endpoints().map(|endpoint| endpoint.status()).collect();
        endpoints.extend(self.shared.leaving().iter().map(|endpoint| endpoint.status()));
        RouteStatus {
            route: self.config.clone(),
            start: start.to_owned(),
            endpoints,
            groups: self.shared.stats(),
            held: self.shared.queue.held(),
        }
    }
}

impl Shared {
    /// An endpoint was taken out: it is listed until nothing is in flight.
    pub fn add_leaving(&self, endpoint: Arc<Endpoint>) {
        lock(&self.leaving).push(endpoint);
    }

    /// Endpoints that were taken out and still have requests.
    pub fn leaving(&self) -> Vec<Arc<Endpoint>> {
        let mut leaving = lock(&self.leaving);
        leaving.retain(|endpoint| endpoint.in_flight() > 0);
        leaving.clone()
    }

    /// Takes back an endpoint that was taken out and not yet cut.
    fn take_leaving(&self, same: impl Fn(&Arc<Endpoint>) -> bool) -> Option<Arc<Endpoint>> {
        let mut leaving = lock(&self.leaving);
        let found = leaving.iter().position(|endpoint| same(endpoint) && endpoint.revive())?;
        Some(leaving.swap_remove(found))
    }

    /// The counters of a group that is part of the route now.
    fn counters(&self, group: &GroupId, workers: usize) -> Arc<Counters> {
        let mut kept = lock(&self.counters);
        let round = kept.round;
        let entry = kept.groups.entry(group.clone()).or_insert_with(|| (round, Arc::new(Counters::new(workers))));
        entry.0 = round;
        entry.1.clone()
    }

    /// Forgets the counters of groups that left the route longest ago, beyond a bound.
    fn end_round(&self) {
        let mut kept = lock(&self.counters);
        let round = kept.round;
        while kept.groups.len() > KEPT_GROUPS {
            let oldest = kept.groups.iter().filter(|(_, (seen, _))| *seen < round).min_by_key(|(_, (seen, _))| *seen);
            let Some(oldest) = oldest.map(|(group, _)| group.clone()) else { break };
            kept.groups.remove(&oldest);
        }
        kept.round += 1;
    }

    /// What each group has served.
    pub fn stats(&self) -> Vec<GroupStats> {
        lock(&self.counters).groups.iter().map(|(group, (_, counters))| counters.read(group.clone())).collect()
    }
}

fn cookie(config: &RouteConfig, group: &GroupId) -> Option<HeaderValue> {
    let sticky = config.sticky.as_ref()?;
    let max_age = sticky.max_age.as_millis() / 1_000;
    let text = format!("{}={group}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax", sticky.cookie);
    // Both names were checked to be tokens, which a header value can hold.
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::{endpoint, route};

    #[test]
    fn what_stays_keeps_its_life_and_what_goes_is_named() {
        let mut config = route("a");
        config.backends[0].endpoints = vec![endpoint("one", 1001), endpoint("two", 1002)];
        let first = Route::next(config.clone(), None, 1);
        assert_eq!(first.unprobed.len(), 2);
        let one = first.route.groups[0].endpoints[0].clone();
        one.enter();
        config.backends[0].endpoints = vec![endpoint("two", 1002), endpoint("three", 1003)];
        let second = Route::next(config.clone(), Some(&first.route), 1);
        assert!(Arc::ptr_eq(&second.route.groups[0].endpoints[0], &first.route.groups[0].endpoints[1]));
        assert_eq!(second.removed.len(), 1);
        assert_eq!(second.unprobed.len(), 1);

        // Taken out with a request in flight, it is listed; put back in time, it is the same one.
        one.retire();
        second.route.shared.add_leaving(one.clone());
        assert_eq!(second.route.status("s").endpoints.iter().filter(|e| e.draining && e.in_flight == 1).count(), 1);
        config.backends[0].endpoints = vec![endpoint("one", 1001)];
        let third = Route::next(config, Some(&second.route), 1);
        assert!(Arc::ptr_eq(&third.route.groups[0].endpoints[0], &one));
        assert!(!one.draining());
    }

    #[test]
    fn an_endpoint_that_was_cut_does_not_come_back() {
        let one = Endpoint::new("g".into(), endpoint("one", 1001), 1, Arc::default());
        let first = one.retire();
        assert!(one.revive());
        one.cut_if(first);
        assert!(!one.cut.is_fired(), "it had come back");
        let second = one.retire();
        one.cut_if(second);
        assert!(one.cut.is_fired());
        assert!(!one.revive());
    }

    #[test]
    fn counters_of_left_groups_are_kept_up_to_a_bound() {
        let mut config = route("a");
        let mut current = Route::next(config.clone(), None, 1).route;
        current.groups[0].counters.failed(0);
        for number in 0..KEPT_GROUPS + 20 {
            config.backends[0].group = format!("g{number}").as_str().into();
            current = Route::next(config.clone(), Some(&current), 1).route;
            if number == 3 {
                assert!(current.shared.stats().iter().any(|group| group.failed == 1), "kept after it left");
            }
        }
        let stats = current.shared.stats();
        assert_eq!(stats.len(), KEPT_GROUPS);
        assert!(stats.iter().any(|stats| stats.group == config.backends[0].group));
    }
}
