//! The journal: what happened, in order, for good.

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::domain::{digest::Digest, id::Epoch};

/// Why the journal did not take or give something.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another holder has claimed a higher epoch: this one must stop at once.
    #[error("epoch {mine} is stale: another daemon holds {current}; this one stops")]
    Stale {
        /// The epoch of the request.
        mine: Epoch,
        /// The epoch in force.
        current: Epoch,
    },
    /// Somebody else appended to the stream meanwhile.
    #[error("stream {stream} is at {actual}, not at {expected}: read it again")]
    Conflict {
        /// The stream.
        stream: String,
        /// What the writer believed.
        expected: u64,
        /// What is so.
        actual: u64,
    },
    /// A record does not match its checksum.
    #[error(
        "{path} is damaged: record {seq} of stream {stream} does not match its checksum; writes are refused; restore a backup"
    )]
    Damaged {
        /// The file.
        path: String,
        /// The stream.
        stream: String,
        /// The record.
        seq: u64,
    },
    /// Something other than a record is not as it was written.
    #[error("{path} is damaged: {what}; writes are refused; restore a backup")]
    Corrupt {
        /// The file.
        path: String,
        /// What.
        what: String,
    },
    /// The file was written by a newer version.
    #[error(
        "{path} was written by a newer trimtab (schema {found}, this one knows up to {known}): install that version or a later one"
    )]
    Newer {
        /// The file.
        path: String,
        /// Its schema.
        found: u32,
        /// What this build knows.
        known: u32,
    },
    /// Events that were asked for were removed, since a snapshot stands for them.
    #[error("the first {first} events of stream {stream} were removed; a snapshot stands for them: read from there")]
    Removed {
        /// The stream.
        stream: String,
        /// How many.
        first: u64,
    },
    /// Another daemon has it open.
    #[error("another daemon uses {path}: stop it, or take over with --take-over")]
    Held {
        /// The file.
        path: String,
    },
    /// The store failed (disk full, I/O error).
    #[error("{path}: {reason}")]
    Failed {
        /// The file.
        path: String,
        /// The system's word.
        reason: String,
    },
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its number within the stream, from 1, without gaps.
    pub seq: u64,
    /// Its number over all streams: the order of everything.
    pub global: u64,
    /// The epoch of the holder that wrote it.
    pub epoch: Epoch,
    /// When it was written, by the writer's clock.
    pub at: Timestamp,
    /// The version of the event's form.
    pub version: u32,
    /// The event.
    pub event: Value,
}

/// An event to append.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// The version of the event's form.
    pub version: u32,
    /// The event.
    pub event: Value,
}

/// The store of events and blobs, and the only authority for epochs.
///
/// **Guarantees.** `append` is all or nothing and durable (synced) before it returns; it is refused when the stream is not at
/// `expected`, or when a higher epoch than the holder's was claimed. Records are checksummed and are never changed. They are only
/// removed where a sound snapshot stands for them.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Claims the next epoch: every later append by a lower one is refused.
    async fn claim(&self, holder: &str) -> Result<Epoch, JournalError>;

    /// [Claims](Journal::claim) an epoch above one that was seen elsewhere: a router or supervisor may have seen a higher one
    /// than the store when the store was lost or restored from a backup, and would refuse everything.
    async fn claim_above(&self, holder: &str, seen: Epoch) -> Result<Epoch, JournalError> {
        loop {
            let epoch = self.claim(holder).await?;
            if epoch > seen {
                return Ok(epoch);
            }
        }
    }

    /// Appends events to a stream that has `expected` events now; returns how many it has then.
    async fn append(
        &self,
        stream: &str,
        expected: u64,
        epoch: Epoch,
        at: Timestamp,
        events: &[NewEvent],
    ) -> Result<u64, JournalError>;

    /// The events of a stream after a number, in order; [`JournalError::Removed`] where some of them are gone.
    async fn read(&self, stream: &str, after: u64) -> Result<Vec<Record>, JournalError>;

    /// The names of the streams that begin with a prefix, with how many events each has.
    async fn streams(&self, prefix: &str) -> Result<BTreeMap<String, u64>, JournalError>;

    /// The events of all streams after a global number, at most `limit`, with their streams. Up to [`Journal::removed`] some
    /// may be missing.
    async fn since(&self, global: u64, limit: usize) -> Result<Vec<(String, Record)>, JournalError>;

    /// The events of all streams before a global number, the newest first, at most `limit`, with their streams.
    async fn before(&self, global: u64, limit: usize) -> Result<Vec<(String, Record)>, JournalError>;

    /// Stores a state folded from a stream's first `seq` events, so that the fold need not begin at the first one. Only the newest is kept.
    async fn put_snapshot(
        &self,
        stream: &str,
        seq: u64,
        epoch: Epoch,
        version: u32,
        state: &Value,
    ) -> Result<(), JournalError>;

    /// The newest snapshot of a stream: seq, version, state.
    async fn snapshot(&self, stream: &str) -> Result<Option<(u64, u32, Value)>, JournalError>;

    /// Stores a blob under its digest; storing it again is harmless.
    async fn put_blob(&self, digest: &Digest, epoch: Epoch, bytes: &[u8]) -> Result<(), JournalError>;

    /// Removes events of before an instant, and those before the newest `keep`, as far as snapshots stand for them; how many. It may
    /// leave some to be removed by the next call: 0 says that it is done.
    async fn remove_records(&self, epoch: Epoch, keep: u64, since: Timestamp) -> Result<u64, JournalError>;

    /// The highest global number among the removed events: up to it some are missing, after it none. Who follows the events
    /// from an earlier one must read everything again.
    async fn removed(&self) -> Result<u64, JournalError>;

    /// The digests of all blobs.
    async fn blobs(&self) -> Result<Vec<Digest>, JournalError>;

    /// Removes blobs; how many were there.
    async fn remove_blobs(&self, epoch: Epoch, digests: &[Digest]) -> Result<u64, JournalError>;

    /// A blob by its digest.
    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, JournalError>;

    /// Reads everything and compares checksums; the number of records seen.
    async fn verify(&self) -> Result<u64, JournalError>;

    /// Why it will soon not be possible to store anything more, and what to do; `None`: there is room. Cheap.
    fn short_of_room(&self) -> Option<String> {
        None
    }
}
