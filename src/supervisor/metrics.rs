//! Counters for Prometheus.

use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::protocol::supervisor::{GroupStatus, InstanceState};

/// The supervisor's counters, each with its name on `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    instances: IntGaugeVec,
    ready: IntGaugeVec,
    /// Processes started again after an end or a failed liveness check.
    pub restarts: IntCounter,
    /// Health checks that failed, by kind of probe (`readiness`, `liveness`).
    pub check_failures: IntCounterVec,
    /// Runs begun.
    pub runs: IntCounter,
}

const STATES: [(InstanceState, &str); 5] = [
    (InstanceState::Starting, "starting"),
    (InstanceState::Running, "running"),
    (InstanceState::BackOff, "back_off"),
    (InstanceState::Stopping, "stopping"),
    (InstanceState::Stopped, "stopped"),
];

impl Metrics {
    /// All at zero.
    pub fn new() -> prometheus::Result<Self> {
        let name = |name: &str| format!("trimtab_supervisor_{name}");
        let metrics = Metrics {
            registry: Registry::new(),
            instances: IntGaugeVec::new(Opts::new(name("instances"), "Instances by what they do"), &["state"])?,
            ready: IntGaugeVec::new(
                Opts::new(name("instances_ready"), "Instances that may serve, by unit"),
                &["unit"],
            )?,
            restarts: IntCounter::new(name("restarts_total"), "Processes started again after an end")?,
            check_failures: IntCounterVec::new(
                Opts::new(name("check_failures_total"), "Health checks that failed"),
                &["probe"],
            )?,
            runs: IntCounter::new(name("runs_total"), "Hooks and scripts begun")?,
        };
        metrics.registry.register(Box::new(metrics.instances.clone()))?;
        metrics.registry.register(Box::new(metrics.ready.clone()))?;
        metrics.registry.register(Box::new(metrics.restarts.clone()))?;
        metrics.registry.register(Box::new(metrics.check_failures.clone()))?;
        metrics.registry.register(Box::new(metrics.runs.clone()))?;
        metrics.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// Every metric's name, labels and meaning, whether anything was counted or not.
    pub fn described(&self) -> Vec<(String, Vec<String>, String)> {
        let all: [&dyn Collector; 5] = [&self.check_failures, &self.instances, &self.ready, &self.restarts, &self.runs];
        let descriptions = all.iter().flat_map(|one| one.desc());
        descriptions.map(|it| (it.fq_name.clone(), it.variable_labels.clone(), it.help.clone())).collect()
    }

    /// The text that Prometheus reads.
    pub fn render(&self, groups: &[GroupStatus]) -> prometheus::Result<String> {
        let instances = || groups.iter().flat_map(|group| &group.instances);
        for (state, label) in STATES {
            let count = instances().filter(|instance| instance.state == state).count();
            self.instances.with_label_values(&[label]).set(count as i64);
        }
        self.ready.reset();
        for group in groups {
            let count = group.instances.iter().filter(|instance| instance.ready).count();
            self.ready.with_label_values(&[group.markers.unit.to_string()]).add(count as i64);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
