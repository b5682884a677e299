//! The counters of several planes as one. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::observed::Seen;
use crate::ports::traffic::{Counters, GroupCounters};
use crate::protocol::router::{GroupStats, RouteStatus, latency_buckets_ms};

/// The sum over planes, by their names. A restart of any of them changes `start`.
pub(super) fn sum(statuses: &BTreeMap<String, Arc<RouteStatus>>) -> Seen<Counters> {
    let bounds_us: Vec<f64> = latency_buckets_ms().into_iter().map(|bound| bound * 1_000.0).collect();
    let starts: Vec<&str> = statuses.values().map(|status| status.start.as_str()).collect();
    let mut counters = Counters { start: starts.join("+"), bounds_us, groups: BTreeMap::new() };
    for (plane, status) in statuses {
        for stats in &status.groups {
            let buckets = counters.bounds_us.len() + 1;
            if stats.latency.len() != buckets {
                return Seen::Unknown(format!(
                    "{plane} measures in {} latency buckets, this version knows {buckets}: restart it with this version",
                    stats.latency.len(),
                ));
            }
            let group = counters.groups.entry(stats.group.clone()).or_insert_with(|| GroupCounters {
                served: 0,
                errors: 0,
                latency: vec![0; buckets],
            });
            add(group, stats);
        }
    }
    Seen::Known(counters)
}

fn add(group: &mut GroupCounters, stats: &GroupStats) {
    let [informational, success, redirect, client_error, server_error] = stats.classes;
    group.served += informational + success + redirect + client_error;
    group.errors += server_error + stats.failed;
    for (sum, count) in group.latency.iter_mut().zip(&stats.latency) {
        *sum += count;
    }
}
