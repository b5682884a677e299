//! The checksums of what is stored. Their form is part of the schema: it changes only with a migration.

use sha2::{Digest, Sha256};

/// A SHA-256 over fields, each led by its length, so that no two lists of fields give the same bytes.
pub(super) struct Checksum(Sha256);

impl Checksum {
    fn of(kind: &str) -> Self {
        Checksum(Sha256::new()).field(kind.as_bytes())
    }

    fn field(mut self, bytes: &[u8]) -> Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    fn number(self, number: u64) -> Self {
        self.field(&number.to_le_bytes())
    }

    fn finish(self) -> Vec<u8> {
        self.0.finalize().to_vec()
    }
}

/// The parts of a record that its checksum covers: all of it.
pub(super) struct RecordParts<'a> {
    /// The name of the stream.
    pub stream: &'a str,
    /// The number within the stream.
    pub seq: u64,
    /// The number over all streams.
    pub global: u64,
    /// The writer's epoch.
    pub epoch: u64,
    /// The time as stored.
    pub at: &'a [u8],
    /// The version of the event's form.
    pub version: u32,
    /// The event's text.
    pub event: &'a [u8],
}

/// The checksum of a record.
pub(super) fn record(parts: &RecordParts<'_>) -> Vec<u8> {
    Checksum::of("record/1")
        .field(parts.stream.as_bytes())
        .number(parts.seq)
        .number(parts.global)
        .number(parts.epoch)
        .field(parts.at)
        .number(parts.version.into())
        .field(parts.event)
        .finish()
}

/// The checksum of a snapshot.
pub(super) fn snapshot(stream: &str, seq: u64, version: u32, state: &[u8]) -> Vec<u8> {
    Checksum::of("snapshot/1").field(stream.as_bytes()).number(seq).number(version.into()).field(state).finish()
}

/// The checksum of a blob.
pub(super) fn blob(digest: &str, bytes: &[u8]) -> Vec<u8> {
    Checksum::of("blob/1").field(digest.as_bytes()).field(bytes).finish()
}
