//! The journal in one SQLite file: WAL, synced at every acknowledgement, each record under a checksum.
//!
//! One thread writes. It takes what waits, up to a limit, into one transaction, so that many small appends share one sync;
//! an answer is given only after the commit. Reads go through a connection of their own and never wait for a writer.
//!
//! Two things keep daemons apart. The *lock* (`FILE.lock`, released by the kernel when its holder dies) refuses a second
//! daemon at its start. The *epoch*, compared inside the very transaction of each write, refuses one that was taken over
//! while it still runs: [`SqliteJournal::open`] with `take_over` needs no lock, and gets it when the old daemon is gone.
//!
//! What is damaged is never guessed at: the first checksum that does not match, found when the store is opened or anything is
//! read, makes the whole store refuse writes until a backup is restored. What is sound stays readable.

mod checksum;
mod copy;
mod lock;
mod read;
mod retain;
mod room;
mod schema;
mod state;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::domain::{digest::Digest, id::Epoch};
use crate::ports::journal::{Journal, JournalError, NewEvent, Record};

pub use copy::{Place, copy};
use lock::Lock;
use state::State;
use write::{Event, Request, Write};

/// The most bytes that the text of one event may have.
pub const MAX_EVENT: usize = 8 << 20;
/// The most bytes that a blob or a snapshot may have.
pub const MAX_BLOB: usize = 64 << 20;
/// The most characters that the name of a stream may have.
pub const MAX_STREAM: usize = 1024;

/// A journal in one SQLite file.
#[derive(Debug)]
pub struct SqliteJournal {
    state: Arc<State>,
    reader: Arc<Mutex<Connection>>,
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

impl SqliteJournal {
    /// Opens the journal at a path, made with mode 0600 where there is none, brought to this build's schema where it is older.
    /// Blocks while everything stored is compared with its checksums.
    ///
    /// Without `take_over` this needs the lock. With it the caller may open what another daemon still uses; it must then
    /// [claim](Journal::claim) an epoch before anything else, which makes the other's writes fail.
    ///
    /// # Errors
    ///
    /// [`JournalError::Held`] when another process has the lock, [`JournalError::Newer`] when a later version wrote the file,
    /// [`JournalError::Corrupt`] when it is no database at all. Damage within is no error here: it is at the first write.
    pub fn open(path: &Path, take_over: bool) -> Result<Self, JournalError> {
        let state = Arc::new(State::new(path));
        let lock = Lock::acquire(path, take_over)?;
        let connection = schema::open(path, &state)?;
        let reader = schema::open_reader(path).map_err(|error| state.told(error))?;
        if let Err(error) = read::verify(&reader, &state) {
            tracing::error!(%error, "the journal is damaged");
        }
        let (requests, receiver) = mpsc::channel();
        let writer = {
            let state = Arc::clone(&state);
            std::thread::Builder::new()
                .name("journal".into())
                .spawn(move || write::run(connection, &receiver, lock, &state))
                .map_err(|error| failed(path, error))?
        };
        let reader = Arc::new(Mutex::new(reader));
        Ok(SqliteJournal { state, reader, requests: Some(requests), writer: Some(writer) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.state.path()
    }

    /// Copies the whole store as it is now to a new file (mode 0600), while it is in use.
    ///
    /// # Errors
    ///
    /// [`JournalError::Failed`] when `to` exists already or can't be written.
    pub async fn backup(&self, to: PathBuf) -> Result<(), JournalError> {
        self.read_with(move |connection, state| {
            schema::create(&to).map_err(|error| failed(&to, error))?;
            let copied = connection.backup(rusqlite::MAIN_DB, &to, None);
            copied.map_err(|error| {
                let _ = std::fs::remove_file(&to);
                state.told(error)
            })
        })
        .await
    }

    async fn write(&self, write: Write) -> Result<u64, JournalError> {
        let gone = || failed(self.path(), "the thread that writes it has ended; restart the daemon");
        let (reply, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        requests.send(Request { write, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn read_with<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection, &State) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let (reader, state) = (Arc::clone(&self.reader), Arc::clone(&self.state));
        let work =
            tokio::task::spawn_blocking(move || read(&reader.lock().unwrap_or_else(PoisonError::into_inner), &state));
        work.await.map_err(|error| failed(self.path(), error))?
    }

    fn check_size(&self, what: &str, size: usize, limit: usize) -> Result<(), JournalError> {
        if size <= limit {
            return Ok(());
        }
        Err(failed(self.path(), format!("{what} has {size} bytes, more than the {limit} that are stored")))
    }
}

impl Drop for SqliteJournal {
    /// Waits until what was asked for is written and the lock is free.
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn claim(&self, holder: &str) -> Result<Epoch, JournalError> {
        self.claim_above(holder, Epoch(0)).await
    }

    async fn claim_above(&self, holder: &str, seen: Epoch) -> Result<Epoch, JournalError> {
        self.write(Write::Claim { holder: holder.chars().take(200).collect(), seen }).await.map(Epoch)
    }

    async fn append(
        &self,
        stream: &str,
        expected: u64,
        epoch: Epoch,
        at: Timestamp,
        events: &[NewEvent],
    ) -> Result<u64, JournalError> {
        self.check_size("the name of a stream", stream.len(), MAX_STREAM)?;
        let mut encoded = Vec::with_capacity(events.len());
        for event in events {
            let text = event.event.to_string();
            self.check_size(&format!("an event of stream {stream}"), text.len(), MAX_EVENT)?;
            encoded.push(Event { version: event.version, text });
        }
        let stream = stream.to_owned();
        self.write(Write::Append { stream, expected, epoch, at: at.to_string(), events: encoded }).await
    }

    async fn read(&self, stream: &str, after: u64) -> Result<Vec<Record>, JournalError> {
        let stream = stream.to_owned();
        self.read_with(move |connection, state| read::stream(connection, state, &stream, after)).await
    }

    async fn streams(&self, prefix: &str) -> Result<BTreeMap<String, u64>, JournalError> {
        let prefix = prefix.to_owned();
        self.read_with(move |connection, state| read::streams(connection, state, &prefix)).await
    }

    async fn since(&self, global: u64, limit: usize) -> Result<Vec<(String, Record)>, JournalError> {
        self.read_with(move |connection, state| read::since(connection, state, global, limit)).await
    }

    async fn before(&self, global: u64, limit: usize) -> Result<Vec<(String, Record)>, JournalError> {
        self.read_with(move |connection, state| read::before(connection, state, global, limit)).await
    }

    async fn put_snapshot(
        &self,
        stream: &str,
        seq: u64,
        epoch: Epoch,
        version: u32,
        state: &Value,
    ) -> Result<(), JournalError> {
        let text = state.to_string();
        self.check_size(&format!("the snapshot of stream {stream}"), text.len(), MAX_BLOB)?;
        let write = Write::Snapshot { stream: stream.to_owned(), seq, epoch, version, state: text };
        self.write(write).await.map(|_| ())
    }

    async fn snapshot(&self, stream: &str) -> Result<Option<(u64, u32, Value)>, JournalError> {
        let stream = stream.to_owned();
        self.read_with(move |connection, state| read::snapshot(connection, state, &stream)).await
    }

    async fn put_blob(&self, digest: &Digest, epoch: Epoch, bytes: &[u8]) -> Result<(), JournalError> {
        self.check_size(&format!("blob {digest}"), bytes.len(), MAX_BLOB)?;
        let write = Write::Blob { digest: digest.as_str().to_owned(), epoch, bytes: bytes.to_vec() };
        self.write(write).await.map(|_| ())
    }

    async fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, JournalError> {
        let digest = digest.as_str().to_owned();
        self.read_with(move |connection, state| read::blob(connection, state, &digest)).await
    }

    async fn remove_records(&self, epoch: Epoch, keep: u64, since: Timestamp) -> Result<u64, JournalError> {
        self.write(Write::RemoveRecords { epoch, keep, since }).await
    }

    async fn removed(&self) -> Result<u64, JournalError> {
        self.read_with(read::removed).await
    }

    async fn blobs(&self) -> Result<Vec<Digest>, JournalError> {
        let all = self.read_with(read::digests).await?;
        Ok(all.into_iter().map(Digest::from_text).collect())
    }

    async fn remove_blobs(&self, epoch: Epoch, digests: &[Digest]) -> Result<u64, JournalError> {
        let digests = digests.iter().map(|digest| digest.as_str().to_owned()).collect();
        self.write(Write::RemoveBlobs { epoch, digests }).await
    }

    async fn verify(&self) -> Result<u64, JournalError> {
        self.read_with(|connection, state| {
            read::check_structure(connection, state)?;
            read::verify(connection, state)
        })
        .await
    }

    fn short_of_room(&self) -> Option<String> {
        room::short(self.path())
    }
}

fn failed(path: &Path, reason: impl std::fmt::Display) -> JournalError {
    JournalError::Failed { path: path.display().to_string(), reason: reason.to_string() }
}
