//! Everything at once: changes of every kind in a random order, under load, with nothing lost.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use trimtab::domain::span::Span;
use trimtab::load::{Load, Plan};
use trimtab::protocol::router::Hold;

use super::bench::Bench;
use super::traffic::{answers, assert_whole};
use super::upstream::{Ledger, Upstream};

/// A version with its instances.
struct Group {
    name: String,
    weight: u32,
    instances: Vec<Upstream>,
}

struct Storm {
    bench: Bench,
    ledger: Ledger,
    random: StdRng,
    groups: Vec<Group>,
    hold: bool,
    started: u32,
    epoch: u64,
}

impl Storm {
    fn start_instances(&mut self, version: &str) -> Vec<Upstream> {
        (0..self.random.random_range(1..=3)).map(|_| Upstream::with_ledger(version, &self.ledger)).collect()
    }

    async fn put(&mut self) {
        let groups: Vec<(&str, u32, Vec<&Upstream>)> = self
            .groups
            .iter()
            .map(|group| (group.name.as_str(), group.weight, group.instances.iter().collect()))
            .collect();
        let groups: Vec<(&str, u32, &[&Upstream])> =
            groups.iter().map(|(name, weight, instances)| (*name, *weight, instances.as_slice())).collect();
        let mut route = self.bench.route(&groups);
        route.hold = self.hold.then_some(Hold { timeout: Span::from_secs(60), max: 10_000 });
        self.epoch += u64::from(self.random.random_bool(0.2));
        self.bench.put_at(self.epoch, &route).await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// One change, of any kind.
    async fn step(&mut self) {
        match self.random.random_range(0..6) {
            0 => {
                self.started += 1;
                let name = format!("v{}", self.started);
                let instances = self.start_instances(&name);
                self.groups.push(Group { name, weight: self.random.random_range(0..100), instances });
            }
            1 => self.retire().await,
            2 => {
                for group in &mut self.groups {
                    group.weight = self.random.random_range(0..100);
                }
            }
            3 => {
                let at = self.random.random_range(0..self.groups.len());
                let name = self.groups[at].name.clone();
                let more = self.start_instances(&name);
                self.groups[at].instances.extend(more);
            }
            4 => self.hold = !self.hold,
            _ => {
                let mut before = self.bench.start_again().await;
                // It drains beside the new one, and is gone when the test is.
                tokio::task::spawn_blocking(move || before.0.wait());
            }
        }
        if self.groups.iter().all(|group| group.weight == 0) {
            self.groups[0].weight = 1;
        }
        self.put().await;
    }

    /// Takes a version or an instance out, waits until it is drained, ends it.
    async fn retire(&mut self) {
        let at = self.random.random_range(0..self.groups.len());
        let gone: Vec<Upstream> = if self.groups.len() > 1 && self.random.random_bool(0.5) {
            self.groups.remove(at).instances
        } else if self.groups[at].instances.len() > 1 {
            vec![self.groups[at].instances.remove(0)]
        } else {
            return;
        };
        if self.groups.iter().all(|group| group.weight == 0) {
            self.groups[0].weight = 1;
        }
        self.put().await;
        self.bench.until("it is drained", |status| status.endpoints.iter().all(|endpoint| !endpoint.draining)).await;
        drop(gone);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_changes_loses_nothing() {
    let seed: u64 =
        std::env::var("TRIMTAB_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(rand::random);
    println!("TRIMTAB_TEST_SEED={seed}");
    let steps = std::env::var("TRIMTAB_TEST_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(40);
    let mut storm = Storm {
        bench: Bench::start().await,
        ledger: Ledger::default(),
        random: StdRng::seed_from_u64(seed),
        groups: Vec::new(),
        hold: false,
        started: 0,
        epoch: 1,
    };
    let instances = storm.start_instances("v0");
    storm.groups.push(Group { name: "v0".into(), weight: 1, instances });
    storm.put().await;
    let load = Load::start(Plan::new(storm.bench.listen, "test", 200.0));
    answers(&load, 50).await;
    for _ in 0..steps {
        storm.step().await;
        if !storm.hold {
            answers(&load, 10).await;
        }
    }
    storm.hold = false;
    storm.put().await;
    answers(&load, 50).await;
    assert_whole(&load.stop().await, &storm.ledger);
}
