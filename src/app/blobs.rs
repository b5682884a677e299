//! The stored inputs: rendered desired states and plans, content-addressed, so that a rollout resumes and a rollback works
//! with Git down and history rewritten.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::Epoch;
use crate::domain::plan::Plan;
use crate::ports::journal::{Journal, JournalError};

/// Why a stored input is not there.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The journal's own failure.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It was never stored, or is gone.
    #[error(
        "{digest} was lost with an earlier state: what runs of it is left as it is and can't be started again; push something \
         that shall run instead"
    )]
    Missing {
        /// Which.
        digest: Digest,
    },
    /// It can't be understood.
    #[error("{digest} can't be read: {reason}; was it written by a newer trimtab?")]
    Unreadable {
        /// Which.
        digest: Digest,
        /// Why.
        reason: String,
    },
}

/// How many desired states are kept in memory.
const CACHED: usize = 16_384;

/// What was put or read so recently is not removed: somebody may be about to write down that it is needed.
const GRACE: Duration = Duration::from_secs(600);

/// So many are removed at once: others want to write meanwhile.
const REMOVED_AT_ONCE: usize = 500;

/// The store of inputs, with a cache of desired states.
pub struct Blobs {
    journal: Arc<dyn Journal>,
    desired: Mutex<HashMap<Digest, Arc<DesiredUnit>>>,
    /// When each was put last, since the last [sweep](Blobs::sweep) or for [`GRACE`].
    put: Mutex<HashMap<Digest, Instant>>,
    /// Shared by what puts, held alone by a sweep: between its decision and the removal nothing is put.
    sweeping: tokio::sync::RwLock<()>,
    grace: Duration,
}

impl Blobs {
    /// The inputs stored in a journal.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Blobs {
            journal,
            desired: Mutex::default(),
            put: Mutex::default(),
            sweeping: tokio::sync::RwLock::default(),
            grace: GRACE,
        }
    }

    /// The same with another time for which what was put is safe from a sweep.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Removes all that is not needed and was not put in the last minutes; how many. Whoever puts something and writes down
    /// later that it is needed does so well within that time.
    ///
    /// # Errors
    ///
    /// Those of the journal; what was removed until then is gone.
    pub async fn sweep(&self, epoch: Epoch, needed: &BTreeSet<Digest>) -> Result<u64, BlobError> {
        let _alone = self.sweeping.write().await;
        let all = self.journal.blobs().await?;
        let useless: Vec<Digest> = {
            let mut put = self.put.lock().expect("the map is only changed by total functions");
            put.retain(|_, at| at.elapsed() < self.grace);
            all.into_iter().filter(|digest| !needed.contains(digest) && !put.contains_key(digest)).collect()
        };
        let mut count = 0;
        for some in useless.chunks(REMOVED_AT_ONCE) {
            {
                // Before they go: what is put again must not be taken for stored.
                let mut cache = self.cache();
                some.iter().for_each(|digest| drop(cache.remove(digest)));
            }
            count += self.journal.remove_blobs(epoch, some).await?;
        }
        Ok(count)
    }

    fn note_put(&self, digest: &Digest) {
        self.put.lock().expect("the map is only changed by total functions").insert(digest.clone(), Instant::now());
    }

    /// Stores a desired state; durable when this returns.
    pub async fn put_desired(&self, epoch: Epoch, desired: &Arc<DesiredUnit>) -> Result<Digest, BlobError> {
        let digest = desired.digest();
        self.put_rendered(epoch, &digest, desired).await?;
        Ok(digest)
    }

    /// The same for one whose digest is known.
    pub async fn put_rendered(
        &self,
        epoch: Epoch,
        digest: &Digest,
        desired: &Arc<DesiredUnit>,
    ) -> Result<(), BlobError> {
        let _shared = self.sweeping.read().await;
        self.note_put(digest);
        if !self.cache().contains_key(digest) {
            let bytes = serde_json::to_vec(desired.as_ref()).map_err(|error| unreadable(digest, &error))?;
            self.journal.put_blob(digest, epoch, &bytes).await?;
            self.remember(digest.clone(), desired.clone());
        }
        Ok(())
    }

    /// Keeps at hand what is known to be stored.
    pub fn know(&self, digest: &Digest, desired: &Arc<DesiredUnit>) {
        if !self.cache().contains_key(digest) {
            self.remember(digest.clone(), desired.clone());
        }
    }

    /// A desired state by its rendered digest.
    pub async fn desired(&self, digest: &Digest) -> Result<Arc<DesiredUnit>, BlobError> {
        let known = self.cache().get(digest).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let desired = Arc::new(self.read::<DesiredUnit>(digest).await?);
        self.remember(digest.clone(), desired.clone());
        Ok(desired)
    }

    /// Stores a plan; durable when this returns.
    pub async fn put_plan(&self, epoch: Epoch, plan: &Plan) -> Result<Digest, BlobError> {
        let _shared = self.sweeping.read().await;
        let digest = plan.digest();
        self.note_put(&digest);
        let bytes = serde_json::to_vec(plan).map_err(|error| unreadable(&digest, &error))?;
        self.journal.put_blob(&digest, epoch, &bytes).await?;
        Ok(digest)
    }

    /// A plan by its digest.
    pub async fn plan(&self, digest: &Digest) -> Result<Plan, BlobError> {
        self.read(digest).await
    }

    async fn read<T: DeserializeOwned>(&self, digest: &Digest) -> Result<T, BlobError> {
        let bytes = self.journal.blob(digest).await?.ok_or_else(|| BlobError::Missing { digest: digest.clone() })?;
        serde_json::from_slice(&bytes).map_err(|error| unreadable(digest, &error))
    }

    fn remember(&self, digest: Digest, desired: Arc<DesiredUnit>) {
        let mut cache = self.cache();
        if cache.len() >= CACHED {
            cache.clear();
        }
        cache.insert(digest, desired);
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<DesiredUnit>>> {
        self.desired.lock().expect("the cache is only changed by total functions")
    }
}

fn unreadable(digest: &Digest, error: &serde_json::Error) -> BlobError {
    BlobError::Unreadable { digest: digest.clone(), reason: error.to_string() }
}
