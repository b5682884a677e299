//! What each group has served: counters that cost the request path an uncontended addition each.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::domain::id::GroupId;
use crate::protocol::router::{GroupStats, latency_buckets_ms};

/// Upper bounds of the latency buckets in nanoseconds.
static BOUNDS: LazyLock<Vec<u64>> =
    LazyLock::new(|| latency_buckets_ms().into_iter().map(|bound| (bound * 1e6) as u64).collect());

/// The counters of one worker thread; on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    classes: [AtomicU64; 5],
    failed: AtomicU64,
    latency: Vec<AtomicU64>,
    latency_sum: AtomicU64,
}

/// The counters of a group.
#[derive(Debug)]
pub struct Counters {
    shards: Vec<Shard>,
}

impl Counters {
    /// Counters for so many worker threads.
    pub fn new(workers: usize) -> Self {
        let shard = || Shard {
            classes: Default::default(),
            failed: AtomicU64::new(0),
            latency: (0..=BOUNDS.len()).map(|_| AtomicU64::new(0)).collect(),
            latency_sum: AtomicU64::new(0),
        };
        Counters { shards: (0..workers.max(1)).map(|_| shard()).collect() }
    }

    /// Counts an answer whose head came after this time.
    pub fn answered(&self, worker: usize, status: u16, took: Duration) {
        let shard = &self.shards[worker % self.shards.len()];
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        shard.classes[class].fetch_add(1, Relaxed);
        let nanos = took.as_nanos().min(u128::from(u64::MAX)) as u64;
        let bucket = BOUNDS.partition_point(|&bound| bound < nanos);
        shard.latency[bucket].fetch_add(1, Relaxed);
        shard.latency_sum.fetch_add(nanos, Relaxed);
    }

    /// Counts a request that got no whole answer.
    pub fn failed(&self, worker: usize) {
        self.shards[worker % self.shards.len()].failed.fetch_add(1, Relaxed);
    }

    /// The sums over all workers.
    pub fn read(&self, group: GroupId) -> GroupStats {
        let sum = |counter: &dyn Fn(&Shard) -> &AtomicU64| self.shards.iter().map(|s| counter(s).load(Relaxed)).sum();
        GroupStats {
            group,
            classes: std::array::from_fn(|class| sum(&|shard| &shard.classes[class])),
            failed: sum(&|shard| &shard.failed),
            latency: (0..=BOUNDS.len()).map(|bucket| sum(&|shard| &shard.latency[bucket])).collect(),
            latency_sum_ms: sum(&|shard| &shard.latency_sum) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_class_and_bucket() {
        let counters = Counters::new(2);
        counters.answered(0, 200, Duration::from_micros(50));
        counters.answered(1, 204, Duration::from_micros(110));
        counters.answered(1, 503, Duration::from_secs(3600));
        counters.failed(5);
        let stats = counters.read("g".into());
        assert_eq!(stats.classes, [0, 2, 0, 0, 1]);
        assert_eq!(stats.failed, 1);
        assert_eq!(stats.latency.len(), latency_buckets_ms().len() + 1);
        assert_eq!((stats.latency[0], stats.latency[1], *stats.latency.last().unwrap()), (1, 1, 1));
        assert!((stats.latency_sum_ms - 3_600_000.16).abs() < 1e-6);
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let counters = Counters::new(1);
        counters.answered(0, 200, Duration::from_micros(100));
        assert_eq!(counters.read("g".into()).latency[0], 1);
    }
}
