//! The audit log: who did what, when, and what came of it. Each record carries the hash of itself and of the one before, so
//! that one that was changed, removed or moved shows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The hash that the first record follows.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Who: a user of this machine (`alice`), a token (`token ci`), a commit's author (`git Alice <alice@example.org>`),
    /// the daemon itself (`trimtab`).
    pub actor: String,
    /// What: `POST /api/v1/reconcile`, `commit`, `rollback`.
    pub action: String,
    /// To what: a path, a commit, a unit.
    pub subject: String,
    /// What was asked for, as JSON text; empty where there is nothing more to say.
    pub detail: String,
    /// `asked` before it is done; then `done`, or why not.
    pub outcome: String,
    /// The record of the asking that this is the outcome of.
    pub of: Option<u64>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was written; for what the daemon did by itself, when it happened.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
    /// The hash of the record before and of everything in this one, in hexadecimal.
    pub hash: String,
}

/// The end of a chain: what the next record follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The number of the last record; 0: there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Head { seq: 0, hash: GENESIS.into() }
    }
}

/// Where a chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Records are not there.
    #[error("the audit log lacks records {from} to {to}: they were removed")]
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// A record is not what it was, or is not where it was.
    #[error("record {seq} of the audit log was changed or moved: its hash does not match")]
    Changed {
        /// Which.
        seq: u64,
    },
    /// The last records are not there.
    #[error("the audit log ends with record {found}, but record {seq} was written: the last ones were removed")]
    Truncated {
        /// The last that is there.
        found: u64,
        /// The last that was written.
        seq: u64,
    },
}

impl Head {
    /// The record that follows, with its hash.
    pub fn next(&self, at: Timestamp, entry: Entry) -> AuditRecord {
        let seq = self.seq + 1;
        let hash = hash(&self.hash, seq, &at.to_string(), &entry);
        AuditRecord { seq, at, entry, hash }
    }

    /// Takes a record as the one that follows.
    ///
    /// # Errors
    ///
    /// It does not follow.
    pub fn take(&mut self, record: &AuditRecord) -> Result<(), Broken> {
        if record.seq > self.seq + 1 {
            return Err(Broken::Missing { from: self.seq + 1, to: record.seq - 1 });
        }
        let expected = hash(&self.hash, record.seq, &record.at.to_string(), &record.entry);
        if record.seq != self.seq + 1 || expected != record.hash {
            return Err(Broken::Changed { seq: record.seq });
        }
        *self = Head { seq: record.seq, hash: record.hash.clone() };
        Ok(())
    }
}

/// A SHA-256 over all parts, each led by its length.
fn hash(before: &str, seq: u64, at: &str, entry: &Entry) -> String {
    let seq = seq.to_string();
    let of = entry.of.map(|of| of.to_string()).unwrap_or_default();
    let Entry { actor, action, subject, detail, outcome, .. } = entry;
    let parts: [&str; 10] = ["audit/1", before, &seq, at, actor, action, subject, detail, outcome, &of];
    let mut sum = Sha256::new();
    for part in parts {
        sum.update((part.len() as u64).to_le_bytes());
        sum.update(part.as_bytes());
    }
    hex::encode(sum.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: i64) -> Vec<AuditRecord> {
        let mut head = Head::default();
        let mut records = Vec::new();
        for number in 0..length {
            let entry = Entry {
                actor: "alice".into(),
                action: "commit".into(),
                subject: format!("{number}"),
                detail: String::new(),
                outcome: "done".into(),
                of: None,
            };
            let record = head.next(Timestamp::from_second(number).unwrap(), entry);
            head.take(&record).unwrap();
            records.push(record);
        }
        records
    }

    fn check(records: &[AuditRecord]) -> Result<(), Broken> {
        let mut head = Head::default();
        records.iter().try_for_each(|record| head.take(record))
    }

    #[test]
    fn whatever_is_changed_removed_or_moved_shows() {
        let good = chain(5);
        assert_eq!(check(&good), Ok(()));
        let edits: [fn(&mut AuditRecord); 7] = [
            |record| record.entry.actor = "bob".into(),
            |record| record.entry.action.push('!'),
            |record| record.entry.subject.clear(),
            |record| record.entry.detail = "{}".into(),
            |record| record.entry.outcome = "asked".into(),
            |record| record.entry.of = Some(1),
            |record| record.at = Timestamp::from_second(99).unwrap(),
        ];
        for edit in edits {
            let mut bad = good.clone();
            edit(&mut bad[2]);
            assert_eq!(check(&bad), Err(Broken::Changed { seq: 3 }));
        }
        let mut bad = good.clone();
        bad.remove(2);
        assert_eq!(check(&bad), Err(Broken::Missing { from: 3, to: 3 }));
        let mut bad = good.clone();
        bad.swap(1, 2);
        assert!(check(&bad).is_err());
        let mut bad = good.clone();
        (bad[1].entry, bad[2].entry) = (good[2].entry.clone(), good[1].entry.clone());
        assert_eq!(check(&bad), Err(Broken::Changed { seq: 2 }));
    }

    #[test]
    fn the_hash_stays_what_it_is() {
        assert_eq!(chain(1)[0].hash, "6a7d0145c68707792fe12d20a05da9cc2c9b9956e8d67692bf205ec8c3126cc3");
    }
}
