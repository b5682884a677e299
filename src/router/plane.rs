//! What all parts of a running router share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::access::Access;
use super::admit::Gate;
use super::refusal::Refusals;
use super::signal::Signal;
use super::tls;
use super::worker::Limits;

/// The data plane: what requests look at.
#[derive(Debug)]
pub struct Plane {
    /// The routes in force.
    pub gate: Gate,
    /// What is allowed.
    pub limits: Limits,
    /// The router's own answers.
    pub refusals: Refusals,
    /// A random id of this start.
    pub start: String,
    /// Connections that may still be opened.
    pub permits: Arc<Semaphore>,
    /// Fired when idle connections are closed.
    pub closing: Arc<Signal>,
    /// Client connections that are open.
    pub connections: AtomicUsize,
    /// Fired when the router leaves.
    pub leaving_signal: Arc<Signal>,
    /// The access log.
    pub access: Access,
    /// Listeners that speak TLS.
    pub tls: tls::Listeners,
    /// Connections that were taken over by another protocol and are open.
    pub tunnels: AtomicUsize,
}

impl Plane {
    /// A plane without routes.
    pub fn new(limits: Limits) -> Self {
        Plane {
            gate: Gate::default(),
            refusals: Refusals::default(),
            start: uuid::Uuid::now_v7().to_string(),
            permits: Arc::new(Semaphore::new(limits.max_connections)),
            closing: Arc::default(),
            connections: AtomicUsize::new(0),
            leaving_signal: Arc::default(),
            access: Access::default(),
            tls: tls::Listeners::default(),
            tunnels: AtomicUsize::new(0),
            limits,
        }
    }

    /// Whether the router is leaving: each answer closes its connection.
    pub fn leaving(&self) -> bool {
        self.leaving_signal.is_fired()
    }

    /// From now on each answer closes its connection.
    pub fn leave(&self) {
        self.leaving_signal.fire();
    }

    /// Client connections that are open.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}
