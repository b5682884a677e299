//! Changes of the configuration, one at a time: checked, on disk, in force, in that order; and only then confirmed.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::endpoint::Endpoint;
use super::listener::Listeners;
use super::plane::Plane;
use super::route::Route;
use super::store::{State, Store};
use super::succession::{Predecessor, Residue, Word};
use super::table::Table;
use super::worker::Workers;
use super::{config, probe, tls};
use crate::clock;
use crate::domain::id::Epoch;
use crate::domain::span::Span;
use crate::protocol::router::{PutRoute, RouteConfig, RouteStatus};
use crate::protocol::{ErrorBody, ErrorCode, VERSION};

/// How often a listener that could not be bound at the start is tried again.
const BIND_RETRY: Duration = Duration::from_secs(1);

/// The one place where the configuration changes.
#[derive(Debug)]
pub struct Control {
    plane: Arc<Plane>,
    inner: Mutex<Inner>,
    /// Who was taken over and has not yet left. Locked after `inner` where both are.
    predecessor: Mutex<Option<Predecessor>>,
    /// A successor has taken over: nothing is decided here any more.
    left: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    state: State,
    listeners: Listeners,
}

fn refuse(code: ErrorCode, message: impl Into<String>) -> ErrorBody {
    ErrorBody { code, message: message.into() }
}

impl Control {
    /// Puts the last confirmed configuration in force. A listener that can't be bound yet is tried until it can, while the
    /// others serve.
    pub async fn restore(
        plane: Arc<Plane>,
        workers: Arc<Workers>,
        store: Store,
        state: State,
        inherited: Vec<TcpListener>,
    ) -> Arc<Self> {
        let mut routes = std::collections::BTreeMap::new();
        for (key, config) in &state.routes {
            let change = Route::next(config.clone(), None, plane.limits.workers);
            for endpoint in &change.unprobed {
                probe::start(endpoint, config.probe.clone(), config.upstream);
            }
            routes.insert(key.clone(), change.route);
        }
        tracing::info!(routes = routes.len(), epoch = %state.epoch, "configuration restored");
        plane.gate.swap(Table::new(routes));
        let listeners = Listeners::new(plane.clone(), workers, inherited);
        let inner = Mutex::new(Inner { store, state, listeners });
        let control = Arc::new(Control { plane, inner, predecessor: Mutex::default(), left: AtomicBool::new(false) });
        let mut inner = control.inner.lock().await;
        control.take_certificates(&inner.state).await;
        let complete = inner.listen_all();
        inner.keep_needed();
        drop(inner);
        if !complete {
            let control = control.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(BIND_RETRY).await;
                    let mut inner = control.inner.lock().await;
                    if control.left() || inner.listen_all() {
                        return;
                    }
                }
            });
        }
        control
    }

    /// From now on changes also reach the router that was taken over, until it has left.
    pub async fn succeed(&self, predecessor: Predecessor) {
        *self.predecessor.lock().await = Some(predecessor);
    }

    /// Whether a router that was taken over is still there.
    pub async fn has_predecessor(&self) -> bool {
        self.tell_predecessor(&Word::Look {}).await;
        self.predecessor.lock().await.is_some()
    }

    /// Whether a successor has taken over.
    fn left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Refuses whatever comes after a successor has taken over.
    pub fn check_in_charge(&self) -> Result<(), ErrorBody> {
        if self.left() {
            return Err(refuse(ErrorCode::Failed, "this router has handed over to its successor: try again"));
        }
        Ok(())
    }

    /// The highest epoch seen.
    pub async fn epoch(&self) -> Epoch {
        self.inner.lock().await.state.epoch
    }

    /// What can't be served at the moment, for people.
    pub async fn limitations(&self) -> Vec<String> {
        let inner = self.inner.lock().await;
        let missing = inner.needed().into_iter().filter(|address| !inner.listeners.has(*address));
        let unbound = missing.map(|address| format!("{address} can't be listened on yet; it is tried every second"));
        unbound.chain(self.plane.tls.limitations(clock::now().into())).collect()
    }

    /// Takes in certificates that were changed on disk.
    pub async fn refresh_certificates(&self) {
        let inner = self.inner.lock().await;
        if !self.left() {
            self.take_certificates(&inner.state).await;
        }
    }

    /// Takes in the certificates of a configuration. Under the lock of `inner`, so that it is one at a time.
    async fn take_certificates(&self, state: &State) {
        let needed = tls::needed(state.routes.values().map(|route| (route.listen, route.tls.as_ref())));
        let plane = self.plane.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || plane.tls.refresh(&needed)).await {
            tracing::error!(%error, "certificates could not be looked at");
        }
    }

    /// Refuses a route whose certificates can't be used, before anything is changed.
    async fn check_certificates(&self, route: &RouteConfig) -> Result<(), ErrorBody> {
        let Some(tls) = route.tls.clone() else { return Ok(()) };
        let plane = self.plane.clone();
        let checked =
            tokio::task::spawn_blocking(move || plane.tls.check(&tls).map_err(|error| error.to_string())).await;
        let reason = match checked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(error) => error.to_string(),
        };
        Err(refuse(
            ErrorCode::Failed,
            format!("route {:?}: the listener {} has no usable certificate: {reason}", route.key, route.listen),
        ))
    }

    /// All routes, with what a predecessor still has of them.
    pub async fn routes(&self) -> Vec<RouteStatus> {
        let left = self.tell_predecessor(&Word::Look {}).await;
        let mut statuses = self.own_routes();
        for residue in left {
            if let Some(status) = statuses.iter_mut().find(|status| status.route.key == residue.key) {
                residue.add_to(status);
            }
        }
        statuses
    }

    fn own_routes(&self) -> Vec<RouteStatus> {
        let routes: Vec<_> = self.plane.gate.read(|table| table.routes.values().cloned().collect());
        routes.iter().map(|route| route.status(&self.plane.start)).collect()
    }

    /// One route, with what a predecessor still has of it.
    pub async fn route(&self, key: &str) -> Result<RouteStatus, ErrorBody> {
        let left = self.tell_predecessor(&Word::Look {}).await;
        let route = self.plane.gate.read(|table| table.routes.get(key).cloned());
        let route = route.ok_or_else(|| refuse(ErrorCode::NotFound, format!("there is no route {key:?}")))?;
        let mut status = route.status(&self.plane.start);
        left.into_iter().filter(|residue| residue.key == key).for_each(|residue| residue.add_to(&mut status));
        Ok(status)
    }

    /// Does what the successor says and tells what is left, here and before.
    pub async fn follow(&self, word: Word) -> Vec<Residue> {
        let mut left = self.tell_predecessor(&word).await;
        match word {
            Word::Change { key, route } => self.enforce(&key, route.map(|route| *route)),
            Word::EndHolds {} => self.end_holds(),
            Word::Look {} => {}
        }
        left.extend(self.own_routes().into_iter().filter_map(Residue::of));
        left
    }

    /// Passes something on to the router that was taken over, if it is still there, and hears what it has left.
    async fn tell_predecessor(&self, word: &Word) -> Vec<Residue> {
        let mut predecessor = self.predecessor.lock().await;
        let Some(link) = predecessor.as_mut() else { return Vec::new() };
        match link.tell(word).await {
            Ok(left) => left,
            Err(error) => {
                tracing::info!(%error, "the router that was taken over has gone");
                *predecessor = None;
                Vec::new()
            }
        }
    }

    /// Puts a route in force. Not to be dropped half-way: what is on disk must also come in force.
    pub async fn put(&self, key: &str, put: PutRoute) -> Result<RouteStatus, ErrorBody> {
        if put.version > VERSION {
            let message = format!(
                "the route has version {}, this router understands up to {VERSION}: upgrade the router first",
                put.version
            );
            return Err(refuse(ErrorCode::Version, message));
        }
        let invalid = |message| refuse(ErrorCode::Invalid, message);
        if put.route.key != key {
            return Err(invalid(format!("the path names route {key:?}, the body {:?}", put.route.key)));
        }
        let config = config::validate(put.route).map_err(invalid)?;
        let mut inner = self.inner.lock().await;
        self.check_in_charge()?;
        inner.check_epoch(put.epoch)?;
        if let Some(rival) = self.plane.gate.read(|table| table.rival(&config).map(str::to_owned)) {
            return Err(invalid(format!(
                "route {key:?} is refused: route {rival:?} already answers for the same address, host and path"
            )));
        }
        if inner.state.routes.len() >= config::MAX_ROUTES && !inner.state.routes.contains_key(key) {
            return Err(invalid(format!("there are {} routes, which is the most", config::MAX_ROUTES)));
        }
        let mut state = inner.state.clone();
        state.epoch = put.epoch;
        state.routes.insert(key.to_owned(), config.clone());
        self.check_certificates(&config).await?;
        // Before the address is listened at: never plain text where TLS is asked for.
        self.take_certificates(&state).await;
        inner.listeners.ensure(config.listen).map_err(|error| refuse(ErrorCode::Failed, error.to_string()))?;
        if let Err(error) = inner.save(state).await {
            inner.keep_needed();
            self.take_certificates(&inner.state).await;
            return Err(error);
        }
        let change = Word::Change { key: key.to_owned(), route: Some(Box::new(config.clone())) };
        self.tell_predecessor(&change).await;
        self.enforce(key, Some(config));
        inner.keep_needed();
        drop(inner);
        self.route(key).await
    }

    /// Removes a route; it is no error when there is none. Not to be dropped half-way.
    pub async fn delete(&self, key: &str, epoch: Epoch) -> Result<(), ErrorBody> {
        let mut inner = self.inner.lock().await;
        self.check_in_charge()?;
        inner.check_epoch(epoch)?;
        let mut state = inner.state.clone();
        state.epoch = epoch;
        state.routes.remove(key);
        inner.save(state).await?;
        self.tell_predecessor(&Word::Change { key: key.to_owned(), route: None }).await;
        self.enforce(key, None);
        inner.keep_needed();
        self.take_certificates(&inner.state).await;
        Ok(())
    }

    /// Swaps the table, then sees to what follows from it. Called by one at a time: under the lock of `inner`, or by the one
    /// connection to a successor.
    fn enforce(&self, key: &str, config: Option<RouteConfig>) {
        let mut routes = self.plane.gate.read(|table| table.routes.clone());
        let before = routes.get(key).cloned();
        if before.as_ref().map(|route| &route.config) == config.as_ref() {
            return;
        }
        let mut unprobed = Vec::new();
        let removed = match config {
            Some(config) => {
                let change = Route::next(config, before.as_ref(), self.plane.limits.workers);
                routes.insert(key.to_owned(), change.route);
                unprobed = change.unprobed;
                change.removed
            }
            None => {
                routes.remove(key);
                before.iter().flat_map(|route| route.endpoints().cloned()).collect()
            }
        };
        let after = routes.get(key).cloned();
        self.plane.gate.swap(Table::new(routes));

        let drain = after.as_ref().or(before.as_ref()).map_or(Span::ZERO, |route| route.config.drain);
        for endpoint in removed {
            if let Some(route) = &after {
                route.shared.add_leaving(endpoint.clone());
            }
            retire(endpoint, drain.duration());
        }
        if let Some(after) = &after {
            for endpoint in unprobed {
                probe::start(&endpoint, after.config.probe.clone(), after.config.upstream);
            }
        }
        if let Some(before) = before
            && after.as_ref().is_none_or(|after| after.config.hold.is_none())
        {
            before.shared.queue.release();
        }
    }

    /// Stops accepting connections, and changes, for good, with no successor: whoever waits is told to come again.
    pub async fn leave(&self) {
        let mut inner = self.inner.lock().await;
        self.left.store(true, Ordering::Relaxed);
        inner.listeners.stop();
        self.tell_predecessor(&Word::EndHolds {}).await;
        self.end_holds();
    }

    /// Whoever waits is refused, now and later.
    fn end_holds(&self) {
        self.plane.gate.end_holds();
        let routes: Vec<_> = self.plane.gate.read(|table| table.routes.values().cloned().collect());
        routes.iter().for_each(|route| route.shared.queue.release());
    }

    /// The open listeners, with changes kept out until the guard is dropped.
    pub async fn freeze(&self) -> Frozen<'_> {
        Frozen { control: self, inner: self.inner.lock().await }
    }
}

/// While this lives the configuration does not change.
#[derive(Debug)]
pub struct Frozen<'a> {
    control: &'a Control,
    inner: tokio::sync::MutexGuard<'a, Inner>,
}

impl Frozen<'_> {
    /// The listening sockets.
    pub fn sockets(&self) -> Vec<Arc<TcpListener>> {
        self.inner.listeners.sockets()
    }

    /// A successor has taken over: no connections and no changes any more.
    pub fn leave(mut self) {
        self.control.left.store(true, Ordering::Relaxed);
        self.inner.listeners.stop();
    }
}

impl Inner {
    fn check_epoch(&self, epoch: Epoch) -> Result<(), ErrorBody> {
        if epoch < self.state.epoch {
            let message = format!(
                "epoch {epoch} is stale, {} has been here: another daemon has taken over, this one must stop",
                self.state.epoch
            );
            return Err(refuse(ErrorCode::StaleEpoch, message));
        }
        Ok(())
    }

    /// Brings a state to disk and makes it the current one.
    async fn save(&mut self, state: State) -> Result<(), ErrorBody> {
        if state == self.state {
            return Ok(());
        }
        let (store, written) = (self.store.clone(), state.clone());
        let saved = tokio::task::spawn_blocking(move || store.save(&written)).await;
        match saved {
            Ok(Ok(())) => {
                self.state = state;
                Ok(())
            }
            Ok(Err(error)) => Err(refuse(ErrorCode::Failed, format!("nothing was changed: {error}"))),
            Err(error) => Err(refuse(ErrorCode::Failed, format!("nothing was changed: {error}"))),
        }
    }

    fn needed(&self) -> std::collections::BTreeSet<std::net::SocketAddr> {
        self.state.routes.values().map(|route| route.listen).collect()
    }

    /// Closes the listeners that no route needs.
    fn keep_needed(&mut self) {
        let needed = self.needed();
        self.listeners.keep(|address| needed.contains(&address));
    }

    /// Listens at all addresses that are needed; `false` if one can't be bound.
    fn listen_all(&mut self) -> bool {
        let mut complete = true;
        for address in self.needed() {
            if let Err(error) = self.listeners.ensure(address) {
                tracing::warn!(%error, "will be tried again");
                complete = false;
            }
        }
        complete
    }
}

/// Takes an endpoint out: nothing new comes, what is in flight may go on for a while and is then cut.
fn retire(endpoint: Arc<Endpoint>, drain: Duration) {
    let since = endpoint.retire();
    if endpoint.in_flight() == 0 {
        return;
    }
    tokio::spawn(async move {
        tokio::time::sleep(drain).await;
        endpoint.cut_if(since);
    });
}
