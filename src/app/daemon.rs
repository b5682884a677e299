//! The life of the daemon: start, serve, stop.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::doors::Doors;
use super::front::Front;
use super::installation::Installation;
use super::observe::groups;
use super::operations::Daemon;
use super::reconciler::Reconciler;
use super::registry::Registry;
use super::reload::{self, ConfigError, Reloads};
use super::retention;
use super::rollback::recorder;
use super::unit::task::Shared;
use super::watchdog;
use super::world::World;
use crate::api;
use crate::domain::workload::Place;
use crate::net;

/// How long a stop waits for the steps under way.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop.
    Stopped,
    /// Another daemon has taken over.
    TakenOver,
}

/// Runs until `stop` completes or another daemon takes over. `ready` is called once everything that is known is being kept
/// true and the API answers. `reloads` says when the configuration is to be read again.
///
/// # Errors
///
/// The journal can't be read, or the API's socket can't be served.
pub async fn run(
    world: Arc<World>,
    settings: Config,
    stop: impl Future<Output = ()> + Send,
    ready: impl FnOnce(),
    reloads: Option<Reloads>,
) -> anyhow::Result<Ended> {
    let socket = net::server::bind(&settings.api.socket, settings.socket_mode().map_err(anyhow::Error::msg)?)?;
    let doors = Doors::bind(&settings).await?;
    let installation = Arc::new(Installation::open(world.clone()).await?);
    let token = CancellationToken::new();
    let stale = CancellationToken::new();
    let shared = Arc::new(Shared {
        settings,
        registry: Arc::new(Registry::default()),
        installation,
        record_rollbacks: Notify::new(),
        left_over: Notify::new(),
        hand_over: Notify::new(),
        config_error: ConfigError::default(),
        stop: token.clone(),
        stale: stale.clone(),
    });
    let reconciler = Arc::new(Reconciler::new(world.clone(), shared.clone()));
    // Before the first unit looks: what changes between that and the watcher's first turn wakes it.
    let mut changes = world.platforms.changes();
    changes.push(world.traffic.changes());
    reconciler.restore().await?;
    let daemon = Arc::new(Daemon::new(world.clone(), shared.clone(), reconciler.clone()));
    let (listener, _lock) = socket.into_parts();
    let front = Front::start()?;
    let (routes, keys) = doors.open(daemon.clone(), world.audit.clone(), &front, &token)?;
    let serving = api::server::serve_routes(front.unix(listener)?, routes, token.clone().cancelled_owned());
    let served = front.handle().spawn(serving);
    let source = tokio::spawn(reconciler.clone().run());
    let reverts = tokio::spawn(recorder::run(world.clone(), shared.clone(), reconciler.clone()));
    let retention = tokio::spawn(retention::run(world.clone(), shared.clone()));
    let artifacts = tokio::spawn(super::artifacts::run(world.clone(), shared.clone()));
    let deeds = tokio::spawn(super::deeds::run(world.clone(), shared.clone()));
    let watcher = tokio::spawn(wake_on_changes(world.clone(), shared.clone(), changes));
    tracing::info!(epoch = %world.epoch, installation = %world.installation, "ready");
    ready();
    let vital = vec![
        ("reads the source", source.abort_handle()),
        ("records rollbacks", reverts.abort_handle()),
        ("removes what is old", retention.abort_handle()),
        ("removes artifacts", artifacts.abort_handle()),
        ("records what was done", deeds.abort_handle()),
        ("wakes the units", watcher.abort_handle()),
    ];
    let watchdog = tokio::spawn(watchdog::run(daemon, vital));
    let reload = reloads.map(|reloads| {
        let (known, error) = (shared.settings.clone(), shared.config_error.clone());
        tokio::spawn(reload::run(reloads, known, keys, reconciler.clone(), error))
    });
    tokio::select! {
        () = stop => {}
        () = stale.cancelled() => {}
    }
    net::notify::stopping();
    token.cancel();
    tracing::info!("stopping: the steps under way are finished, workloads go on");
    reconciler.drain(STOP_LIMIT).await;
    for task in [source, reverts, retention, artifacts, deeds, watcher, watchdog].into_iter().chain(reload) {
        task.abort();
    }
    // A request that waits for changes would keep the API open: it is given a moment, no more.
    let _ = tokio::time::timeout(Duration::from_secs(1), served).await;
    Ok(if stale.is_cancelled() { Ended::TakenOver } else { Ended::Stopped })
}

/// Wakes the units whose surroundings changed by themselves.
async fn wake_on_changes(world: Arc<World>, shared: Arc<Shared>, mut changes: Vec<watch::Receiver<u64>>) {
    loop {
        let any = select_all(changes.iter_mut().map(|one| Box::pin(one.changed())));
        tokio::select! {
            () = shared.stop.cancelled() => return,
            (changed, connection, _) = any => {
                match (changed, world.platforms.changed_units(connection)) {
                    (Err(_), _) => return,
                    (Ok(()), Some(units)) => units.iter().filter_map(|id| shared.registry.get(id)).for_each(|unit| unit.wake()),
                    (Ok(()), None) => wake_changed(&world, &shared).await,
                }
                let eased = world.platforms.eased_units(connection);
                eased.iter().filter_map(|id| shared.registry.get(id)).for_each(|unit| unit.try_now());
            }
        }
    }
}

/// Wakes the units of this machine whose surroundings are not as they were when they last looked.
pub async fn wake_changed(world: &World, shared: &Shared) {
    for unit in shared.registry.all() {
        let glance = unit.glance();
        if glance.place != Place::Host {
            continue;
        }
        let groups = groups(world, unit.id(), &glance.place).await;
        let known = glance.observed.as_ref();
        let same = known.is_some_and(|known| known.groups == groups) && glance.state.running().is_none();
        let routed = known.is_some_and(|known| known.traffic.known().is_none_or(Option::is_some));
        if !same || routed {
            unit.wake();
        }
    }
}
