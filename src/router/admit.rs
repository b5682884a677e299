//! Where a request is let in: its route is found, its endpoint chosen and itself registered as in flight, all under one
//! read lock of the table. A change swaps the table under the write lock, so once the swap is done, whatever was let in
//! before is counted on its endpoint, and nothing new reaches an endpoint that was taken out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::balance::{self, Pick};
use super::endpoint::Endpoint;
use super::headers;
use super::hold::Place;
use super::route::{Group, Route};
use super::table::Table;
use crate::domain::route::Tester;
use crate::protocol::router::EndpointHealth;

/// How long a request waits for the first verdict on endpoints that were not seen yet, before it tries one.
const FIRST_VERDICT: Duration = Duration::from_secs(1);

/// The table behind its lock, which is held only for moments and never while waiting.
#[derive(Debug, Default)]
pub struct Gate {
    table: RwLock<Table>,
    holds_ended: AtomicBool,
}

/// What is known of a request where it is let in.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The worker thread.
    pub worker: usize,
    /// Where it came in.
    pub listener: SocketAddr,
    /// The host that it names, or nothing.
    pub host: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Its headers, for the cookie.
    pub headers: &'a HeaderMap,
}

/// A request that was let in: it counts as in flight on its endpoint until this is dropped.
#[derive(Debug)]
pub struct Ticket {
    /// The route.
    pub route: Arc<Route>,
    /// The group's index in it.
    pub group: usize,
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The worker thread.
    pub worker: usize,
    /// Whether the client must be told its group.
    pub set_cookie: bool,
}

impl Ticket {
    /// The group.
    pub fn group(&self) -> &Group {
        &self.route.groups[self.group]
    }

    /// The instance gave no whole answer.
    pub fn failed(&self) {
        self.group().counters.failed(self.worker);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.endpoint.leave();
    }
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No route answers to its host and path.
    NoRoute,
    /// No group may get it, or no endpoint is left to try.
    NoEndpoint,
    /// As many wait as may.
    HoldFull,
    /// It waited as long as it may.
    HoldTimeout,
}

enum Step {
    In(Ticket),
    Wait(Place, Duration),
    Look(Arc<tokio::sync::Notify>),
    Out(Refused),
}

impl Gate {
    /// Reads something of the table.
    pub fn read<T>(&self, read: impl FnOnce(&Table) -> T) -> T {
        read(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another table in force.
    pub fn swap(&self, table: Table) {
        let before = std::mem::replace(&mut *self.table.write().unwrap_or_else(PoisonError::into_inner), table);
        // Freed outside the lock.
        drop(before);
    }

    /// Nobody waits any more: whoever would is refused. Those that wait already must be released.
    pub fn end_holds(&self) {
        self.holds_ended.store(true, Relaxed);
    }

    /// Lets a request in, waiting while its route holds. Endpoints in `tried` are passed over.
    pub async fn admit(&self, ask: &Ask<'_>, tried: &[Arc<Endpoint>]) -> Result<Ticket, Refused> {
        let mut held_until: Option<Instant> = None;
        let mut looked_until: Option<Instant> = None;
        loop {
            let looks = looked_until.is_none_or(|until| Instant::now() < until);
            match self.step(ask, tried, looks) {
                Step::In(ticket) => return Ok(ticket),
                Step::Out(refused) => return Err(refused),
                Step::Wait(mut place, limit) => {
                    // Several holds one after the other do not add up.
                    let until = *held_until.get_or_insert_with(|| Instant::now() + limit);
                    if tokio::time::timeout_at(until, place.wait()).await.is_err() {
                        return Err(Refused::HoldTimeout);
                    }
                }
                Step::Look(verdict) => {
                    let until = *looked_until.get_or_insert_with(|| Instant::now() + FIRST_VERDICT);
                    let changed = verdict.notified();
                    // Listening now: a verdict that came in between shows in this step, any later one wakes.
                    match self.step(ask, tried, true) {
                        Step::Look(_) => drop(tokio::time::timeout_at(until, changed).await),
                        Step::In(ticket) => return Ok(ticket),
                        _ => {}
                    }
                }
            }
        }
    }

    fn step(&self, ask: &Ask<'_>, tried: &[Arc<Endpoint>], looks: bool) -> Step {
        self.read(|table| {
            let Some(route) = table.find(ask.listener, ask.host, ask.path) else { return Step::Out(Refused::NoRoute) };
            if let Some(hold) = &route.config.hold {
                if self.holds_ended.load(Relaxed) {
                    return Step::Out(Refused::HoldTimeout);
                }
                return match route.shared.queue.enter(hold.max) {
                    Some(place) => Step::Wait(place, hold.timeout.duration()),
                    None => Step::Out(Refused::HoldFull),
                };
            }
            let ticket = route.shared.ticket.fetch_add(1, Relaxed);
            let tests = tester(route, ask.headers);
            let stuck = tests.or_else(|| stuck(route, ask.headers));
            let Some(drawn) = stuck.or_else(|| balance::draw(&route.groups, balance::point(ticket))) else {
                return Step::Out(Refused::NoEndpoint);
            };
            let was_tried = |endpoint: &Arc<Endpoint>| tried.iter().any(|other| Arc::ptr_eq(other, endpoint));
            let Some(Pick { group, target, health }) =
                balance::choose(&route.groups, drawn, ticket as usize, was_tried)
            else {
                return Step::Out(Refused::NoEndpoint);
            };
            if health == EndpointHealth::Unknown && looks {
                return Step::Look(route.shared.verdict.clone());
            }
            let endpoint = route.groups[group].endpoints[target].clone();
            endpoint.enter();
            // A tester goes where it asks to each time; a cookie would keep it there.
            let set_cookie = route.config.sticky.is_some() && stuck != Some(group) && tests.is_none();
            Step::In(Ticket { route: route.clone(), group, endpoint, worker: ask.worker, set_cookie })
        })
    }
}

/// The group for testers, if the request is one's and some endpoint there can serve; otherwise it is a request like any other.
fn tester(route: &Route, headers: &HeaderMap) -> Option<usize> {
    if route.config.testers.is_empty() {
        return None;
    }
    let group = route.groups.iter().position(|group| group.testers)?;
    let serves = |endpoint: &Arc<Endpoint>| endpoint.health() != EndpointHealth::Down;
    let asks = route.config.testers.iter().any(|tester| match tester {
        Tester::Header { name, value } => {
            headers.get_all(name).iter().any(|found| found.as_bytes().trim_ascii() == value.as_bytes())
        }
        Tester::Cookie { name, value } => headers::cookie(headers, name) == Some(value),
    });
    (asks && route.groups[group].endpoints.iter().any(serves)).then_some(group)
}

/// The group that a client was sent to before, if it still gets requests.
fn stuck(route: &Route, headers: &HeaderMap) -> Option<usize> {
    let sticky = route.config.sticky.as_ref()?;
    let value = headers::cookie(headers, &sticky.cookie)?;
    route.groups.iter().position(|group| group.weight > 0 && group.id.as_str() == value)
}
