//! Tells whoever watches that something changed; what, they look up themselves.

use std::time::Duration;

use tokio::sync::watch;

/// A number that grows with every change.
pub struct Hub {
    seq: watch::Sender<u64>,
}

impl Default for Hub {
    fn default() -> Self {
        Hub { seq: watch::Sender::new(1) }
    }
}

impl Hub {
    /// Something changed.
    pub fn changed(&self) {
        self.seq.send_modify(|seq| *seq += 1);
    }

    /// Waits until the number is another than `since`, at most so long; answers the number then. A number of an earlier start
    /// of the daemon, which may be higher, is another one too.
    pub async fn wait(&self, since: u64, limit: Duration) -> u64 {
        let mut receiver = self.seq.subscribe();
        let changed = receiver.wait_for(|seq| *seq != since);
        match tokio::time::timeout(limit, changed).await {
            Ok(Ok(seq)) => *seq,
            _ => *self.seq.borrow(),
        }
    }
}
