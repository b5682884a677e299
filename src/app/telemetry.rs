//! The daemon's own metrics.

use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::api::types::{UnitHealth, UnitStatus};

/// What the daemon counts.
pub struct Telemetry {
    registry: Registry,
    /// Fetches of the source, by outcome (`ok`, `failed`).
    pub fetches: IntCounterVec,
    /// How long a reconcile of the source took in seconds, from the fetch to the last candidate.
    pub reconcile_seconds: Histogram,
    /// Ended rollouts, by kind and outcome.
    pub rollouts: IntCounterVec,
    /// Effects on platforms and data planes, by action and outcome.
    pub actions: IntCounterVec,
    /// Webhook deliveries, by provider and what became of them.
    pub webhooks: IntCounterVec,
    /// Rollbacks that were decided without anybody asking.
    pub automatic_rollbacks: IntCounter,
    /// When the source last answered, in seconds since 1970.
    pub source_answered: IntGauge,
    units: IntGaugeVec,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new().expect("the metrics' names are constant, valid and different from each other")
    }
}

impl Telemetry {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let telemetry = Telemetry {
            fetches: counters("trimtab_source_fetches_total", "Fetches of the source by outcome.", &["outcome"])?,
            rollouts: counters("trimtab_rollouts_total", "Ended rollouts by kind and outcome.", &["kind", "outcome"])?,
            actions: counters(
                "trimtab_actions_total",
                "Effects on platforms and data planes by action and outcome.",
                &["action", "outcome"],
            )?,
            webhooks: counters(
                "trimtab_webhook_deliveries_total",
                "Webhook deliveries by provider and what became of them.",
                &["provider", "outcome"],
            )?,
            reconcile_seconds: Histogram::with_opts(HistogramOpts::new(
                "trimtab_reconcile_seconds",
                "From the fetch of the source to the last candidate.",
            ))?,
            automatic_rollbacks: IntCounter::new(
                "trimtab_automatic_rollbacks_total",
                "Rollbacks that were decided without anybody asking.",
            )?,
            source_answered: IntGauge::new(
                "trimtab_source_answered_timestamp_seconds",
                "When the source last answered, in seconds since 1970.",
            )?,
            units: IntGaugeVec::new(
                Opts::new("trimtab_units", "Units by environment and health."),
                &["environment", "health"],
            )?,
            registry,
        };
        telemetry.registry.register(Box::new(telemetry.reconcile_seconds.clone()))?;
        telemetry.registry.register(Box::new(telemetry.automatic_rollbacks.clone()))?;
        telemetry.registry.register(Box::new(telemetry.source_answered.clone()))?;
        telemetry.registry.register(Box::new(telemetry.units.clone()))?;
        telemetry.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(telemetry)
    }

    /// Every metric's name, labels and meaning, whether anything was counted or not.
    pub fn described(&self) -> Vec<(String, Vec<String>, String)> {
        let all: [&dyn Collector; 8] = [
            &self.actions,
            &self.automatic_rollbacks,
            &self.fetches,
            &self.reconcile_seconds,
            &self.rollouts,
            &self.source_answered,
            &self.units,
            &self.webhooks,
        ];
        let descriptions = all.iter().flat_map(|one| one.desc());
        descriptions.map(|it| (it.fq_name.clone(), it.variable_labels.clone(), it.help.clone())).collect()
    }

    /// All metrics in Prometheus' text format, with the units as they stand.
    pub fn render(&self, units: &[UnitStatus]) -> String {
        self.units.reset();
        for unit in units {
            let labels = [unit.unit.environment.as_str(), health_label(unit.health)];
            self.units.with_label_values(&labels).inc();
        }
        let mut out = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut out) {
            Ok(()) => String::from_utf8_lossy(&out).into_owned(),
            Err(error) => format!("# metrics can't be shown: {error}\n"),
        }
    }
}

fn health_label(health: UnitHealth) -> &'static str {
    match health {
        UnitHealth::InSync => "in_sync",
        UnitHealth::Progressing => "progressing",
        UnitHealth::Paused => "paused",
        UnitHealth::Held => "held",
        UnitHealth::Degraded => "degraded",
        UnitHealth::RollingBack => "rolling_back",
        UnitHealth::Stuck => "stuck",
        UnitHealth::Removing => "removing",
        UnitHealth::Unknown => "unknown",
    }
}
