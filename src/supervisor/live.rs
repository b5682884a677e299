//! The process of an instance while it runs: its shim, its health, and the tasks that check it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::check::{self, Target};
use super::environment::{self, BuiltIns};
use super::identity::Identity;
use super::launch::Attempt;
use super::probe::Verdict;
use super::process;
use super::secrets::deliver::Handed;
use super::shim::records::{AppRecord, StopCause, StopRequest};
use super::store::StoreError;
use crate::domain::workload::{Check, Health, Probe};
use crate::protocol::supervisor::GroupSpec;
use crate::secrets::Redactor;

/// Until the first success a check is repeated this soon, if its interval is longer: an app that starts quickly
/// serves quickly.
const WHILE_STARTING: Duration = Duration::from_millis(200);
/// Between looks for a program that an adopted shim is about to start.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The two probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Decides over traffic and progress.
    Readiness,
    /// Decides over a restart.
    Liveness,
}

impl ProbeKind {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            ProbeKind::Readiness => "readiness",
            ProbeKind::Liveness => "liveness",
        }
    }
}

/// What happens to a process.
#[derive(Debug)]
pub enum Event {
    /// Its shim is gone.
    Gone,
    /// The program of an adopted shim is known now.
    Begun,
    /// A check was made.
    Checked(ProbeKind, Result<(), String>),
}

/// A process and its health.
pub struct Live {
    attempt: Attempt,
    app: Option<AppRecord>,
    stopping: Option<StopCause>,
    begun: Instant,
    health: Health,
    readiness: Option<Verdict>,
    liveness: Option<Verdict>,
    /// Since when it is ready without interruption.
    ready_since: Option<Instant>,
    /// It succeeded in some check: from now on it may be held against it that it does not.
    answered: bool,
    failure: Option<String>,
    checks: mpsc::Receiver<(ProbeKind, Result<(), String>)>,
    /// The tasks that check; they end with this value.
    checkers: JoinSet<()>,
}

impl Live {
    /// Watches a process. One that was `ready` under an earlier supervisor stays so until its checks fail.
    pub fn new(attempt: Attempt, spec: &GroupSpec, built_ins: &BuiltIns, handed: Handed, ready: bool) -> Live {
        let stopping = attempt.stopping().map(|stop| stop.cause);
        if stopping.is_some()
            && let Err(error) = attempt.remind()
        {
            tracing::error!(group = %spec.key, %error, "a shim can't be reminded of its stop");
        }
        let app = attempt.app();
        let now = Instant::now();
        let age = app.as_ref().map_or(Duration::ZERO, |app| process::age(app.process));
        let begun = now.checked_sub(age).unwrap_or(now);
        let health = spec.health.clone();
        let long_ago = now.checked_sub(health.min_ready.duration()).unwrap_or(now);
        let ready_since = match (ready, &health.readiness) {
            (true, _) => Some(long_ago.min(begun)),
            // Without a check it counts from its start.
            (false, None) => Some(begun),
            (false, Some(_)) => None,
        };
        let (sender, checks) = mpsc::channel(4);
        let mut live = Live {
            stopping,
            readiness: health.readiness.as_ref().map(|probe| Verdict::new(probe, ready)),
            liveness: health.liveness.as_ref().map(|probe| Verdict::new(probe, true)),
            attempt,
            app,
            begun,
            health,
            ready_since,
            answered: ready,
            failure: None,
            checks,
            checkers: JoinSet::new(),
        };
        live.start_checks(built_ins, handed, &sender);
        live
    }

    fn start_checks(
        &mut self,
        built_ins: &BuiltIns,
        handed: Handed,
        sender: &mpsc::Sender<(ProbeKind, Result<(), String>)>,
    ) {
        // A launch that can't be read any more leaves the instance running and unready.
        let Some(launch) = self.attempt.launch().ok().flatten() else { return };
        let probes = [
            (ProbeKind::Readiness, self.health.readiness.clone()),
            (ProbeKind::Liveness, self.health.liveness.clone()),
        ];
        // Without its user it was not started either, and there is nothing to check.
        let Ok(identity) = Identity::of(launch.user.as_deref()) else { return };
        let env = environment::complete(launch.env, identity.home());
        let (port, redactor) = (built_ins.port, Redactor::knowing(&handed.hide));
        let (dir, cgroup, secret) = (launch.dir, launch.cgroup, handed.env);
        let target = Arc::new(Target { port, dir, env, secret, redactor, identity, cgroup });
        for (kind, probe) in probes {
            if let Some(mut probe) = probe {
                if let Check::Exec { command } = &mut probe.check {
                    command.iter_mut().for_each(|part| *part = built_ins.substitute(part));
                }
                self.checkers.spawn(keep_checking(kind, probe, target.clone(), sender.clone(), self.answered));
            }
        }
    }

    /// Waits for what happens next. May be dropped and called again.
    pub async fn event(&mut self) -> Event {
        loop {
            let unknown = self.app.is_none();
            tokio::select! {
                () = self.attempt.gone() => return Event::Gone,
                Some((probe, outcome)) = self.checks.recv() => return Event::Checked(probe, outcome),
                () = tokio::time::sleep(LOOK_AGAIN), if unknown => {}
            }
            self.app = self.attempt.app();
            if self.app.is_some() {
                return Event::Begun;
            }
        }
    }

    /// Takes the outcome of a check.
    pub fn observe(&mut self, probe: ProbeKind, outcome: Result<(), String>) {
        self.answered |= outcome.is_ok();
        let counts = self.answered || self.begun.elapsed() >= self.health.within.duration();
        let success = outcome.is_ok();
        match probe {
            ProbeKind::Readiness => {
                self.failure = outcome.err();
                if let Some(verdict) = &mut self.readiness
                    && verdict.observe(success)
                {
                    self.ready_since = verdict.healthy().then(Instant::now);
                }
            }
            ProbeKind::Liveness => {
                if let Some(verdict) = &mut self.liveness
                    && counts
                    && verdict.observe(success)
                {
                    self.failure = outcome.err();
                }
            }
        }
    }

    /// Asks for its stop.
    pub fn stop(&mut self, request: StopRequest) -> Result<(), StoreError> {
        self.attempt.stop(&request)?;
        self.stopping = Some(request.cause);
        Ok(())
    }

    /// Why it is being stopped, if it is.
    pub fn stopping(&self) -> Option<StopCause> {
        self.stopping
    }

    /// The verdict of the liveness check.
    pub fn alive(&self) -> bool {
        self.liveness.as_ref().is_none_or(Verdict::healthy)
    }

    /// The main process, once it is known.
    pub fn app(&self) -> Option<&AppRecord> {
        self.app.as_ref()
    }

    /// When it will be available, or became so, if it stays ready.
    pub fn available_at(&self) -> Option<Instant> {
        let since = self.ready_since.filter(|_| self.stopping.is_none() && self.app.is_some())?;
        Some(since + self.health.min_ready.duration())
    }

    /// Whether it may serve.
    pub fn available(&self, now: Instant) -> bool {
        self.available_at().is_some_and(|at| at <= now)
    }

    /// What its last check saw instead of success.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }
}

async fn keep_checking(
    kind: ProbeKind,
    probe: Probe,
    target: Arc<Target>,
    sender: mpsc::Sender<(ProbeKind, Result<(), String>)>,
    mut succeeded: bool,
) {
    let interval = probe.interval.duration();
    loop {
        let outcome = check::check(&probe.check, &target, probe.timeout.duration()).await;
        succeeded |= outcome.is_ok();
        if sender.send((kind, outcome)).await.is_err() {
            return;
        }
        tokio::time::sleep(if succeeded { interval } else { interval.min(WHILE_STARTING) }).await;
    }
}
