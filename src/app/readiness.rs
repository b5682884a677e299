//! Whether everything that the daemon depends on is there.

use std::time::Duration;

use super::operations::Daemon;
use crate::api::types::{NotReady, Readiness};
use crate::domain::workload::Place;

/// What does not answer within this is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

impl Daemon {
    /// Looks at what can be looked at without work: the source by its last answer, the others by asking them.
    pub(super) async fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        let mut add = |part: &str, reason: Option<String>| {
            reasons.extend(reason.map(|reason| NotReady { part: part.into(), reason }));
        };
        if self.shared.stale.is_cancelled() {
            add("daemon", Some("another daemon has taken over".into()));
        }
        let source = self.reconciler.view();
        let read = source.snapshot.is_some();
        add("git", source.error.or_else(|| (!read).then(|| "it has not been read yet".into())));
        let (platform, traffic, state) = tokio::join!(
            within(self.world.platforms.host().check()),
            within(self.world.traffic.check()),
            within(self.world.journal.streams(super::installation_log::STREAM)),
        );
        // Where everything runs on clusters nobody needs them.
        let clusters = self.world.platforms.clusters().next().is_some();
        if !clusters || self.shared.registry.all().iter().any(|unit| unit.glance().place == Place::Host) {
            add("supervisor", platform);
            add("router", traffic);
        }
        add("state", state);
        Readiness { ready: reasons.is_empty(), reasons }
    }
}

async fn within<T, E: std::fmt::Display>(look: impl Future<Output = Result<T, E>>) -> Option<String> {
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("it does not answer within {PATIENCE:?}")),
    }
}
