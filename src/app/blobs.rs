//! The stored inputs: rendered desired states and plans, content-addressed, so that a rollout resumes and a rollback works
//! with Git down and history rewritten.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::Epoch;
use crate::domain::objects::mask::{Values, apart, is_apart, is_clear, together};
use crate::domain::plan::Plan;
use crate::ports::journal::{Journal, JournalError};
use crate::secrets::local::LocalKey;

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
    /// The values of its Secrets can't be kept, or had again.
    #[error(
        "the values of the Secrets of {digest} can't be {what}: {reason}; mend the file, or bring back the one that was there"
    )]
    Values {
        /// Which.
        digest: Digest,
        /// What was tried, as a participle.
        what: &'static str,
        /// Why.
        reason: String,
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

/// How the name of a blob begins that holds the values of another one's Secrets.
const VALUES: &str = "v1";

/// How many desired states are kept in memory.
const CACHED: usize = 16_384;

/// What was put or read so recently is not removed: somebody may be about to write down that it is needed.
const GRACE: Duration = Duration::from_secs(600);

/// So many are removed at once: others want to write meanwhile.
const REMOVED_AT_ONCE: usize = 500;

/// The store of inputs, with a cache of desired states.
pub struct Blobs {
    journal: Arc<dyn Journal>,
    /// What the values of Secrets are encrypted under that stand in clear in the repository.
    key: Arc<LocalKey>,
    desired: Mutex<HashMap<Digest, Arc<DesiredUnit>>>,
    /// When each was put last, since the last [sweep](Blobs::sweep) or for [`GRACE`].
    put: Mutex<HashMap<Digest, Instant>>,
    /// Shared by what puts, held alone by a sweep: between its decision and the removal nothing is put.
    sweeping: tokio::sync::RwLock<()>,
    grace: Duration,
}

impl Blobs {
    /// The inputs stored in a journal; values of Secrets that stand in clear in the repository encrypted under a key.
    pub fn new(journal: Arc<dyn Journal>, key: impl Into<Arc<LocalKey>>) -> Self {
        Blobs {
            journal,
            key: key.into(),
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
            let stays = |digest: &Digest| needed.contains(digest) || put.contains_key(digest);
            all.into_iter().filter(|digest| !stays(&owner(digest))).collect()
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
            match apart(desired) {
                Some((stored, values)) => self.put_apart(epoch, digest, &stored, &values).await?,
                None => self.journal.put_blob(digest, epoch, &written(digest, desired.as_ref())?).await?,
            }
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
        let stored = self.read::<DesiredUnit>(digest).await?;
        if is_apart(&stored) {
            let desired = Arc::new(self.whole(digest, &stored).await?);
            self.remember(digest.clone(), desired.clone());
            return Ok(desired);
        }
        let desired = Arc::new(stored);
        // A former trimtab stored its values in clear: as long as it is not known here, it is stored anew when it is asked for again.
        if !is_clear(&desired) {
            self.remember(digest.clone(), desired.clone());
        }
        Ok(desired)
    }

    /// Stores a state whose Secrets hold values in clear: these encrypted, in a blob of their own that is there first.
    async fn put_apart(
        &self,
        epoch: Epoch,
        digest: &Digest,
        stored: &DesiredUnit,
        values: &Values,
    ) -> Result<(), BlobError> {
        let (key, owner) = (self.key.clone(), digest.clone());
        let plain = Zeroizing::new(written(digest, values)?);
        let sealed = blocking(move || Ok((values_of(&owner, key.id()?), key.seal(owner.as_str(), &plain)?))).await;
        let (beside, sealed) = sealed.map_err(|reason| failed(digest, "kept", reason))?;
        self.journal.put_blob(&beside, epoch, &sealed).await?;
        let bytes = written(digest, stored)?;
        // A former trimtab stored the values in clear.
        if self.journal.blob(digest).await?.is_some_and(|known| known != bytes) {
            self.journal.remove_blobs(epoch, std::slice::from_ref(digest)).await?;
        }
        Ok(self.journal.put_blob(digest, epoch, &bytes).await?)
    }

    /// A stored state with the values of its Secrets.
    async fn whole(&self, digest: &Digest, stored: &DesiredUnit) -> Result<DesiredUnit, BlobError> {
        let failed = |reason: String| failed(digest, "had again", reason);
        let (key, owner) = (self.key.clone(), digest.clone());
        let beside = blocking(move || key.id().map(|id| values_of(&owner, id))).await.map_err(failed)?;
        // Under another key they are as good as lost.
        let sealed = self.journal.blob(&beside).await?.ok_or_else(|| BlobError::Missing { digest: digest.clone() })?;
        let (key, owner) = (self.key.clone(), digest.clone());
        let plain = blocking(move || key.open(owner.as_str(), &sealed)).await.map_err(failed)?;
        let values: Values = serde_json::from_slice(&plain).map_err(|error| unreadable(digest, &error))?;
        together(stored, &values).ok_or_else(|| failed("they are those of something else".to_owned()))
    }

    /// Stores a plan; durable when this returns.
    pub async fn put_plan(&self, epoch: Epoch, plan: &Plan) -> Result<Digest, BlobError> {
        let _shared = self.sweeping.read().await;
        let digest = plan.digest();
        self.note_put(&digest);
        self.journal.put_blob(&digest, epoch, &written(&digest, plan)?).await?;
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

/// What the blob with the values of a state is called.
fn values_of(digest: &Digest, key: &str) -> Digest {
    Digest::from_text(format!("{VALUES}:{key}:{digest}"))
}

/// Which state a blob belongs to.
fn owner(digest: &Digest) -> Digest {
    let of = digest.as_str().strip_prefix(VALUES).and_then(|rest| rest.strip_prefix(':')?.split_once(':'));
    of.map_or_else(|| digest.clone(), |(_, owner)| Digest::from_text(owner))
}

fn written<T: Serialize>(digest: &Digest, value: &T) -> Result<Vec<u8>, BlobError> {
    serde_json::to_vec(value).map_err(|error| unreadable(digest, &error))
}

fn failed(digest: &Digest, what: &'static str, reason: String) -> BlobError {
    BlobError::Values { digest: digest.clone(), what, reason }
}

/// The key may have to be read or made.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|stopped| Err(stopped.to_string()))
}

fn unreadable(digest: &Digest, error: &serde_json::Error) -> BlobError {
    BlobError::Unreadable { digest: digest.clone(), reason: error.to_string() }
}
