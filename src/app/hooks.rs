//! What webhook deliveries lead to.

use async_trait::async_trait;

use super::operations::Daemon;
use crate::api::hooks::{Outcome, Receiver};

#[async_trait]
impl Receiver for Daemon {
    async fn known(&self, hook: &str, delivery: &str) -> Result<bool, String> {
        self.world.audit.delivered(hook, delivery).await.map_err(|error| error.to_string())
    }

    fn due(&self) {
        self.reconciler.mark_due();
    }

    async fn remember(&self, hook: &str, delivery: &str) -> Result<(), String> {
        self.world.audit.remember_delivery(hook, delivery).await.map_err(|error| error.to_string())
    }

    fn count(&self, provider: &str, outcome: Outcome) {
        self.world.telemetry.webhooks.with_label_values(&[provider, outcome.label()]).inc();
    }
}
