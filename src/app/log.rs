//! A stream of the journal together with the state that it folds to.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::domain::id::Epoch;
use crate::ports::journal::{Journal, JournalError, NewEvent};

/// A state that is a fold over events.
pub trait Fold: Clone + Serialize + DeserializeOwned + Send + Sync {
    /// What happens to it.
    type Event: Serialize + Send + Sync;
    /// The version of the events that this build writes.
    const EVENT_VERSION: u32;
    /// The version of the state as a snapshot. Fields are only added, with defaults; anything else raises it and gives
    /// [`restore`](Self::restore) a body that reads the older ones too, since the events before a snapshot may be gone.
    const STATE_VERSION: u32;

    /// Reads an event of any version so far.
    fn decode(version: u32, event: Value) -> Result<Self::Event, String>;

    /// Reads a snapshot of any version so far.
    fn restore(version: u32, state: Value) -> Result<Self, String> {
        if version != Self::STATE_VERSION {
            return Err(format!("snapshot version {version} is not {}", Self::STATE_VERSION));
        }
        serde_json::from_value(state).map_err(|error| error.to_string())
    }

    /// Takes an event, or refuses it and stays as it was.
    fn take(&mut self, event: &Self::Event, at: Timestamp) -> Result<(), String>;
}

/// Why a stream could not be read or continued.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The journal's own failure.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A snapshot that this build can't understand, and the events that it stands for are gone.
    #[error("{stream}: the snapshot can't be read: {reason}; was it written by a newer trimtab?")]
    Snapshot {
        /// The stream.
        stream: String,
        /// Why.
        reason: String,
    },
    /// An event that the state does not allow. Nothing was written.
    #[error("{stream}: {reason}")]
    Illegal {
        /// The stream.
        stream: String,
        /// Why.
        reason: String,
    },
    /// A record that this build can't understand.
    #[error("{stream}: record {seq} can't be read: {reason}; was it written by a newer trimtab?")]
    Unreadable {
        /// The stream.
        stream: String,
        /// The record.
        seq: u64,
        /// Why.
        reason: String,
    },
}

/// How many events may follow a snapshot before the next one is made.
const SNAPSHOT_EVERY: u64 = 64;

/// A stream and its state. One owner at a time: appends are refused by the journal when somebody else wrote meanwhile.
pub struct Log<S: Fold> {
    journal: Arc<dyn Journal>,
    epoch: Epoch,
    stream: String,
    seq: u64,
    snapshot_seq: u64,
    /// Replaced as a whole with each append: who shows it shares it.
    state: Arc<S>,
}

impl<S: Fold> Log<S> {
    /// Reads a stream from its newest snapshot on.
    pub async fn open(journal: Arc<dyn Journal>, epoch: Epoch, stream: String, initial: S) -> Result<Self, LogError> {
        let mut log = Log { journal, epoch, stream, seq: 0, snapshot_seq: 0, state: Arc::new(initial) };
        let mut unusable = None;
        if let Some((seq, version, state)) = log.journal.snapshot(&log.stream).await? {
            match S::restore(version, state) {
                Ok(state) => (log.state, log.seq, log.snapshot_seq) = (Arc::new(state), seq, seq),
                Err(reason) => unusable = Some(reason),
            }
        }
        let records = match (log.journal.read(&log.stream, log.seq).await, unusable) {
            (Err(JournalError::Removed { stream, .. }), Some(reason)) => {
                return Err(LogError::Snapshot { stream, reason });
            }
            (records, _) => records?,
        };
        for record in records {
            let unreadable = |reason| LogError::Unreadable { stream: log.stream.clone(), seq: record.seq, reason };
            let event = S::decode(record.version, record.event.clone()).map_err(unreadable)?;
            Arc::make_mut(&mut log.state).take(&event, record.at).map_err(unreadable)?;
            log.seq = record.seq;
        }
        Ok(log)
    }

    /// The state as of the last event.
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The same, shared. As long as it is the same pointer nothing was appended.
    pub fn shared(&self) -> Arc<S> {
        self.state.clone()
    }

    /// Appends events, all or none: durable and folded into the state when this returns.
    ///
    /// # Errors
    ///
    /// `Illegal` before anything is written; `Stale` and `Conflict` mean that this process must stop writing here.
    pub async fn append(&mut self, at: Timestamp, events: &[S::Event]) -> Result<(), LogError> {
        if events.is_empty() {
            return Ok(());
        }
        let mut next = S::clone(&self.state);
        let mut new = Vec::with_capacity(events.len());
        for event in events {
            next.take(event, at).map_err(|reason| LogError::Illegal { stream: self.stream.clone(), reason })?;
            let event = serde_json::to_value(event)
                .expect("events serialise to JSON: their maps have text keys and they hold no foreign serialisers");
            new.push(NewEvent { version: S::EVENT_VERSION, event });
        }
        self.seq = self.journal.append(&self.stream, self.seq, self.epoch, at, &new).await?;
        self.state = Arc::new(next);
        if self.seq - self.snapshot_seq >= SNAPSHOT_EVERY {
            self.snapshot().await;
        }
        Ok(())
    }

    /// Makes a snapshot if any event came since the last one, so that the events before it can be removed.
    pub async fn snapshot(&mut self) {
        if self.seq == self.snapshot_seq {
            return;
        }
        let Ok(state) = serde_json::to_value(self.state.as_ref()) else { return };
        // A snapshot only saves time and room: without it the events are folded from further back.
        match self.journal.put_snapshot(&self.stream, self.seq, self.epoch, S::STATE_VERSION, &state).await {
            Ok(()) => self.snapshot_seq = self.seq,
            Err(error) => tracing::warn!(stream = self.stream, %error, "no snapshot was made"),
        }
    }
}
