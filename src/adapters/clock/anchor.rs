//! What the machine tells of time, and the file that keeps it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::Sources;

/// A moment on both clocks: the machine's, which never jumps, and the one that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// Which start of the machine.
    pub boot: String,
    /// The time since then.
    pub elapsed: SignedDuration,
    /// What was told then.
    pub told: Timestamp,
}

/// The machine that this runs on.
pub struct Machine {
    file: PathBuf,
    boot: String,
    /// Used where the kernel does not tell the time since its start.
    started: Instant,
}

impl Machine {
    /// Anchors are kept in this file.
    pub fn new(file: PathBuf) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        // Without a name for this start of the machine nothing of an earlier process is believed.
        let boot = match boot.trim() {
            "" => uuid::Uuid::now_v7().to_string(),
            boot => boot.to_owned(),
        };
        Machine { file, boot, started: Instant::now() }
    }
}

impl Sources for Machine {
    fn wall(&self) -> Timestamp {
        crate::clock::now()
    }

    /// The time since the start of the machine counts while it sleeps, too.
    fn since_boot(&self) -> (String, SignedDuration) {
        let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).ok().map(Duration::from);
        let elapsed = uptime.and_then(|uptime| SignedDuration::try_from(uptime).ok());
        let own = || SignedDuration::try_from(self.started.elapsed()).unwrap_or(SignedDuration::MAX);
        (self.boot.clone(), elapsed.unwrap_or_else(own))
    }

    fn anchor(&self) -> Option<Anchor> {
        serde_json::from_slice(&std::fs::read(&self.file).ok()?).ok()
    }

    /// What can't be kept is worked out anew from the wall clock at the next start: no reason to stop.
    fn keep(&self, anchor: &Anchor) {
        let whole = self.file.with_extension("new");
        let text = serde_json::to_vec(anchor).unwrap_or_default();
        if let Err(error) = std::fs::write(&whole, text).and_then(|()| std::fs::rename(&whole, &self.file)) {
            tracing::warn!(file = %self.file.display(), %error, "the clock's anchor is not kept");
        }
    }
}
