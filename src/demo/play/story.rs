//! The story: a first version, a good one, a bad one, and what comes of each.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::commit::{self, Expected};
use super::sampler::Sampler;
use super::statistics::{describe, passes, stretches};
use super::timeline::{Outcome, Timeline, millis};
use crate::api::client::Api;
use crate::api::operations::UnitFilter;
use crate::api::types::{RolloutSummary, UnitHealth, UnitStatus, VersionRef};
use crate::cli::output::View;
use crate::cli::output::time::length;
use crate::demo::error::DemoError;
use crate::demo::processes::Part;
use crate::demo::repository::{Repository, Unit};
use crate::demo::run::{Demo, host, wait};
use crate::domain::id::UnitId;
use crate::domain::strategy::{Step, Strategy};
use crate::load::{Load, Plan, Report};
use crate::net::client::Client;
use crate::protocol::supervisor::GroupList;

/// The unit that the story is about.
const UNIT: &str = "hello/staging/default";
const FIRST: &str = "1.4.1";
const GOOD: &str = "1.5.0";
const BAD: &str = "1.6.0";
/// The share of requests that the bad version fails.
const FAIL_RATE: &str = "0.3";
/// Requests a second.
const RATE: f64 = 200.0;
/// How long a rollout may take, in seconds.
const PATIENCE: u64 = 120;
/// What is aimed at: from the verdict until the bad version gets nothing more.
const AIM: Duration = Duration::from_millis(300);
/// What is still "at once" on a machine that has other things to do.
const AT_ONCE: Duration = Duration::from_millis(1_000);
/// How long an answer that had begun may take: the client's slowest body, and some.
const IN_FLIGHT: Duration = Duration::from_millis(600);
/// How long nothing must happen before a daemon counts as settled, after it was made to look again.
const QUIET: Duration = Duration::from_millis(1_500);

/// Plays it. An error is what kept it from going on; what went on but not as it should stands in the checks.
pub async fn play(demo: &mut Demo, view: Option<View>) -> (Outcome, Option<DemoError>) {
    let mut timeline = Timeline::new(demo.begun, demo.began, view);
    let error = tell(demo, &mut timeline).await.err();
    timeline.outcome.ok &= error.is_none();
    (timeline.finish(), error)
}

async fn tell(demo: &mut Demo, timeline: &mut Timeline) -> Result<(), DemoError> {
    let repository = demo.up().await?;
    for part in [Part::Supervisor, Part::Router, Part::Daemon] {
        timeline.now(format!("{} runs with pid {}", part.name(), demo.processes.pid(part).unwrap_or(0)));
    }
    let unit = repository.unit(UNIT).ok_or_else(|| missing(&repository, UNIT))?.clone();
    let route = unit.desired.route.as_ref().ok_or_else(|| missing(&repository, UNIT))?;
    if let Some(first) = repository.units().first() {
        let took = demo.first_answer(first).await?;
        timeline.outcome.first_answer_ms = Some(millis(took));
        timeline.now(format!("{} answers, {} after the start", first.desired.unit, length(millis(took))));
    }
    demo.first_answer(&unit).await?;
    let load = Load::start(Plan::new(route.listen, host(&unit), RATE));
    timeline.now(format!("a client sends {RATE} requests a second to {UNIT}, whatever becomes of them"));
    let sampler = Sampler::new(
        Client::new(demo.layout.socket(Part::Router.name())),
        demo.api(),
        unit.desired.unit.clone(),
        &load,
    );
    let supervisor = Client::new(demo.layout.socket(Part::Supervisor.name()));
    let mut story =
        Story { unit: &unit, repository: &repository, api: demo.api(), supervisor, sampler: &sampler, timeline };
    tokio::select! {
        told = story.tell() => told?,
        () = sampler.run() => {}
    }
    let report = load.stop().await;
    count(&report, timeline);
    Ok(())
}

fn missing(repository: &Repository, unit: &str) -> DemoError {
    DemoError::Edit { path: repository.path(""), reason: format!("the example has no unit {unit} with a route") }
}

struct Story<'s> {
    unit: &'s Unit,
    repository: &'s Repository,
    api: Api,
    supervisor: Client,
    sampler: &'s Sampler<'s>,
    timeline: &'s mut Timeline,
}

impl Story<'_> {
    async fn tell(&mut self) -> Result<(), DemoError> {
        self.verified(FIRST).await?;
        let good = self.good().await?;
        self.bad(&good).await
    }

    fn id(&self) -> &UnitId {
        &self.unit.desired.unit
    }

    /// Waits until a version is verified.
    async fn verified(&mut self, version: &str) -> Result<(), DemoError> {
        let api = self.api.clone();
        let id = self.id().clone();
        wait(&format!("{version} verified"), PATIENCE, async || {
            let status = status(&api, &id).await?;
            let verified = status.last_verified.as_ref().is_some_and(|it| it.version == version);
            if verified && status.health == UnitHealth::InSync { Ok(()) } else { Err(told(&status)) }
        })
        .await?;
        self.timeline.now(format!("{version} is verified"));
        Ok(())
    }

    /// A good version: the canary goes through its steps to all of the traffic. Returns its commit.
    async fn good(&mut self) -> Result<String, DemoError> {
        let begun = self.sampler.now();
        let release = &self.unit.release;
        self.repository.edit(release, &format!("version: {FIRST}"), &format!("version: {GOOD}"))?;
        let commit = self.repository.clone.publish(&format!("hello {GOOD} to staging")).await?;
        self.timeline.now(format!("{GOOD} is pushed as {}", short(&commit)));
        self.took_up(GOOD).await?;
        let steps = self.steps();
        for weight in &steps {
            self.weighs(GOOD, *weight).await?;
        }
        self.verified(GOOD).await?;
        let found = stretches(&self.sampler.since(begun), GOOD);
        let weights: Vec<_> = steps.iter().map(|weight| format!("{:.0}%", weight * 100.0)).collect();
        self.timeline.check(
            format!("{GOOD} went through {}", weights.join(", ")),
            passes(&found, &steps),
            "as the router read its weights back",
        );
        // Stretches that were too short to be seen by the client prove nothing either way.
        let measured: Vec<_> = found.iter().filter(|stretch| stretch.answers > 0).cloned().collect();
        self.timeline.check(
            "the client got each version as often as the weights said",
            measured.iter().any(|stretch| stretch.weight > 0.0)
                && measured.iter().all(super::statistics::Stretch::fits),
            describe(&measured),
        );
        Ok(commit)
    }

    /// A bad version: caught, traffic back, one commit, and no second rollout.
    async fn bad(&mut self, good: &str) -> Result<(), DemoError> {
        let before = self.instances().await?;
        let rollouts = self.history().await?.len();
        let release = &self.unit.release;
        self.repository.edit(release, &format!("version: {GOOD}"), &format!("version: {BAD}"))?;
        let path = self.repository.path(release);
        let mut text = std::fs::read_to_string(&path)
            .map_err(|error| DemoError::Edit { path: path.clone(), reason: error.to_string() })?;
        text.push_str(&format!("  set: {{ workload: {{ process: {{ env: {{ FAIL_RATE: {FAIL_RATE} }} }} }} }}\n"));
        std::fs::write(&path, text).map_err(|error| DemoError::Edit { path, reason: error.to_string() })?;
        let begun = self.sampler.now();
        let bad = self.repository.clone.publish(&format!("hello {BAD} to staging")).await?;
        self.timeline.now(format!("{BAD}, which fails {FAIL_RATE} of its requests, is pushed as {}", short(&bad)));
        self.took_up(BAD).await?;
        if let Some(weight) = self.steps().first() {
            self.weighs(BAD, *weight).await?;
        }
        let verdict = self.verdict().await?;
        self.back(verdict, begun).await?;
        let (expected, unit) = (self.recorded(&bad, good).await?, self.id().clone());
        let expected_commit = Expected { unit: &unit, bad: &bad, good };
        let proven = commit::prove(&self.repository.clone, &expected_commit, self.timeline).await?;
        self.timeline.check(
            "the daemon follows the revert",
            proven.is_some() && proven == Some(expected),
            proven.as_deref().map(short).unwrap_or_default(),
        );
        self.settled(rollouts, &before).await
    }

    /// Waits until a rollout to a version has begun.
    async fn took_up(&mut self, version: &str) -> Result<(), DemoError> {
        let (api, id) = (self.api.clone(), self.id().clone());
        let at = wait(&format!("a rollout to {version}"), PATIENCE, async || {
            let status = status(&api, &id).await?;
            match status.rollout.as_ref().map(|rollout| &rollout.summary) {
                Some(rollout) if rollout.to.as_deref() == Some(version) => Ok(rollout.started),
                _ => Err(told(&status)),
            }
        })
        .await?;
        self.timeline.at(at, format!("the rollout to {version} begins"));
        Ok(())
    }

    /// Waits until the router gives a version this share of the requests.
    async fn weighs(&mut self, version: &str, weight: f64) -> Result<(), DemoError> {
        let sampler = self.sampler;
        let (api, id) = (self.api.clone(), self.id().clone());
        wait(&format!("{version} at {:.0}%", weight * 100.0), PATIENCE, async || {
            let seen = sampler.since(Duration::ZERO);
            match seen.last() {
                Some(sample) if sample.weight(version) + 1e-6 >= weight => Ok(()),
                Some(sample) => {
                    Err(format!("{:.0}%; {}", sample.weight(version) * 100.0, told(&status(&api, &id).await?)))
                }
                None => Err("the router shows no route".into()),
            }
        })
        .await?;
        self.timeline.now(format!("{version} gets {:.0}% of the requests", weight * 100.0));
        Ok(())
    }

    /// Waits for the daemon's verdict over the bad version: when it fell.
    async fn verdict(&mut self) -> Result<Timestamp, DemoError> {
        let (api, id) = (self.api.clone(), self.id().clone());
        let (at, reason) = wait(&format!("the verdict over {BAD}"), PATIENCE, async || {
            let status = status(&api, &id).await?;
            if let Some(rollback) = &status.rollback {
                return Ok((rollback.started, rollback.reason.clone()));
            }
            match &status.rollout {
                Some(rollout) if rollout.summary.status == "settling" => {
                    Ok((crate::clock::now(), rollout.summary.reason.clone().unwrap_or_default()))
                }
                _ => Err(told(&status)),
            }
        })
        .await?;
        self.timeline.at(at, format!("{BAD} is found to be bad: {reason}"));
        Ok(at)
    }

    /// Waits until the router sends the bad version nothing more, and measures how long that took.
    async fn back(&mut self, verdict: Timestamp, begun: Duration) -> Result<(), DemoError> {
        let sampler = self.sampler;
        let zero = |sample: &super::sampler::Sample| sample.weight(BAD) < 1e-6;
        let since = wait(&format!("all traffic back on {GOOD}"), PATIENCE, async || {
            let samples = sampler.since(begun);
            let after_bad = samples.iter().rposition(|sample| !zero(sample)).map_or(0, |last| last + 1);
            match samples.get(after_bad) {
                Some(sample) if after_bad > 0 => Ok(sample.at),
                _ => Err(format!("{BAD} still gets requests")),
            }
        })
        .await?;
        // The load's clock and the wall clock, read together.
        let (load_now, wall_now) = (sampler.now(), crate::clock::now());
        let back_millis = wall_now.as_millisecond() - i64::try_from(millis(load_now - since)).unwrap_or(0);
        let took = Duration::from_millis(u64::try_from(back_millis - verdict.as_millisecond()).unwrap_or(0));
        self.timeline.outcome.traffic_back_ms = Some(millis(took));
        self.timeline.now(format!("all traffic is back on {GOOD}, {} after the verdict", length(millis(took))));
        let aim = if took <= AIM { "" } else { ", which is more than aimed at" };
        self.timeline.check(
            "the traffic went back at once",
            took <= AT_ONCE,
            format!("{} from the verdict until the router read it back{aim}", length(millis(took))),
        );
        let most = sampler.since(begun).iter().map(|sample| sample.weight(BAD)).fold(0.0, f64::max);
        let first = self.steps().first().copied().unwrap_or(1.0);
        self.timeline.check(
            format!("{BAD} never got more than the canary's first step"),
            most <= first + 1e-6,
            format!("{:.0}% at most", most * 100.0),
        );
        Ok(())
    }

    /// Waits until the daemon follows a commit that is not the bad one any more; it.
    async fn recorded(&mut self, bad: &str, good: &str) -> Result<String, DemoError> {
        let api = self.api.clone();
        let (head, at) = wait("the revert on the remote", PATIENCE, async || {
            let daemon = api.daemon().await.map_err(|error| error.to_string())?;
            match daemon.head {
                Some(head) if head.as_str() != bad && head.as_str() != good => Ok((head.0, crate::clock::now())),
                head => Err(format!("the daemon's head is {head:?}")),
            }
        })
        .await?;
        self.timeline.at(at, format!("the revert is on the remote as {}", short(&head)));
        Ok(head)
    }

    /// The daemon is content with the revert: it starts nothing, now or when it is made to look again.
    async fn settled(&mut self, rollouts: usize, before: &BTreeMap<String, Option<u32>>) -> Result<(), DemoError> {
        let (api, id) = (self.api.clone(), self.id().clone());
        wait("the daemon settled", PATIENCE, async || {
            let status = status(&api, &id).await?;
            let rendered = |it: &Option<VersionRef>| it.as_ref().map(|it| it.rendered.clone());
            let good = status.effective.as_ref().is_some_and(|it| it.version == GOOD);
            let same = rendered(&status.candidate) == rendered(&status.effective)
                && rendered(&status.effective) == rendered(&status.last_verified);
            if good && same && status.health == UnitHealth::InSync { Ok(()) } else { Err(told(&status)) }
        })
        .await?;
        self.timeline.now(format!("the daemon has settled on {GOOD}"));
        api.reconcile(&UnitFilter::default()).await.map_err(|error| DemoError::Waited {
            what: "an answer to `trimtab reconcile`".into(),
            seconds: 0,
            seen: error.to_string(),
        })?;
        tokio::time::sleep(QUIET).await;
        let history = self.history().await?;
        let new: Vec<_> = history.iter().take(history.len().saturating_sub(rollouts)).collect();
        let told: Vec<_> =
            new.iter().map(|it| format!("{} to {}: {}", it.kind, it.to.as_deref().unwrap_or("-"), it.status)).collect();
        self.timeline.check("no second rollout came of it", new.len() == 1, told.join(", "));
        let now = self.instances().await?;
        let kept = before.iter().all(|(instance, pid)| now.get(instance) == Some(pid));
        let pids: Vec<_> = before.values().flatten().map(u32::to_string).collect();
        self.timeline.check(
            format!("the processes of {GOOD} are the ones from before"),
            kept && !before.is_empty(),
            format!("pids {}", pids.join(", ")),
        );
        Ok(())
    }

    /// The shares of the canary's steps, and everything.
    fn steps(&self) -> Vec<f64> {
        let mut weights = match &self.unit.desired.strategy {
            Strategy::Canary(canary) => canary
                .steps
                .iter()
                .filter_map(|step| match step {
                    Step::Weight(percent) => Some(f64::from(*percent) / 100.0),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        weights.push(1.0);
        weights
    }

    /// The unit's rollouts, the newest first, the one that goes on included.
    async fn history(&self) -> Result<Vec<RolloutSummary>, DemoError> {
        let id = self.id();
        wait("the unit's history", 5, async || self.api.history(id, 100).await.map_err(|error| error.to_string())).await
    }

    /// The ready instances and their processes, as the supervisor tells them.
    async fn instances(&self) -> Result<BTreeMap<String, Option<u32>>, DemoError> {
        let id = self.id();
        let list: GroupList = wait("the supervisor's groups", 5, async || {
            self.supervisor.get("/v1/groups").await.map_err(|error| error.to_string())
        })
        .await?;
        let ours = list.groups.into_iter().filter(|group| group.markers.unit == *id && !group.retiring);
        Ok(ours.flat_map(|group| group.instances).map(|instance| (instance.id, instance.pid)).collect())
    }
}

async fn status(api: &Api, unit: &UnitId) -> Result<UnitStatus, String> {
    api.unit(unit).await.map_err(|error| error.to_string())
}

fn told(status: &UnitStatus) -> String {
    format!("{}: {}", crate::cli::units::health_text(status.health), status.message)
}

fn short(commit: &str) -> String {
    crate::cli::units::short_revision(commit).to_owned()
}

/// What the client counted, over everything.
fn count(report: &Report, timeline: &mut Timeline) {
    let bad = report.versions.get(BAD);
    let others: u64 = report.versions.iter().filter(|(name, _)| *name != BAD).map(|(_, it)| it.errors).sum();
    timeline.now(format!("the client counted: {report}"));
    timeline.check(
        "no request was lost",
        report.lost() == 0 && report.sent == report.answered(),
        format!("{} sent, {} answered, {} lost", report.sent, report.answered(), report.lost()),
    );
    timeline.check(
        format!("bad answers came from {BAD} alone"),
        others == 0 && bad.is_some_and(|bad| bad.errors > 0),
        format!("{} bad answers by {BAD}, {others} by others", bad.map_or(0, |bad| bad.errors)),
    );
    if let Some(bad) = bad {
        let others = report.versions.iter().filter(|(name, _)| *name != BAD).map(|(_, it)| it.last).max();
        let quiet = others.unwrap_or_default().saturating_sub(bad.last);
        timeline.check(
            format!("{BAD} answers no more"),
            quiet >= IN_FLIGHT,
            format!("its last answer came {} before the end", length(millis(quiet))),
        );
    }
}
