//! Putting the demo up, and taking it down with everything that it started.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use http::Method;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::error::DemoError;
use super::layout::Layout;
use super::processes::{Part, Processes};
use super::repository::{Repository, Unit};
use super::traffic::Traffic;
use crate::api::client::Api;
use crate::api::types::UnitHealth;
use crate::net::client::{Client, segment};
use crate::protocol::Hello;
use crate::protocol::supervisor::GroupList;

/// From one look at a condition to the next.
const LOOK: Duration = Duration::from_millis(10);
/// How long the apps may take to leave when the demo ends.
const LEAVING: Duration = Duration::from_secs(15);

/// What the demo shall be like.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where; a new temporary folder where none is named.
    pub dir: Option<PathBuf>,
    /// Leave the folder there in the end.
    pub keep: bool,
    /// The port of the first listener; any free one where none is named.
    pub port: Option<u16>,
}

/// A demo that is being put up or runs.
#[derive(Debug)]
pub struct Demo {
    /// Its folder.
    pub layout: Layout,
    /// Its processes.
    pub processes: Processes,
    /// When it began.
    pub begun: Instant,
    /// The same by the wall clock, which the daemon's times are compared with.
    pub began: Timestamp,
    /// What became of the requests, where it sends any by itself.
    pub traffic: Traffic,
    options: Options,
    said: mpsc::UnboundedReceiver<String>,
}

impl Demo {
    /// Makes the folder. Whatever happens afterwards, [`Demo::down`] must follow.
    pub fn create(options: Options) -> Result<Self, DemoError> {
        let (begun, began) = (Instant::now(), crate::clock::now());
        let binary = std::env::current_exe().map_err(|source| DemoError::Start { name: "demo", source })?;
        let layout = Layout::create(options.dir.as_deref())?;
        let (tell, said) = mpsc::unbounded_channel();
        let processes = Processes::new(&layout, binary, tell);
        Ok(Demo { layout, processes, begun, began, traffic: Traffic::default(), options, said })
    }

    /// Starts supervisor and router, makes the repositories meanwhile, then starts the daemon.
    pub async fn up(&mut self) -> Result<Repository, DemoError> {
        self.layout.write_config()?;
        self.processes.start(Part::Supervisor)?;
        self.processes.start(Part::Router)?;
        let binary = std::env::current_exe().map_err(|source| DemoError::Start { name: "demo", source })?;
        let repository = Repository::create(&self.layout, &binary, self.options.port).await?;
        for part in [Part::Supervisor, Part::Router] {
            let client = Client::new(self.layout.socket(part.name()));
            let log = self.log(part);
            wait(&format!("an answer of the {} (its log: {log})", part.name()), 20, async || {
                client.get::<Hello>("/v1/hello").await.map_err(|error| error.to_string())
            })
            .await?;
        }
        self.processes.start(Part::Daemon)?;
        Ok(repository)
    }

    /// A client of the daemon.
    pub fn api(&self) -> Api {
        Api::new(&self.layout.socket(Part::Daemon.name()))
    }

    /// Waits until a unit answers, and says how long that took from the very beginning.
    pub async fn first_answer(&self, unit: &Unit) -> Result<Duration, DemoError> {
        let Some(route) = &unit.desired.route else { return Ok(Duration::ZERO) };
        let (id, host, api) = (&unit.desired.unit, host(unit), self.api());
        let what = format!("the first answer of {id}");
        let answered = wait(&what, 60, async || {
            let seen = match super::http::get(route.listen, &host, &route.path).await {
                Ok(answer) if answer.status == 200 => return Ok(Ok(self.begun.elapsed())),
                Ok(answer) => format!("{}: {}", answer.status, answer.body.trim_end()),
                Err(reason) => reason,
            };
            match api.unit(id).await {
                Ok(status) if status.health == UnitHealth::Stuck => Ok(Err(status.message)),
                Ok(status) => Err(status.message),
                Err(error) => Err(format!("{seen}; {error}")),
            }
        });
        let logs = self.layout.logs().display().to_string();
        answered.await?.map_err(|reason| DemoError::Stuck { unit: id.to_string(), reason, logs })
    }

    /// What happened to the processes since it was asked last; waits until something does.
    pub async fn said(&mut self) -> Option<String> {
        self.said.recv().await
    }

    fn log(&self, part: Part) -> String {
        self.layout.logs().join(format!("{}.log", part.name())).display().to_string()
    }

    /// Ends the daemon, then the apps, then what ran them, and removes the folder. Returns what is left, if anything.
    pub async fn down(mut self, keep: bool) -> Result<Option<PathBuf>, DemoError> {
        self.processes.stop(Part::Daemon).await;
        let retired = retire(&Client::new(self.layout.socket(Part::Supervisor.name()))).await;
        self.processes.stop(Part::Router).await;
        self.processes.stop(Part::Supervisor).await;
        if self.options.keep || keep {
            return retired.map(|()| Some(self.layout.root().to_owned()));
        }
        self.layout.remove()?;
        retired.map(|()| None)
    }
}

/// Retires all groups and waits until the last instance is gone.
async fn retire(supervisor: &Client) -> Result<(), DemoError> {
    // It was never started, or can't be: then it has nothing to stop either.
    let Ok(hello) = supervisor.get::<Hello>("/v1/hello").await else { return Ok(()) };
    wait("the end of all apps", LEAVING.as_secs(), async || {
        let list: GroupList = supervisor.get("/v1/groups").await.map_err(|error| error.to_string())?;
        for group in list.groups.iter().filter(|group| !group.retiring) {
            let path = format!("/v1/groups/{}?epoch={}", segment(&group.key), hello.epoch);
            supervisor.bytes(Method::DELETE, &path, None::<&()>).await.map_err(|error| error.to_string())?;
        }
        match list.groups.len() {
            0 => Ok(()),
            left => Err(format!("{left} groups are left")),
        }
    })
    .await
}

/// The Host that a unit answers to.
pub fn host(unit: &Unit) -> String {
    unit.desired.route.as_ref().and_then(|route| route.host.clone()).unwrap_or_else(|| "localhost".into())
}

/// Looks until a condition holds; after the limit, with what was seen last.
pub async fn wait<T>(
    what: &str,
    seconds: u64,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, DemoError> {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(seen) if begun.elapsed() > Duration::from_secs(seconds) => {
                return Err(DemoError::Waited { what: what.to_owned(), seconds, seen });
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// Completes when somebody asks the demo to end.
pub async fn interrupted() -> Result<(), DemoError> {
    let listen = |kind| signal(kind).map_err(|source| DemoError::Start { name: "demo", source });
    let (mut int, mut term) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}
