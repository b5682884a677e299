//! What the router remembers over a restart: its routes and the highest epoch, in one versioned JSON file that is
//! replaced atomically and is on disk before a change is confirmed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::id::Epoch;
use crate::protocol::router::RouteConfig;

/// The version of the file that this build writes.
const VERSION: u32 = 1;

/// The routes in force and the highest epoch seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The highest epoch of any request that was taken.
    pub epoch: Epoch,
    /// The routes by key.
    pub routes: BTreeMap<String, RouteConfig>,
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused.
    #[error("the router's state {path} can't be {what}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        what: &'static str,
        /// The system's word.
        source: io::Error,
    },
    /// The file is not what this program wrote.
    #[error(
        "the router's state {path} is damaged: {reason}; move it away to start without routes (the daemon sets them again)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a newer version.
    #[error("the router's state {path} has version {found}, this build reads up to {VERSION}: run the newer build")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    epoch: Epoch,
    routes: Vec<RouteConfig>,
}

/// The file `router.json` in the state directory.
#[derive(Clone, Debug)]
pub struct Store {
    path: PathBuf,
}

impl Store {
    /// The store in a state directory, which must exist.
    pub fn new(state_dir: &Path) -> Self {
        Store { path: state_dir.join("router.json") }
    }

    /// Reads the state; no file is an empty state.
    pub fn load(&self) -> Result<State, StoreError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
            Err(source) => return Err(StoreError::Io { path: self.path.clone(), what: "read", source }),
        };
        let damaged =
            |error: serde_json::Error| StoreError::Damaged { path: self.path.clone(), reason: error.to_string() };
        // The version is read by itself, because a newer document need not have the fields of this one.
        #[derive(Deserialize)]
        struct Header {
            version: u32,
        }
        let Header { version } = serde_json::from_slice(&text).map_err(damaged)?;
        if version > VERSION {
            return Err(StoreError::Newer { path: self.path.clone(), found: version });
        }
        let document: Document = serde_json::from_slice(&text).map_err(damaged)?;
        let routes = document.routes.into_iter().map(|route| (route.key.clone(), route)).collect();
        Ok(State { epoch: document.epoch, routes })
    }

    /// Replaces the state. After success it survives a crash of the machine; after an error either the old or the new one is there.
    pub fn save(&self, state: &State) -> Result<(), StoreError> {
        let document =
            Document { version: VERSION, epoch: state.epoch, routes: state.routes.values().cloned().collect() };
        let text = serde_json::to_vec_pretty(&document)
            .map_err(|error| StoreError::Damaged { path: self.path.clone(), reason: error.to_string() })?;
        self.replace(&text).map_err(|source| StoreError::Io { path: self.path.clone(), what: "written", source })
    }

    fn replace(&self, text: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_extension("json.new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        // Without this the rename itself may be lost in a power failure.
        let parent = self.path.parent().unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::route;

    #[test]
    fn reads_back_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert_eq!(store.load().unwrap(), State::default());
        let state = State { epoch: Epoch(7), routes: [("a".to_owned(), route("a"))].into() };
        store.save(&state).unwrap();
        assert_eq!(store.load().unwrap(), state);
        assert!(!dir.path().join("router.json.new").exists());
    }

    #[test]
    fn refuses_damage_and_newer_versions() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        fs::write(dir.path().join("router.json"), b"{\"version\":1,").unwrap();
        assert!(matches!(store.load(), Err(StoreError::Damaged { .. })));
        fs::write(dir.path().join("router.json"), b"{\"version\":99,\"shape\":\"other\"}").unwrap();
        assert!(matches!(store.load(), Err(StoreError::Newer { found: 99, .. })));
    }

    #[test]
    fn an_interrupted_write_leaves_the_old_state() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let state = State { epoch: Epoch(1), routes: BTreeMap::new() };
        store.save(&state).unwrap();
        fs::write(dir.path().join("router.json.new"), b"half").unwrap();
        assert_eq!(store.load().unwrap(), state);
        store.save(&State { epoch: Epoch(2), ..state }).unwrap();
        assert_eq!(store.load().unwrap().epoch, Epoch(2));
    }
}
