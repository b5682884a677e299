//! The supervisor: starts the processes of this machine and keeps them as they are asked for, one shim each, so that
//! neither the end of the daemon nor its own touches them.
//!
//! ```text
//! daemon --HTTP--> server -> groups -> instance (a task each) -> launch ---files---> shim -> app
//!                        \-> runs ---------------------------/            (its own process)
//! ```
//!
//! - [`server`]: the routes; [`groups`] and [`runs`]: what is asked for, durable before it is answered
//! - [`instance`]: one instance over all its starts; [`decide`]: what is done next, pure; [`live`], [`check`], [`probe`]:
//!   the health of its process
//! - [`launch`]: one start, begun, found again, concluded; [`remains`]: what a dead shim left behind
//! - [`shim`]: the small process between; [`cgroup`]: limits and tree kills; [`identity`], [`environment`]: who and with what
//! - [`secrets`]: kept encrypted, handed over through pipes and folders in memory
//! - [`store`], [`records`]: what is remembered, and how; [`files`]: copies of artifacts; [`ports`]; [`epoch`]
//! - [`board`], [`logs`], [`metrics`]: what can be seen
//!
//! A new start of the supervisor reads the records, adopts every shim that lives, concludes those that are gone, and
//! goes on. After a restart of the machine it starts what was last asked for, without daemon and Git.

pub mod board;
pub mod cgroup;
pub mod check;
pub mod context;
pub mod decide;
pub mod environment;
pub mod epoch;
pub mod files;
pub mod groups;
pub mod identity;
pub mod instance;
pub mod launch;
pub mod live;
pub mod logs;
pub mod making;
pub mod metrics;
pub mod ports;
pub mod probe;
pub mod process;
pub mod records;
pub mod remains;
pub mod runs;
pub mod secrets;
pub mod server;
pub mod shim;
pub mod signal;
pub mod store;
pub mod sys;
pub mod validate;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use self::cgroup::hierarchy::Hierarchies;
use self::context::Context;
use self::epoch::EpochGate;
use self::groups::Groups;
use self::metrics::Metrics;
use self::ports::{PortRange, Ports};
use self::runs::Runs;
use self::secrets::keep::Keeper;
use self::secrets::places::Places;
use self::server::Service;
use self::store::{Lock, StoreError};
use crate::net::notify;
use crate::net::server::{BindError, bind};

/// How a supervisor runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it remembers everything. Other users must be able to pass through it when apps run as other users.
    pub state_dir: PathBuf,
    /// The Unix socket that it serves.
    pub socket: PathBuf,
    /// The socket's file mode.
    pub socket_mode: u32,
    /// The ports that it gives to instances.
    pub ports: PortRange,
    /// The user of apps and scripts that name none, instead of the supervisor's own.
    pub app_user: Option<String>,
    /// The key under which secrets are kept at rest, instead of one of its own.
    pub secrets_key: Option<PathBuf>,
    /// Another boot id than the kernel's, to rehearse a restart of the machine.
    pub boot_id: Option<String>,
}

/// Why a supervisor can't run.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Another one keeps the same state.
    #[error("another supervisor uses {0}: stop it first, or choose another --state-dir")]
    Taken(PathBuf),
    /// The state can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The socket can't be served.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system refused something that nothing works without.
    #[error("the supervisor can't {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's word.
        source: std::io::Error,
    },
    /// The counters can't be made.
    #[error("the metrics can't be set up: {0}")]
    Metrics(#[from] prometheus::Error),
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> SupervisorError {
    move |source| SupervisorError::System { what, source }
}

/// Runs a supervisor until SIGTERM or SIGINT. All processes go on without it.
pub async fn run(options: Options) -> Result<(), SupervisorError> {
    let state = std::path::absolute(&options.state_dir).map_err(system("find its state folder"))?;
    store::create_dir(&state)?;
    let _lock = Lock::take_soon(&state.join("lock"))?.ok_or_else(|| SupervisorError::Taken(state.clone()))?;
    let boot = match options.boot_id {
        Some(boot) => boot,
        None => process::boot_id().map_err(system("read the boot id"))?,
    };
    let hierarchies = Hierarchies::detect();
    let mut limitations = hierarchies.limitations();
    if !nix::unistd::Uid::effective().is_root() {
        limitations.push("apps can't run as another user: the supervisor is not root".into());
    } else if options.app_user.is_none() {
        limitations.push("apps that name no user run as root: give the supervisor an --app-user".into());
    }
    let places = Places::find(&state);
    limitations.extend(places.limitation.clone());
    let ctx = Arc::new(Context {
        keeper: Keeper::new(&state, options.secrets_key),
        places,
        state: state.clone(),
        boot,
        hierarchies,
        board: board::Board::default(),
        metrics: Metrics::new()?,
        ports: Mutex::new(Ports::new(options.ports)),
        app_user: options.app_user,
    });
    let gate = Arc::new(EpochGate::open(state)?);
    let (groups, unreadable_groups) = Groups::load(ctx.clone(), gate.clone())?;
    let (runs, unreadable_runs) = Runs::load(ctx.clone(), gate.clone())?;
    ctx.places.keep_only(&ctx.with_secrets());
    limitations.extend(unreadable_groups);
    limitations.extend(unreadable_runs);
    limitations.iter().for_each(|limitation| tracing::warn!("{limitation}"));
    let start = uuid::Uuid::now_v7().to_string();
    let places = ctx.places.clone();
    let service = Arc::new(Service { ctx, gate, groups, runs, start, limitations });
    let (listener, _socket_lock) = bind(&options.socket, options.socket_mode)?.into_parts();
    notify::ready();
    tracing::info!(socket = %options.socket.display(), "supervisor serves");
    tokio::select! {
        outcome = axum::serve(listener, server::router(service)) => outcome.map_err(system("serve its socket"))?,
        () = crate::process::terminated() => {
            notify::stopping();
            tracing::info!("supervisor leaves; its processes go on");
        }
    }
    places.leave();
    Ok(())
}
