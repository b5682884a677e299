//! What became of the requests.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::exchange::{Answer, Outcome};

/// How many losses are kept with their words.
const EXAMPLES: usize = 20;

/// How a request was lost. An answer that the service itself gave is none of these, also when it is a 5xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// No connection.
    Refused,
    /// The connection broke before an answer.
    Reset,
    /// The answer broke off.
    Truncated,
    /// An answer that did not come from the service: no `x-version`.
    Unserved,
    /// An answer to something else: another id, or another body than was sent.
    Wrong,
    /// No whole answer in time.
    Timeout,
}

/// What one version answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Version {
    /// Whole answers.
    pub answers: u64,
    /// Those of them with a status of 500 and above.
    pub errors: u64,
    /// When the first came, from the start of the load.
    pub first: Duration,
    /// When the latest came.
    pub last: Duration,
}

/// A loss in words.
#[derive(Clone, Debug)]
pub struct Example {
    /// When it was known, from the start of the load.
    pub at: Duration,
    /// The request's id.
    pub id: String,
    /// How it was lost.
    pub loss: Loss,
    /// What was seen.
    pub reason: String,
}

/// What was counted.
#[derive(Clone, Debug)]
pub struct Report {
    /// When the load began.
    pub begun: Instant,
    /// Requests sent, whatever became of them.
    pub sent: u64,
    /// Losses by kind.
    pub losses: BTreeMap<Loss, u64>,
    /// The first losses.
    pub examples: Vec<Example>,
    /// Answers by version.
    pub versions: BTreeMap<String, Version>,
    /// From when a request was due until its answer was whole; answered requests only.
    pub latency: Histogram,
    prefix: String,
}

impl Report {
    pub(super) fn new(begun: Instant) -> Self {
        Report {
            begun,
            sent: 0,
            losses: BTreeMap::new(),
            examples: Vec::new(),
            versions: BTreeMap::new(),
            latency: Histogram::default(),
            prefix: uuid::Uuid::now_v7().simple().to_string(),
        }
    }

    /// The id of the n-th request, from 0.
    pub fn id(&self, n: u64) -> String {
        format!("{}-{n}", self.prefix)
    }

    /// Requests that were lost.
    pub fn lost(&self) -> u64 {
        self.losses.values().sum()
    }

    /// Requests with a whole answer of the service.
    pub fn answered(&self) -> u64 {
        self.versions.values().map(|version| version.answers).sum()
    }

    /// Answers of the service itself with a status of 500 and above.
    pub fn errors(&self) -> u64 {
        self.versions.values().map(|version| version.errors).sum()
    }

    /// The share of the answers that a version gave.
    pub fn share(&self, version: &str) -> f64 {
        self.versions.get(version).map_or(0.0, |version| version.answers as f64 / self.answered() as f64)
    }

    pub(super) fn count(&mut self, due: Instant, id: &str, outcome: Outcome) {
        let at = self.begun.elapsed();
        match outcome {
            Ok(Answer { version, status }) => {
                let version =
                    self.versions.entry(version).or_insert_with(|| Version { first: at, ..Version::default() });
                version.answers += 1;
                version.errors += u64::from(status >= 500);
                version.last = at;
                self.latency.add(due.elapsed());
            }
            Err((loss, reason)) => {
                *self.losses.entry(loss).or_default() += 1;
                if self.examples.len() < EXAMPLES {
                    self.examples.push(Example { at, id: id.to_owned(), loss, reason });
                }
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [median, high] = [0.5, 0.99].map(|share| self.latency.quantile(share).as_secs_f64() * 1_000.0);
        write!(f, "{} sent, {} answered, {} lost", self.sent, self.answered(), self.lost())?;
        write!(f, "; p50 {median:.1} ms, p99 {high:.1} ms")?;
        for (name, version) in &self.versions {
            write!(f, "; {name}: {} answers, {} errors", version.answers, version.errors)?;
        }
        for (loss, count) in &self.losses {
            write!(f, "\n  {loss:?}: {count}")?;
        }
        for example in &self.examples {
            write!(f, "\n  at {:?}: {} {:?}: {}", example.at, example.id, example.loss, example.reason)?;
        }
        Ok(())
    }
}

/// Latencies in buckets, each a twentieth above the last, from 10 microseconds.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    const FIRST: f64 = 10e-6;
    const STEP: f64 = 1.05;

    fn add(&mut self, time: Duration) {
        let ratio = (time.as_secs_f64() / Self::FIRST).max(1.0);
        let bucket = (ratio.ln() / Self::STEP.ln()).ceil() as usize;
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The time that this share of the requests stayed below, to a twentieth; zero when there were none.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_secs_f64(Self::FIRST * Self::STEP.powi(bucket as i32));
            }
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_off_by_a_twentieth_at_most() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        for millis in 1..=1_000 {
            histogram.add(Duration::from_millis(millis));
        }
        for (share, expected) in [(0.5, 0.5), (0.99, 0.99), (1.0, 1.0), (0.001, 0.001)] {
            let seen = histogram.quantile(share).as_secs_f64();
            assert!((expected..=expected * 1.051).contains(&seen), "{share}: {seen}");
        }
    }

    #[test]
    fn errors_of_the_service_are_no_losses() {
        let mut report = Report::new(Instant::now());
        report.sent = 3;
        report.count(Instant::now(), "a", Ok(Answer { version: "v2".into(), status: 500 }));
        report.count(Instant::now(), "b", Ok(Answer { version: "v1".into(), status: 200 }));
        report.count(Instant::now(), "c", Err((Loss::Truncated, "after 3 bytes".into())));
        assert_eq!((report.answered(), report.errors(), report.lost()), (2, 1, 1));
        assert!((report.share("v2") - 0.5).abs() < 1e-9);
        let text = report.to_string();
        assert!(text.contains("3 sent, 2 answered, 1 lost") && text.contains("Truncated: 1"), "{text}");
    }
}
