//! One instance as the router knows it while it runs: its health, what is in flight, its idle connections.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::balance::Target;
use super::pool::Pool;
use super::signal::{Signal, lock};
use crate::domain::id::GroupId;
use crate::protocol::router::{self as protocol, EndpointHealth, EndpointStatus};

/// One instance. It lives on while requests to it are in flight, also after its route has let go of it.
#[derive(Debug)]
pub struct Endpoint {
    /// Its group.
    pub group: GroupId,
    /// Its identity and address.
    pub at: protocol::Endpoint,
    /// Its idle connections.
    pub pool: Pool,
    /// Fired when what is still in flight is cut.
    pub cut: Arc<Signal>,
    /// Woken when a connection failed, so that the endpoint is looked at soon.
    pub suspect: Notify,
    /// Woken at each change of health; shared by the endpoints of a route.
    verdict: Arc<Notify>,
    health: AtomicU8,
    in_flight: AtomicU64,
    draining: AtomicBool,
    retired: Mutex<Option<Instant>>,
    prober: Mutex<Option<AbortHandle>>,
}

impl Endpoint {
    /// An endpoint that nothing is known of.
    pub fn new(group: GroupId, at: protocol::Endpoint, workers: usize, verdict: Arc<Notify>) -> Self {
        Endpoint {
            group,
            at,
            pool: Pool::new(workers),
            cut: Arc::default(),
            suspect: Notify::new(),
            verdict,
            health: AtomicU8::new(EndpointHealth::Unknown as u8),
            in_flight: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            retired: Mutex::new(None),
            prober: Mutex::new(None),
        }
    }

    /// Whether it can serve.
    pub fn health(&self) -> EndpointHealth {
        match self.health.load(Ordering::Relaxed) {
            health if health == EndpointHealth::Up as u8 => EndpointHealth::Up,
            health if health == EndpointHealth::Down as u8 => EndpointHealth::Down,
            _ => EndpointHealth::Unknown,
        }
    }

    /// Sets its health and lets those know that wait for a verdict.
    pub fn set_health(&self, health: EndpointHealth) {
        let before = self.health.swap(health as u8, Ordering::Relaxed);
        if before != health as u8 {
            tracing::info!(group = %self.group, endpoint = %self.at.id, address = %self.at.address, ?health, "endpoint changed");
            self.verdict.notify_waiters();
        }
    }

    /// A connection to it failed: it is down until a probe finds it again.
    pub fn refused(&self) {
        self.set_health(EndpointHealth::Down);
        self.suspect.notify_one();
    }

    /// Registers a request. Only under the lock of the table, see [`super::admit`].
    pub fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A registered request has ended.
    pub fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it was taken out.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// It was taken out of its route: no probes, no idle connections. Returns the time by which a later [`Self::cut_if`] knows
    /// that it is still the same absence.
    pub fn retire(&self) -> Instant {
        let now = Instant::now();
        *lock(&self.retired) = Some(now);
        self.draining.store(true, Ordering::Relaxed);
        self.set_prober(None);
        self.pool.clear();
        now
    }

    /// It came back before what was in flight was cut. `false` if it can't.
    pub fn revive(&self) -> bool {
        let mut retired = lock(&self.retired);
        if self.cut.is_fired() {
            return false;
        }
        *retired = None;
        self.draining.store(false, Ordering::Relaxed);
        true
    }

    /// Cuts what is in flight, if it has been out since that time.
    pub fn cut_if(&self, since: Instant) {
        let retired = lock(&self.retired);
        if *retired == Some(since) {
            self.cut.fire();
        }
    }

    /// Replaces the task that probes it.
    pub fn set_prober(&self, task: Option<AbortHandle>) {
        if let Some(before) = std::mem::replace(&mut *lock(&self.prober), task) {
            before.abort();
        }
    }

    /// What is reported of it.
    pub fn status(&self) -> EndpointStatus {
        EndpointStatus {
            group: self.group.clone(),
            endpoint: self.at.clone(),
            health: self.health(),
            in_flight: self.in_flight(),
            draining: self.draining(),
        }
    }
}

impl Target for Arc<Endpoint> {
    fn health(&self) -> EndpointHealth {
        Endpoint::health(self)
    }

    fn in_flight(&self) -> u64 {
        Endpoint::in_flight(self)
    }
}
