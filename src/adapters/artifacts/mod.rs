//! Artifacts by content, one folder each.
//!
//! `tree-OID` holds a folder of the configuration repository, `url-SHA256-LAYOUT` what was fetched from elsewhere: the same
//! content under the same name, so that a name that exists is complete and never changes. Everything is made in a scratch
//! folder beside it and renamed into place, on the disk, once its sum is proven; a scratch folder goes when its maker ends,
//! and those of a killed daemon go at the next start.
//!
//! Folders have mode 0755 and files 0644 or 0755: the supervisor, which copies them, may be another user.

mod fetch;
mod layout;
pub(super) mod scratch;
mod unpack;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;

use crate::adapters::outgoing::Destinations;
use crate::adapters::web::Web;
use crate::domain::workload::ArtifactRef;
use crate::ports::artifacts::{ArtifactError, Artifacts};
use crate::ports::source::{Source, SourceError};

use layout::{Layout, Remote};
use scratch::Scratch;

/// What an artifact may use. What is beyond is refused and removed.
#[derive(Clone, Copy, Debug)]
pub struct ArtifactLimits {
    /// Bytes that are fetched.
    pub download: u64,
    /// Bytes of all files after unpacking.
    pub unpacked: u64,
    /// Files, folders and links in an archive.
    pub entries: u64,
}

impl Default for ArtifactLimits {
    /// 1 GiB fetched, 4 GiB and 200,000 entries unpacked.
    fn default() -> Self {
        ArtifactLimits { download: 1 << 30, unpacked: 4 << 30, entries: 200_000 }
    }
}

/// The artifacts below one folder.
pub struct ArtifactStore {
    root: PathBuf,
    source: Arc<dyn Source>,
    http: Web,
    destinations: Destinations,
    limits: ArtifactLimits,
    /// Who works on which folder now: the others wait and find it done.
    flights: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl ArtifactStore {
    /// The store in a folder, which is made where it is missing. Trees come from `source`.
    ///
    /// # Errors
    ///
    /// [`ArtifactError::Unreachable`] when the folder can't be made or written.
    pub fn open(
        root: impl Into<PathBuf>,
        source: Arc<dyn Source>,
        limits: ArtifactLimits,
    ) -> Result<Self, ArtifactError> {
        let root = root.into();
        let failed = |reason: String| ArtifactError::Unreachable { artifact: root.display().to_string(), reason };
        fs::create_dir_all(&root).map_err(|error| failed(error.to_string()))?;
        scratch::make_readable(&root).map_err(|error| failed(error.to_string()))?;
        scratch::remove_abandoned(&root).map_err(|error| failed(error.to_string()))?;
        let destinations = Destinations::default();
        let http = fetch::client(&destinations);
        Ok(ArtifactStore { root, source, http, destinations, limits, flights: Mutex::default() })
    }

    /// The same store, whose requests go only where `destinations` lets them.
    #[must_use]
    pub fn going_to(mut self, destinations: Destinations) -> Self {
        self.http = fetch::client(&destinations);
        self.destinations = destinations;
        self
    }

    async fn ensure_tree(&self, artifact: &ArtifactRef, oid: &str, folder: &Path) -> Result<(), ArtifactError> {
        self.source.export_tree(oid, folder).await.map_err(|error| {
            let (artifact, reason) = (layout::name(artifact), error.to_string());
            match error {
                SourceError::Refused(_) | SourceError::TooLarge { .. } | SourceError::BadName { .. } => {
                    ArtifactError::Unusable { artifact, reason }
                }
                _ => ArtifactError::Unreachable { artifact, reason },
            }
        })
    }

    async fn ensure_url(&self, remote: Remote, folder: &Path) -> Result<(), ArtifactError> {
        let failed =
            |error: io::Error| ArtifactError::Unreachable { artifact: remote.name(), reason: error.to_string() };
        let scratch = Scratch::new(&self.root).map_err(failed)?;
        let download = scratch.path().join("download");
        let sum = fetch::to_file(&self.http, &self.destinations, &remote, &download, self.limits.download).await?;
        if sum != remote.sha256 {
            return Err(ArtifactError::Mismatch { url: remote.name(), expected: remote.sha256, found: sum });
        }
        let (limits, folder) = (self.limits, folder.to_owned());
        // The scratch folder moves along: it goes when the work is done, also when nobody waits for it any more.
        let work = tokio::task::spawn_blocking(move || put_in_place(&scratch, &download, &remote, &limits, &folder));
        work.await
            .map_err(|error| ArtifactError::Unreachable { artifact: "unpacking".into(), reason: error.to_string() })?
    }

    fn flight(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        if let Some(flight) = flights.get(name).and_then(Weak::upgrade) {
            return flight;
        }
        let flight = Arc::default();
        flights.insert(name.to_owned(), Arc::downgrade(&flight));
        flight
    }
}

/// Unpacks (or names) what was fetched and renames the complete folder into place.
fn put_in_place(
    scratch: &Scratch,
    download: &Path,
    remote: &Remote,
    limits: &ArtifactLimits,
    folder: &Path,
) -> Result<(), ArtifactError> {
    let failed = |error: io::Error| ArtifactError::Unreachable { artifact: remote.name(), reason: error.to_string() };
    let unusable = |reason: String| ArtifactError::Unusable { artifact: remote.name(), reason };
    let files = scratch.path().join("files");
    fs::create_dir(&files).map_err(failed)?;
    scratch::make_readable(&files).map_err(failed)?;
    match &remote.layout {
        Layout::Executable(name) => {
            let place = files.join(name);
            fs::rename(download, &place).map_err(failed)?;
            scratch::make_readable(&place).map_err(failed)?;
        }
        Layout::Tar => {
            let archive = fs::File::open(download).map_err(failed)?;
            unpack::tar(io::BufReader::new(archive), &files, limits).map_err(|error| error.told(unusable, failed))?;
        }
        Layout::TarGz => {
            let archive = fs::File::open(download).map_err(failed)?;
            let plain = flate2::read::MultiGzDecoder::new(io::BufReader::new(archive));
            unpack::tar(plain, &files, limits).map_err(|error| error.told(unusable, failed))?;
        }
    }
    // Its name shall stand for all of its content after a power cut as well.
    scratch::sync(&files).map_err(failed)?;
    fs::rename(&files, folder).map_err(failed)?;
    folder.parent().map_or(Ok(()), scratch::sync).map_err(failed)
}

#[async_trait]
impl Artifacts for ArtifactStore {
    async fn ensure(&self, artifact: &ArtifactRef) -> Result<PathBuf, ArtifactError> {
        let name = layout::folder(artifact)?;
        let folder = self.root.join(&name);
        let flight = self.flight(&name);
        let _flying = flight.lock().await;
        if folder.is_dir() {
            return Ok(folder);
        }
        match artifact {
            ArtifactRef::Tree { oid } => self.ensure_tree(artifact, oid, &folder).await?,
            ArtifactRef::Url { url, sha256 } => self.ensure_url(Remote::parse(url, sha256)?, &folder).await?,
        }
        Ok(folder)
    }

    async fn keep_only(&self, in_use: &[ArtifactRef]) -> Result<(), ArtifactError> {
        let failed = |error: io::Error| ArtifactError::Unreachable {
            artifact: self.root.display().to_string(),
            reason: error.to_string(),
        };
        let kept: BTreeSet<String> = in_use.iter().filter_map(|artifact| layout::folder(artifact).ok()).collect();
        for entry in fs::read_dir(&self.root).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(name) = name.to_str().filter(|name| layout::is_folder(name) && !kept.contains(*name)) else {
                continue;
            };
            let flight = self.flight(name);
            let _flying = flight.lock().await;
            // Gone at once for whoever looks; what takes long happens out of sight.
            let scratch = Scratch::new(&self.root).map_err(failed)?;
            fs::rename(self.root.join(name), scratch.path().join("gone")).map_err(failed)?;
            tokio::task::spawn_blocking(move || drop(scratch))
                .await
                .map_err(|error| failed(io::Error::other(error)))?;
        }
        Ok(())
    }
}
