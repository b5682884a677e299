//! An open-loop HTTP client that counts every request, for tests, the demo and measurements.
//!
//! Open-loop: request n is due at `start + n / rate`, whatever became of those before, and its latency runs from when it was
//! due. So a stall shows as what it is, instead of slowing the client down with it. A part of the requests comes over new
//! connections, a part over kept ones; a part has bodies, a part of those slow ones.
//!
//! Every request carries an id in `x-request-id`. The service must repeat it and name its version in `x-version`, as
//! `trimtab demo-app` does, and echo the body of a POST; an answer with another id or body counts as lost. That no id is served
//! twice is for the service to know; ids are [`Report::id`] of 0 to [`Report::sent`].
//!
//! ```no_run
//! # async fn example() {
//! use trimtab::load::{Load, Plan};
//! let load = Load::start(Plan::new(([127, 0, 0, 1], 8080), "hello.localhost", 200.0));
//! // ... roll something out ...
//! let report = load.stop().await;
//! assert_eq!(report.lost(), 0, "{report}");
//! # }
//! ```

mod exchange;
mod report;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

pub use self::report::{Example, Histogram, Loss, Report, Version};

use self::exchange::{Connections, Shape};

/// What is sent.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where to.
    pub target: SocketAddr,
    /// The `Host`.
    pub host: String,
    /// The path.
    pub path: String,
    /// Requests a second.
    pub rate: f64,
    /// The share of requests, 0 to 1, that open a connection of their own and close it.
    pub fresh: f64,
    /// The share of requests, 0 to 1, that are POSTs with a body which the service must echo.
    pub posts: f64,
    /// The share of the POSTs, 0 to 1, whose body is sent in parts over `slow_for`.
    pub slow: f64,
    /// The size of a POST's body, in bytes.
    pub body: usize,
    /// How long a slow body takes.
    pub slow_for: Duration,
    /// After this a request is lost.
    pub timeout: Duration,
}

impl Plan {
    /// The usual mix at a rate: a quarter over new connections, a fifth POSTs of 2,000 bytes, a tenth of those slow.
    pub fn new(target: impl Into<SocketAddr>, host: impl Into<String>, rate: f64) -> Self {
        Plan {
            target: target.into(),
            host: host.into(),
            path: "/".into(),
            rate,
            fresh: 0.25,
            posts: 0.2,
            slow: 0.1,
            body: 2_000,
            slow_for: Duration::from_millis(200),
            timeout: Duration::from_secs(30),
        }
    }

    /// What the n-th request looks like. The shares are spread evenly and independently of each other.
    fn shape(&self, n: u64) -> Shape {
        // Each trait has an irrational step of its own, so that they meet in all combinations.
        let hit = |step: f64, share: f64| (n as f64 * step).fract() < share;
        let post = hit(0.618_033_988_749_895, self.posts);
        Shape {
            fresh: hit(0.414_213_562_373_095, self.fresh),
            post,
            slow: post && hit(0.732_050_807_568_877, self.slow),
        }
    }
}

/// A client that runs. Dropped, it stops at once.
#[derive(Debug)]
pub struct Load {
    report: Arc<Mutex<Report>>,
    task: JoinHandle<()>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Load {
    /// Starts sending, on tasks of the current tokio runtime.
    pub fn start(plan: Plan) -> Self {
        let begun = Instant::now();
        let report = Arc::new(Mutex::new(Report::new(begun.into_std())));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(send_all(Arc::new(plan), begun, report.clone(), stopped));
        Load { report, task, stop: Some(stop) }
    }

    /// What was counted up to now.
    pub fn so_far(&self) -> Report {
        locked(&self.report).clone()
    }

    /// Sends no more, waits for all answers, and returns what was counted.
    pub async fn stop(mut self) -> Report {
        if let Some(stop) = self.stop.take() {
            // An error says that the task has ended, which it does only after this.
            let _ = stop.send(());
        }
        // It only fails if it panicked or the runtime ends; what was counted stands either way.
        let _ = (&mut self.task).await;
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Locks the report. It is never left half-changed by a panic.
fn locked(report: &Mutex<Report>) -> std::sync::MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send_all(
    plan: Arc<Plan>,
    begun: Instant,
    report: Arc<Mutex<Report>>,
    mut stopped: tokio::sync::oneshot::Receiver<()>,
) {
    let connections = Arc::new(Connections::default());
    let mut pending = JoinSet::new();
    let mut n = 0_u64;
    loop {
        let due = begun + Duration::from_secs_f64(n as f64 / plan.rate);
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            () = tokio::time::sleep_until(due) => {}
        }
        let id = {
            let mut report = locked(&report);
            report.sent += 1;
            report.id(n)
        };
        let (plan, report, connections) = (plan.clone(), report.clone(), connections.clone());
        pending.spawn(async move {
            let exchange = exchange::run(&plan, plan.shape(n), &id, &connections);
            let outcome = match tokio::time::timeout_at(due + plan.timeout, exchange).await {
                Ok(outcome) => outcome,
                Err(_) => Err((Loss::Timeout, format!("no whole answer within {:?}", plan.timeout))),
            };
            locked(&report).count(due.into_std(), &id, outcome);
        });
        n += 1;
        // Those that have ended are let go, so that a long run does not gather them.
        while pending.try_join_next().is_some() {}
    }
    while pending.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_in_all_combinations() {
        let plan = Plan::new(([127, 0, 0, 1], 1), "x", 1.0);
        let count =
            |wanted: fn(&Shape) -> bool| (0..10_000).filter(|n| wanted(&plan.shape(*n))).count() as f64 / 10_000.0;
        let near = |share: f64, expected: f64| assert!((share - expected).abs() < 0.01, "{share} for {expected}");
        near(count(|shape| shape.fresh), plan.fresh);
        near(count(|shape| shape.post), plan.posts);
        near(count(|shape| shape.slow), plan.posts * plan.slow);
        near(count(|shape| shape.fresh && shape.post), plan.fresh * plan.posts);
    }
}
