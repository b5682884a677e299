//! The only place that names concrete adapters: puts the ports together.

pub mod backup;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::adapters::artifacts::{ArtifactLimits, ArtifactStore};
use crate::adapters::audit::AuditLog;
use crate::adapters::clock::{Machine, SteadyClock};
use crate::adapters::journal::sqlite::SqliteJournal;
use crate::adapters::metrics::Meter;
use crate::adapters::objects::Tools;
use crate::adapters::objects::charts::{Charts, Host};
use crate::adapters::objects::memory::Memory;
use crate::adapters::outgoing::Destinations;
use crate::adapters::platform::host::HostPlatform;
use crate::adapters::secrets::AgeSecrets;
use crate::adapters::source::git::{Auth, GitConfig, GitSource, Token};
use crate::adapters::traffic::router::RouterTraffic;
use crate::api::types::CheckResult;
use crate::app::blobs::Blobs;
use crate::app::check;
use crate::app::config::charts::ChartHost;
#[cfg(feature = "kubernetes")]
use crate::app::config::kubernetes::ClusterSettings;
use crate::app::config::{Config, SourceSettings};
use crate::app::daemon::{self, Ended};
use crate::app::hub::Hub;
use crate::app::platforms::Platforms;
use crate::app::reload::Reloads;
use crate::app::telemetry::Telemetry;
use crate::app::turns::{AT_ONCE, Turns};
use crate::app::world::World;
use crate::domain::id::{Epoch, Name};
use crate::ports::audit::{Audit, AuditError};
use crate::ports::clock::Clock;
use crate::ports::journal::Journal;
use crate::ports::objects::ObjectTools;
use crate::ports::platform::Platform;
use crate::ports::secrets::Secrets;
use crate::ports::source::{RefusedReason, Source};
use crate::ports::traffic::Traffic;
use crate::process::LogLevel;
use crate::secrets::local::LocalKey;
use crate::secrets::{Identities, find};

/// Runs the daemon until it is told to stop or is taken over. `file` is read again when the process gets SIGHUP.
///
/// # Errors
///
/// Something that it can't run without is not there; the message says what and what to do.
pub async fn run_daemon(config: Config, take_over: bool, file: PathBuf, level: LogLevel) -> anyhow::Result<Ended> {
    let world = Arc::new(world(&config, take_over).await?);
    let (ask, asked) = tokio::sync::mpsc::channel(1);
    if let Some(mut hangups) = crate::process::hangups() {
        tokio::spawn(async move { while hangups.recv().await.is_some() && ask.send(()).await.is_ok() {} });
    }
    let reloads = Reloads { file, asked, level: Box::new(move |text| level.set(text)) };
    daemon::run(world, config, crate::process::terminated(), crate::net::notify::ready, Some(reloads)).await
}

/// Runs the daemon by another clock than the machine's until `stop` completes or it is taken over: a week passes in a test.
///
/// # Errors
///
/// As [`run_daemon`].
pub async fn run_daemon_by(
    clock: Arc<dyn Clock>,
    config: Config,
    stop: impl Future<Output = ()> + Send,
) -> anyhow::Result<Ended> {
    let world = World { clock, ..world(&config, false).await? };
    daemon::run(Arc::new(world), config, stop, || {}, None).await
}

async fn world(config: &Config, take_over: bool) -> anyhow::Result<World> {
    std::fs::create_dir_all(&config.state_dir)
        .with_context(|| format!("the state folder {} can't be made", config.state_dir.display()))?;
    let path = config.state_dir.join("journal.db");
    let journal = tokio::task::spawn_blocking(move || SqliteJournal::open(&path, take_over)).await??;
    let journal: Arc<dyn Journal> = Arc::new(journal);
    let holder = format!("{} pid {}", config.installation, std::process::id());
    let platforms = platforms(config);
    let epoch = journal.claim_above(&holder, highest_seen(config, &platforms).await).await?;
    assemble(config, journal, epoch, platforms).await
}

/// The highest epoch that supervisor, clusters and routers have seen. It is above the journal's when that was lost or is an old copy,
/// and they would refuse everything that comes with a lower one. Who does not answer is not waited for: should it have seen a
/// higher one, the daemon stops as stale, and asks again at its next start.
async fn highest_seen(config: &Config, platforms: &Platforms) -> Epoch {
    let traffic = RouterTraffic::new(config.router.sockets.clone(), config.installation.to_string());
    let (platforms, traffic) = tokio::join!(platforms.epoch(), traffic.epoch());
    platforms.max(traffic.unwrap_or_default())
}

async fn assemble(
    config: &Config,
    journal: Arc<dyn Journal>,
    epoch: Epoch,
    platforms: Platforms,
) -> anyhow::Result<World> {
    let source: Arc<dyn Source> = Arc::new(GitSource::open(git_config(config)).await?);
    let installation = config.installation.to_string();
    let traffic: Arc<dyn Traffic> = Arc::new(RouterTraffic::new(config.router.sockets.clone(), installation.clone()));
    let destinations = Destinations::new(&config.outgoing.allow).map_err(anyhow::Error::msg)?;
    let artifacts = ArtifactStore::open(config.state_dir.join("artifacts"), source.clone(), ArtifactLimits::default())?
        .going_to(destinations.clone());
    let (secrets, key) = (secrets(config), local_key(config));
    Ok(World {
        secrets,
        tools: object_tools(config, &key)?,
        installation: config.installation.clone(),
        epoch,
        blobs: Blobs::new(journal.clone(), key),
        journal,
        source,
        platforms,
        audit: Arc::new(AuditLog::open(&config.state_dir)?),
        metrics: Arc::new(Meter::new(traffic.clone(), destinations)),
        traffic,
        artifacts: Arc::new(artifacts),
        clock: Arc::new(SteadyClock::new(Machine::new(config.state_dir.join("clock")))),
        hub: Hub::default(),
        telemetry: Telemetry::default(),
        turns: Turns::new(AT_ONCE),
    })
}

/// This machine and the clusters of the configuration.
fn platforms(config: &Config) -> Platforms {
    let host = HostPlatform::new(config.supervisor.socket.clone(), config.installation.to_string());
    Platforms::new(Arc::new(host), clusters(config))
}

/// The clusters of the configuration. None of them need be there.
#[cfg(feature = "kubernetes")]
fn clusters(config: &Config) -> BTreeMap<Name, Arc<dyn Platform>> {
    use crate::adapters::platform::kubernetes::{Connection, KubernetesPlatform};
    let connect = |(name, settings): (&Name, &ClusterSettings)| {
        let connection = Connection {
            name: name.to_string(),
            kubeconfig: settings.kubeconfig.clone(),
            context: settings.context.clone(),
            allow_exec: settings.allow_exec,
            at_once: settings.connections,
            namespaces: settings.namespaces.iter().map(Name::to_string).collect(),
        };
        let platform: Arc<dyn Platform> =
            Arc::new(KubernetesPlatform::new(connection, config.installation.to_string()));
        (name.clone(), platform)
    };
    config.kubernetes.clusters.iter().map(connect).collect()
}

/// This build knows no clusters, and a configuration with one is refused.
#[cfg(not(feature = "kubernetes"))]
fn clusters(_: &Config) -> BTreeMap<Name, Arc<dyn Platform>> {
    BTreeMap::new()
}

/// What makes objects of kustomizations and charts.
fn object_tools(config: &Config, key: &Arc<LocalKey>) -> anyhow::Result<Arc<dyn ObjectTools>> {
    let destinations = Destinations::new(&config.outgoing.allow).map_err(anyhow::Error::msg)?;
    let host = |(name, host): (&String, &ChartHost)| {
        let ChartHost { user, password_file, ca_file, plain_http } = host.clone();
        (name.clone(), Host { user, password_file, ca_file, plain_http })
    };
    let hosts = config.charts.iter().map(host).collect();
    let charts = Charts::new(config.state_dir.join("charts"), destinations, hosts);
    let places = [("kustomize", &config.tools.kustomize), ("helm", &config.tools.helm)];
    let places = places.into_iter().filter_map(|(name, place)| Some((name, place.clone()?)));
    let memory = Memory::new(config.state_dir.join("made"), key.clone());
    Ok(Arc::new(Tools::new(charts, places.collect()).remembering(memory)))
}

/// What this machine encrypts under what it keeps of values in clear.
fn local_key(config: &Config) -> Arc<LocalKey> {
    Arc::new(LocalKey::new(config.state_dir.join("values.key")))
}

/// The same for verbs that need no daemon: with the programs in PATH, and nobody's credentials. Charts are kept with the user's caches.
pub fn offline_object_tools() -> Arc<dyn ObjectTools> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let folder = cache.unwrap_or_else(std::env::temp_dir).join("trimtab/charts");
    Arc::new(Tools::new(Charts::new(folder, Destinations::default(), BTreeMap::new()), BTreeMap::new()))
}

/// What sends to a collector of traces within such a time, and what it can't do on this machine. To be called outside of a runtime.
///
/// # Errors
///
/// It can't be made.
pub fn collector_client(
    endpoint: &str,
    within: Duration,
) -> Result<(reqwest::blocking::Client, Option<&'static str>), String> {
    crate::adapters::web::blocking(endpoint, within)
}

/// Whether a symbolic link in a folder of a configuration repository may be there.
///
/// # Errors
///
/// It leads out of the repository.
pub fn check_link(folder: &str, target: &[u8]) -> Result<(), RefusedReason> {
    crate::adapters::source::git::check_link(folder, target)
}

/// What reads secrets. An identity that can't be used stops nothing but the apps that need it.
fn secrets(config: &Config) -> Arc<dyn Secrets> {
    let found = find::identities(&config.secrets.identity_files);
    for problem in &found.problems {
        tracing::error!("{problem}; apps with secrets that need it are held");
    }
    Arc::new(AgeSecrets::new(found.identities, found.problems, config.state_dir.join("secrets")))
}

/// What reads secrets for verbs that need no daemon, with the identities at hand.
pub fn offline_secrets(identities: Identities) -> Arc<dyn Secrets> {
    Arc::new(AgeSecrets::offline(identities))
}

/// The audit log of a state folder, for reading: beside a running daemon, or where none runs.
///
/// # Errors
///
/// It is not there or can't be read.
pub fn audit_log(state_dir: &std::path::Path) -> Result<Arc<dyn Audit>, AuditError> {
    Ok(Arc::new(AuditLog::open_to_read(state_dir)?))
}

/// Looks at everything the daemon will depend on, without one: for `trimtab check` before anything runs.
pub async fn check_without_daemon(config: &Config) -> Vec<CheckResult> {
    let installation = config.installation.to_string();
    let git = async {
        let source = GitSource::open(git_config(config)).await?;
        let head = source.fetch().await?;
        Ok::<_, crate::ports::source::SourceError>(format!(
            "{} answers; the head is {}",
            source.describe(),
            head.revision
        ))
    };
    let traffic = RouterTraffic::new(config.router.sockets.clone(), installation.clone());
    let platforms = platforms(config);
    let (git, platform, traffic, clusters) =
        tokio::join!(git, platforms.host().check(), traffic.check(), check::clusters(&platforms));
    let path = config.state_dir.join("journal.db");
    let (state, secrets) = (state(path).await, secrets(config).check().await);
    let mut results = vec![
        check::result("git", git.map(|found| (found, Vec::new()))),
        check::result("supervisor", platform.map(|limitations| ("it answers".into(), limitations))),
        check::result("router", traffic.map(|limitations| ("it answers".into(), limitations))),
        check::result("state", state.map(|found| (found, Vec::new()))),
        check::result("secrets", secrets.map(|found| (found, Vec::new()))),
    ];
    results.extend(clusters);
    match object_tools(config, &local_key(config)) {
        Ok(tools) => results.extend(check::tools(&platforms, tools.as_ref()).await),
        Err(error) => results.push(check::result("tools", Err(error))),
    }
    results
}

async fn state(path: std::path::PathBuf) -> anyhow::Result<String> {
    if !path.exists() {
        return Ok(format!("nothing is remembered yet in {}", path.display()));
    }
    let journal = tokio::task::spawn_blocking(move || SqliteJournal::open(&path, false)).await??;
    let count = journal.verify().await?;
    Ok(format!("{count} records match their checksums"))
}

fn git_config(config: &Config) -> GitConfig {
    let SourceSettings { url, branch, path, timeout, token_file, ca_file, ssh_key, known_hosts, .. } = &config.source;
    let auth = match (token_file, ssh_key) {
        (Some(file), _) => Auth::Token { username: "x-access-token".into(), token: Token::File(file.clone()) },
        (None, Some(key)) => Auth::Ssh {
            key: key.clone(),
            known_hosts: known_hosts.clone().unwrap_or_else(|| config.state_dir.join("known_hosts")),
        },
        (None, None) => Auth::None,
    };
    GitConfig {
        path: path.clone(),
        ca_file: ca_file.clone(),
        auth,
        timeout: timeout.duration(),
        ..GitConfig::new(url.clone(), branch.clone(), config.state_dir.join("mirror.git"))
    }
}
