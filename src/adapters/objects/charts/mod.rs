//! Charts of elsewhere: fetched once in one exact version, proven by their digest, kept by content.
//!
//! ```text
//! charts/SHA256.tgz   a packed chart
//! charts/REF.json     which of them a reference means: as it was found first, for good
//! ```
//!
//! What was fetched goes on being used whatever becomes of the repository. Where credentials and authorities are needed the operator's
//! configuration names them by host; nothing of that comes from Git.

mod oci;
mod packed;
mod repository;
mod transport;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::room::make_room;
use crate::adapters::outgoing::Destinations;
use crate::domain::objects::chart::{ChartPlace, RemoteChart};
use crate::ports::objects::ToolError;
pub use transport::Host;
use transport::Transport;

/// The largest packed chart, in bytes.
const MAX_PACKED: usize = 16 << 20;
/// How many packed charts are kept; beyond, those that were fetched first go.
const KEPT: usize = 500;
/// What could not be had is not asked for again before that, the first time.
const PAUSE: Duration = Duration::from_secs(5);
/// Twice as long each further time, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A failure that nobody came back to is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

/// Fetches and keeps charts.
pub struct Charts {
    folder: PathBuf,
    transport: Transport,
    failures: Mutex<HashMap<RemoteChart, Failure>>,
}

/// What could not be had.
struct Failure {
    /// When that was tried last.
    at: Instant,
    /// How often it was.
    times: u32,
    /// Why.
    error: ToolError,
}

/// Which chart a reference means.
#[derive(Serialize, Deserialize)]
struct Reference {
    version: u32,
    sha256: String,
}

impl Charts {
    /// Keeps charts in a folder, which is made when it is needed. `hosts` says how some hosts are reached, by `HOST` or `HOST:PORT`.
    pub fn new(folder: PathBuf, destinations: Destinations, hosts: BTreeMap<String, Host>) -> Self {
        Charts { folder, transport: Transport::new(destinations, hosts), failures: Mutex::default() }
    }

    /// The files of a chart, by their paths within it.
    ///
    /// # Errors
    ///
    /// It can't be fetched, or not be used.
    pub async fn files(&self, chart: &RemoteChart) -> Result<Vec<(String, Vec<u8>)>, ToolError> {
        if let Some(packed) = self.kept(chart) {
            return unpack(chart, packed).await.map(|(files, _)| files);
        }
        if let Some(error) = self.failed_before(chart) {
            return Err(error);
        }
        let packed = match self.fetch(chart).await {
            Ok(packed) => packed,
            Err(error) => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                let times = failures.get(chart).map_or(1, |failure| failure.times.saturating_add(1));
                failures.insert(chart.clone(), Failure { at: Instant::now(), times, error: error.clone() });
                return Err(error);
            }
        };
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(chart);
        // What can't be used is not kept.
        let (files, packed) = unpack(chart, packed).await?;
        self.keep(chart, &packed)
            .map_err(|error| failed(chart, format!("it can't be kept in {}: {error}", self.folder.display())))?;
        Ok(files)
    }

    /// What went wrong a moment ago: a repository is not asked again and again.
    fn failed_before(&self, chart: &RemoteChart) -> Option<ToolError> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.retain(|_, failure| failure.at.elapsed() < FORGOTTEN);
        let failure = failures.get(chart).filter(|failure| failure.at.elapsed() < pause(failure.times))?;
        Some(failure.error.clone())
    }

    /// A chart that was fetched before.
    fn kept(&self, chart: &RemoteChart) -> Option<Vec<u8>> {
        let bytes = fs::read(self.folder.join(reference(chart))).ok()?;
        let known: Reference = serde_json::from_slice(&bytes).ok().filter(|known: &Reference| known.version == 1)?;
        let packed = read_at_most(&self.folder.join(packed_name(&known.sha256)?)).ok()?;
        // What a disk made of it is not what was fetched.
        (sum(&packed) == known.sha256).then_some(packed)
    }

    async fn fetch(&self, chart: &RemoteChart) -> Result<Vec<u8>, ToolError> {
        let fetched = match &chart.place {
            ChartPlace::Repository { url, name } => repository::fetch(&self.transport, url, name, chart).await,
            ChartPlace::Oci { host, path } => oci::fetch(&self.transport, host, path, chart).await,
        };
        let packed = fetched.map_err(|reason| failed(chart, reason))?;
        let sha256 = sum(&packed);
        if let (Some(wanted), ChartPlace::Repository { .. }) = (&chart.digest, &chart.place)
            && *wanted != sha256
        {
            return Err(unusable(chart, format!("its digest is sha256:{sha256}, and sha256:{wanted} is asked for")));
        }
        Ok(packed)
    }

    fn keep(&self, chart: &RemoteChart, packed: &[u8]) -> io::Result<()> {
        let sha256 = sum(packed);
        fs::create_dir_all(&self.folder)?;
        // A chart is two files; what still needs one that went is fetched again.
        make_room(&self.folder, 2 * KEPT)?;
        write(&self.folder, &format!("{sha256}.tgz"), packed)?;
        let known = serde_json::to_vec(&Reference { version: 1, sha256 })?;
        write(&self.folder, &reference(chart), &known)
    }
}

/// The files of a packed chart, and that itself.
async fn unpack(chart: &RemoteChart, packed: Vec<u8>) -> Result<(Vec<(String, Vec<u8>)>, Vec<u8>), ToolError> {
    let work = tokio::task::spawn_blocking(move || packed::unpack(&packed).map(|files| (files, packed)));
    let done = work.await.map_err(|error| unusable(chart, error.to_string()))?;
    done.map_err(|reason| unusable(chart, reason))
}

/// The name of the file that says which chart a reference means.
fn reference(chart: &RemoteChart) -> String {
    format!("{}.json", hex::encode(Sha256::digest(chart.to_string().as_bytes())))
}

/// The name of a packed chart; none for what is no sum.
fn packed_name(sha256: &str) -> Option<String> {
    let fine = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
    fine.then(|| format!("{sha256}.tgz"))
}

fn sum(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn read_at_most(path: &Path) -> io::Result<Vec<u8>> {
    match fs::metadata(path)?.len() {
        length if length > MAX_PACKED as u64 => Err(io::Error::other("it is too large")),
        _ => fs::read(path),
    }
}

/// Writes a file that is whole as soon as it has its name.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let scratch = folder.join(format!("{name}.{}", uuid::Uuid::now_v7()));
    let written = fs::write(&scratch, bytes).and_then(|()| fs::rename(&scratch, folder.join(name)));
    if written.is_err() {
        let _ = fs::remove_file(&scratch);
    }
    written
}

/// A text from outside, safe to show.
fn shown(text: &str) -> String {
    text.chars().take(100).collect::<String>().escape_debug().to_string()
}

/// How long nothing is asked for again that could not be had so often.
fn pause(times: u32) -> Duration {
    PAUSE.saturating_mul(1 << times.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
}

fn failed(chart: &RemoteChart, reason: String) -> ToolError {
    ToolError::Fetch { chart: chart.to_string(), reason }
}

fn unusable(chart: &RemoteChart, reason: String) -> ToolError {
    ToolError::Chart { chart: chart.to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_that_is_away_is_asked_less_and_less() {
        let seconds = [1, 2, 3, 4, 5, 6, u32::MAX].map(|times| pause(times).as_secs());
        assert_eq!(seconds, [5, 10, 20, 40, 60, 60, 60]);
    }

    #[test]
    fn charts_that_come_at_the_same_time_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let destinations = Destinations::new(&[]).unwrap();
        let charts = Charts::new(dir.path().join("charts"), destinations, BTreeMap::new());
        let chart = |thread: usize, number: usize| RemoteChart {
            place: ChartPlace::Oci { host: "registry".into(), path: "web".into() },
            version: Some(format!("{thread}.{number}.0")),
            digest: None,
        };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let charts = &charts;
                scope.spawn(move || {
                    for number in 0..100 {
                        let packed = format!("{thread} {number}");
                        charts.keep(&chart(thread, number), packed.as_bytes()).unwrap();
                    }
                });
            }
        });
        assert_eq!(charts.kept(&chart(3, 99)), Some(b"3 99".to_vec()));
    }
}
