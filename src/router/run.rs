//! The process: how a router starts, takes over, hands over and leaves.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::access::AccessLog;
use super::control::Control;
use super::handover::{self, Asked, Estate, Received};
use super::plane::Plane;
use super::store::{Store, StoreError};
use super::succession::Predecessor;
use super::worker::{Limits, Workers};
use super::{admin, notify, succession};
use crate::net::server::{self, BindError};

/// How long connections that are idle are kept open for a last request when the router stops and nobody takes over.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long the last lines of the access log may take.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How often idle connections to instances are looked through.
const SWEEP: Duration = Duration::from_secs(15);
/// How often it is looked whether certificates were changed.
const RENEW: Duration = Duration::from_secs(2);
/// How often it is looked whether all connections have ended.
const LOOK: Duration = Duration::from_millis(10);

/// How a router is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its state lies: `router.json`, `handover.sock`, `lock`. Made if missing.
    pub state_dir: PathBuf,
    /// The socket of the admin protocol.
    pub socket: PathBuf,
    /// Its file mode.
    pub socket_mode: u32,
    /// The access log; none: nothing is logged of requests.
    pub access_log: Option<AccessLog>,
    /// What it allows.
    pub limits: Limits,
}

/// Why a router can't run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A file or the system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's word.
        source: io::Error,
    },
    /// The admin socket can't be served.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The state can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A certificate that the running router may still have can't be used any more.
    #[error("the running router was not taken over, because a certificate can't be used: {reason}")]
    Certificate {
        /// Which and why.
        reason: String,
    },
    /// Another router has the state directory and does not hand it over.
    #[error("another router runs on {state_dir} and does not hand over ({reason}): stop it first")]
    Taken {
        /// The state directory.
        state_dir: PathBuf,
        /// What it said.
        reason: String,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let what = what.into();
    move |source| RunError::Io { what, source }
}

/// Runs a router until it is told to stop (SIGTERM, SIGINT) or a successor has taken over and nothing is left in flight. If
/// a router runs on the same state directory, this one takes over from it. SIGHUP starts a successor with the same arguments
/// from the binary that lies at this one's path now, which is how an upgrade loses no request.
///
/// Call it before the process has other threads, and once a process: it raises the limit of open descriptors.
pub fn run(options: &Options) -> Result<(), RunError> {
    raise_descriptor_limit();
    let inherited = notify::inherited();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed("the router's runtime can't be started"))?;
    runtime.block_on(serve(options, inherited))
}

async fn serve(options: &Options, inherited: Vec<TcpListener>) -> Result<(), RunError> {
    let mut stop = Stop::new().map_err(failed("signals can't be caught"))?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed("signals can't be caught"))?;
    let mut moved = signal(SignalKind::user_defined1()).map_err(failed("signals can't be caught"))?;
    let start = Start::take(options, inherited)?;
    let store = Store::new(&options.state_dir);
    let state = store.load()?;
    let plane = Arc::new(Plane::new(options.limits.clone()));
    if let Some(log) = &options.access_log {
        plane.access.open(log).map_err(failed(format!("the access log {} can't be written", log.path.display())))?;
    }
    let workers = Arc::new(Workers::start(&plane).map_err(failed("the router's threads can't be started"))?);
    let control = Control::restore(plane.clone(), workers, store, state, start.listeners).await;

    let estate = match start.from {
        From::Nobody(estate) => estate,
        From::Predecessor(received) => {
            let received = *received;
            let predecessor = received.predecessor;
            // The one that runs has what lies on disk no more: it goes on rather than that its listeners fall silent.
            if let Some(reason) = plane.tls.missing().into_iter().next() {
                return Err(RunError::Certificate { reason });
            }
            let untold = || failed("the running router could not be told");
            let (estate, connection) = received.confirm().map_err(untold())?;
            control.succeed(Predecessor::new(connection).map_err(untold())?).await;
            tracing::info!(predecessor, "taken over");
            rebind_admin(estate, options)?
        }
    };
    let estate = Arc::new(estate);
    let admin_task = serve_admin(&estate, &plane, &control)?;
    let sweeping = tokio::spawn(sweep(plane.clone()));
    let renewing = tokio::spawn(renew(control.clone()));
    notify::ready();
    tracing::info!(socket = %options.socket.display(), pid = std::process::id(), "router serves");

    let mut succession = std::pin::pin!(give_way(&estate, &control));
    let successor = loop {
        tokio::select! {
            () = stop.asked() => break None,
            _ = hangup.recv() => start_successor(),
            _ = moved.recv() => plane.access.reopen(),
            connection = &mut succession => break Some(connection?),
        }
    };
    plane.leave();
    let succeeded = successor.is_some();
    match successor {
        // It is the successor that speaks to systemd now.
        Some(connection) => drop(tokio::spawn(succession::follow(connection, control.clone()))),
        None => {
            notify::stopping();
            control.leave().await;
        }
    }
    admin_task.abort();
    sweeping.abort();
    renewing.abort();
    let idle = if succeeded { options.limits.drain } else { LAST_CALL.min(options.limits.drain) };
    tokio::select! {
        () = drain(&plane, &control, idle, options.limits.drain) => {}
        () = stop.asked() => tracing::warn!("told to stop again: what is in flight is cut"),
    }
    // Whether the disk takes them or not, it leaves.
    let _ = tokio::task::spawn_blocking(move || plane.access.finish(LAST_LINES)).await;
    tracing::info!("router leaves");
    Ok(())
}

/// Waits until all connections have ended. Each next answer closes its connection; those that stay idle for `idle` are closed;
/// what is in flight after that and `limit` more is left behind. A predecessor that still drains is waited for as well,
/// because it hears of changes only through this one.
async fn drain(plane: &Plane, control: &Control, idle: Duration, limit: Duration) {
    let ended = async || {
        while plane.connections() > 0 || control.has_predecessor().await {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(idle, ended()).await.is_ok() {
        return;
    }
    plane.closing.fire();
    if tokio::time::timeout(limit, ended()).await.is_err() {
        tracing::warn!(connections = plane.connections(), "still in flight after {limit:?}: cut");
    }
}

/// Closes connections to instances that have been idle for long, also where no request comes by any more.
async fn sweep(plane: Arc<Plane>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let routes: Vec<_> = plane.gate.read(|table| table.routes.values().cloned().collect());
        routes.iter().flat_map(|route| route.endpoints()).for_each(|endpoint| endpoint.pool.expire());
    }
}

/// Looks whether certificates were changed on disk.
async fn renew(control: Arc<Control>) {
    loop {
        tokio::time::sleep(RENEW).await;
        control.refresh_certificates().await;
    }
}

fn serve_admin(
    estate: &Estate,
    plane: &Arc<Plane>,
    control: &Arc<Control>,
) -> Result<tokio::task::JoinHandle<()>, RunError> {
    let unusable = || failed(format!("{} can't be served", estate.admin_path.display()));
    let listener = estate.admin.try_clone().map_err(unusable())?;
    listener.set_nonblocking(true).map_err(unusable())?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(unusable())?;
    let app = admin::app(plane.clone(), control.clone());
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, app).await {
            tracing::error!(%error, "the admin socket is no longer served");
        }
    }))
}

/// Waits for a successor and hands over to it. Ends when one serves, with the connection to it.
async fn give_way(estate: &Arc<Estate>, control: &Control) -> Result<UnixStream, RunError> {
    let unusable = || failed("handover.sock can't be served");
    let listener = estate.handover.try_clone().map_err(unusable())?;
    listener.set_nonblocking(true).map_err(unusable())?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(unusable())?;
    loop {
        let (stream, _) = listener.accept().await.map_err(unusable())?;
        let Ok(stream) = stream.into_std() else { continue };
        let asked = match blocking(move || Asked::hear(stream)).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(%error, "someone at handover.sock did not ask for anything");
                continue;
            }
        };
        let frozen = control.freeze().await;
        let (estate, sockets, successor) = (estate.clone(), frozen.sockets(), asked.successor);
        tracing::info!(successor, "handing over");
        match blocking(move || asked.give(&estate, &sockets)).await {
            Ok(connection) => {
                frozen.leave();
                return Ok(connection);
            }
            Err(error) => tracing::warn!(%error, successor, "the successor did not take over; this router goes on"),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// What a router starts from.
struct Start {
    from: From,
    listeners: Vec<TcpListener>,
}

enum From {
    Nobody(Estate),
    Predecessor(Box<Received>),
}

impl Start {
    fn take(options: &Options, mut listeners: Vec<TcpListener>) -> Result<Self, RunError> {
        let dir = &options.state_dir;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed(format!("the state directory {} can't be made", dir.display())))?;
        let mut reason = "it does not answer on handover.sock".to_owned();
        // A predecessor that is just leaving may let go of its lock a moment after its socket.
        for _ in 0..50 {
            if let Some(state_lock) = lock_state(dir)? {
                let estate = new_estate(options, state_lock)?;
                return Ok(Start { from: From::Nobody(estate), listeners });
            }
            match handover::take_over(dir) {
                Ok(Some(mut received)) => {
                    listeners.append(&mut received.listeners);
                    return Ok(Start { from: From::Predecessor(Box::new(received)), listeners });
                }
                Ok(None) => {}
                Err(error) => reason = error.to_string(),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(RunError::Taken { state_dir: dir.clone(), reason })
    }
}

/// The lock of a state directory, if nobody has it.
fn lock_state(dir: &Path) -> Result<Option<File>, RunError> {
    let path = dir.join("lock");
    let unusable = || failed(format!("{} can't be locked", path.display()));
    let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = options.map_err(unusable())?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(unusable()(error)),
    }
}

fn new_estate(options: &Options, state_lock: File) -> Result<Estate, RunError> {
    let path = handover::path(&options.state_dir);
    let unusable = || failed(format!("{} can't be served", path.display()));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable()(error)),
        _ => {}
    }
    let handover = UnixListener::bind(&path).map_err(unusable())?;
    let (admin, admin_lock) = bind_admin(options)?;
    Ok(Estate { admin, admin_path: options.socket.clone(), admin_lock, state_lock, handover })
}

fn bind_admin(options: &Options) -> Result<(UnixListener, File), RunError> {
    let (listener, lock) = server::bind(&options.socket, options.socket_mode)?.into_parts();
    let listener = listener.into_std().map_err(failed(format!("{} can't be served", options.socket.display())))?;
    Ok((listener, lock))
}

/// After a takeover under another socket path that one is bound; the predecessor's ends with it.
fn rebind_admin(estate: Estate, options: &Options) -> Result<Estate, RunError> {
    if estate.admin_path == options.socket {
        return Ok(estate);
    }
    let (admin, admin_lock) = bind_admin(options)?;
    Ok(Estate { admin, admin_lock, admin_path: options.socket.clone(), ..estate })
}

/// The signals that ask a router to stop.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> io::Result<Self> {
        Ok(Stop { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts this program anew with the same arguments; it takes over by itself.
fn start_successor() {
    let mut arguments = std::env::args_os();
    let program = arguments.next();
    // The path of a binary that was replaced reads as `... (deleted)`; the new one lies under the name without that.
    let own = std::env::current_exe().ok().and_then(|path| {
        let text = path.to_str()?;
        Some(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(text)))
    });
    let Some(program) = own.or_else(|| program.map(PathBuf::from)) else { return };
    let mut command = tokio::process::Command::new(&program);
    // What systemd passed to this process is not for the successor, which gets the sockets from here.
    command.args(arguments).env_remove("LISTEN_PID").env_remove("LISTEN_FDS").env_remove("LISTEN_FDNAMES");
    orphan(&mut command);
    match command.spawn() {
        Ok(mut child) => {
            tracing::info!("successor started");
            // What was spawned has ended by now: it was only there to leave the successor to whoever adopts orphans.
            tokio::spawn(async move { child.wait().await });
        }
        Err(error) => tracing::error!(program = %program.display(), %error, "no successor could be started"),
    }
}

/// Makes a command's process a child of systemd, or of whoever else adopts orphans, from its beginning. Systemd waits at a stop for
/// the end of a main process only when it was its child as it became the main one; any other it kills at once, with all
/// that is in flight.
#[expect(unsafe_code, reason = "what runs between fork and exec has no safe interface")]
fn orphan(command: &mut tokio::process::Command) {
    use nix::unistd::{ForkResult, fork};
    // SAFETY: after the fork only fork and _exit are called, which are async-signal-safe and allocate nothing.
    unsafe {
        command.pre_exec(|| match fork()? {
            ForkResult::Parent { .. } => nix::libc::_exit(0),
            ForkResult::Child => Ok(()),
        });
    }
}

/// Each connection needs two descriptors, more than the usual soft limit of 1024 allows.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open descriptors could not be raised");
    }
}
