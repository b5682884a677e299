//! Changes of the configuration, one at a time: checked, on disk, in force, in that order; and only then confirmed.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::endpoint::Endpoint;
use super::listener::Listeners;
use super::plane::Plane;
use super::route::Route;
use super::store::{State, Store};
use super::table::Table;
use super::worker::Workers;
use super::{config, probe};
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
}

#[derive(Debug)]
struct Inner {
    store: Store,
    state: State,
    listeners: Listeners,
    /// A successor has taken over: nothing is changed here any more.
    left: bool,
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
                probe::start(endpoint, config.probe.clone());
            }
            routes.insert(key.clone(), change.route);
        }
        tracing::info!(routes = routes.len(), epoch = %state.epoch, "configuration restored");
        plane.gate.swap(Table::new(routes));
        let listeners = Listeners::new(plane.clone(), workers, inherited);
        let control = Arc::new(Control { plane, inner: Mutex::new(Inner { store, state, listeners, left: false }) });
        let mut inner = control.inner.lock().await;
        let complete = inner.listen_all();
        let needed = inner.needed();
        inner.listeners.keep(|address| needed.contains(&address));
        drop(inner);
        if !complete {
            let control = control.clone();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(BIND_RETRY).await;
                    let mut inner = control.inner.lock().await;
                    if inner.left || inner.listen_all() {
                        return;
                    }
                }
            });
        }
        control
    }

    /// The highest epoch seen.
    pub async fn epoch(&self) -> Epoch {
        self.inner.lock().await.state.epoch
    }

    /// What can't be served at the moment, for people.
    pub async fn limitations(&self) -> Vec<String> {
        let inner = self.inner.lock().await;
        let missing = inner.needed().into_iter().filter(|address| !inner.listeners.has(*address));
        missing.map(|address| format!("{address} can't be listened on yet; it is tried every second")).collect()
    }

    /// All routes.
    pub fn routes(&self) -> Vec<RouteStatus> {
        let routes: Vec<_> = self.plane.gate.read(|table| table.routes.values().cloned().collect());
        routes.iter().map(|route| route.status(&self.plane.start)).collect()
    }

    /// One route.
    pub fn route(&self, key: &str) -> Result<RouteStatus, ErrorBody> {
        let route = self.plane.gate.read(|table| table.routes.get(key).cloned());
        let route = route.ok_or_else(|| refuse(ErrorCode::NotFound, format!("there is no route {key:?}")))?;
        Ok(route.status(&self.plane.start))
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
        inner.listeners.ensure(config.listen).map_err(|error| refuse(ErrorCode::Failed, error.to_string()))?;
        if let Err(error) = inner.save(state).await {
            let needed = inner.needed();
            inner.listeners.keep(|address| needed.contains(&address));
            return Err(error);
        }
        self.enforce(&mut inner, key, Some(config));
        drop(inner);
        self.route(key)
    }

    /// Removes a route; it is no error when there is none. Not to be dropped half-way.
    pub async fn delete(&self, key: &str, epoch: Epoch) -> Result<(), ErrorBody> {
        let mut inner = self.inner.lock().await;
        inner.check_epoch(epoch)?;
        let mut state = inner.state.clone();
        state.epoch = epoch;
        state.routes.remove(key);
        inner.save(state).await?;
        self.enforce(&mut inner, key, None);
        Ok(())
    }

    /// Swaps the table, then sees to what follows from it.
    fn enforce(&self, inner: &mut Inner, key: &str, config: Option<RouteConfig>) {
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
                probe::start(&endpoint, after.config.probe.clone());
            }
        }
        if let Some(before) = before
            && after.as_ref().is_none_or(|after| after.config.hold.is_none())
        {
            before.shared.queue.release();
        }
        let needed = inner.needed();
        inner.listeners.keep(|address| needed.contains(&address));
    }

    /// Stops accepting connections, and changes, for good.
    pub async fn leave(&self) {
        let mut inner = self.inner.lock().await;
        inner.left = true;
        inner.listeners.stop();
    }

    /// The open listeners, with changes kept out until the guard is dropped.
    pub async fn freeze(&self) -> Frozen<'_> {
        Frozen(self.inner.lock().await)
    }
}

/// While this lives the configuration does not change.
#[derive(Debug)]
pub struct Frozen<'a>(tokio::sync::MutexGuard<'a, Inner>);

impl Frozen<'_> {
    /// The listening sockets.
    pub fn sockets(&self) -> Vec<Arc<TcpListener>> {
        self.0.listeners.sockets()
    }

    /// A successor has taken over: no connections and no changes any more.
    pub fn leave(mut self) {
        self.0.left = true;
        self.0.listeners.stop();
    }
}

impl Inner {
    fn check_epoch(&self, epoch: Epoch) -> Result<(), ErrorBody> {
        if self.left {
            return Err(refuse(ErrorCode::Failed, "this router has handed over to its successor: try again"));
        }
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
