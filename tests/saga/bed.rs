//! A unit on the fake platform: what the executor does, in a few lines, with a crash wherever a test wants one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use trimtab::adapters::platform::fake::{Behaviour, Failed, Fake};
use trimtab::domain::analysis::{Analysis, Measure, Measurement, Outcome, RouterMeasure};
use trimtab::domain::capabilities::{Capabilities, Split};
use trimtab::domain::desired::{DesiredUnit, RollbackRules, Route, Trigger};
use trimtab::domain::digest::Digest;
use trimtab::domain::gate::{Surroundings, gate, next_effective};
use trimtab::domain::hook::{Hook, Hooks, OnRollback, ScriptSpec};
use trimtab::domain::id::{GroupId, Name, Revision, RollbackId, RolloutId, UnitId};
use trimtab::domain::observed::ObservedUnit;
use trimtab::domain::plan::Plan;
use trimtab::domain::planner::{Blocked, Intent, PlanInput, Rendered, Stable, plan};
use trimtab::domain::rollout::ahead::{Ahead, ahead};
use trimtab::domain::rollout::command::{Command, Refusal};
use trimtab::domain::rollout::event::{Outcome as End, RolloutEvent, Why};
use trimtab::domain::rollout::next_move::{Move, MoveFacts, next_move};
use trimtab::domain::rollout::undo_of;
use trimtab::domain::span::Span;
use trimtab::domain::strategy::{Amount, BlueGreen, Canary, Promote, Recreate, Rolling, Step, Strategy};
use trimtab::domain::unit::event::{Entry, UnitEvent, upcast};
use trimtab::domain::unit::state::UnitState;
use trimtab::domain::workload::{Check, Health, Limits, Probe, ProcessSpec, Stop, Workload};

pub fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

pub fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub fn script() -> ScriptSpec {
    ScriptSpec {
        secrets: Default::default(),
        command: vec!["true".into()],
        env: BTreeMap::new(),
        artifact: None,
        user: None,
        limits: Limits::default(),
        timeout: secs(30),
        output_limit: 1_024,
    }
}

pub fn hook(text: &str, idempotent: bool, on_rollback: OnRollback) -> Hook {
    Hook { name: name(text), script: script(), idempotent, on_rollback }
}

pub fn analysis(count: u32, failure_limit: u32, inconclusive_limit: u32) -> Analysis {
    let measure =
        RouterMeasure { error_rate: None, latency_p50: None, latency_p95: None, latency_p99: None, at_least: 1 };
    Analysis { measure: Measure::Router(measure), interval: secs(10), count, failure_limit, inconclusive_limit }
}

pub fn desired(version: &str, replicas: u32, strategy: Strategy) -> DesiredUnit {
    DesiredUnit {
        unit: "hello/staging/default".parse().unwrap(),
        version: version.into(),
        workload: Workload::Process(ProcessSpec {
            secrets: Default::default(),
            artifact: None,
            command: vec!["hello".into()],
            env: BTreeMap::new(),
            user: None,
            limits: Limits::default(),
            stop: Stop::default(),
            port: true,
            log_limit: None,
        }),
        replicas,
        health: Health {
            readiness: Some(Probe {
                check: Check::Http { path: "/".into() },
                interval: secs(1),
                timeout: secs(1),
                healthy_after: 2,
                unhealthy_after: 3,
            }),
            liveness: None,
            within: secs(60),
            min_ready: Span::ZERO,
        },
        route: Some(Route {
            listen: "127.0.0.1:8080".parse().unwrap(),
            host: Some("hello.localhost".into()),
            path: "/".into(),
            sticky: None,
            drain: secs(30),
            timeout: secs(30),
            tls: None,
            upstream: Default::default(),
            testers: Vec::new(),
        }),
        strategy,
        analyses: BTreeMap::from([(name("errors"), analysis(3, 0, 2))]),
        hooks: Hooks::default(),
        rollback: RollbackRules {
            on: BTreeSet::from([Trigger::Unhealthy, Trigger::Analysis, Trigger::Hook]),
            window: secs(300),
            gradual: None,
        },
        depends_on: Vec::new(),
        prune: true,
        wave: 0,
    }
}

pub fn rolling() -> Strategy {
    Strategy::Rolling(Rolling { max_surge: Amount::Percent(25), max_unavailable: Amount::Percent(25) })
}

pub fn recreate() -> Strategy {
    Strategy::Recreate(Recreate { hold: secs(30) })
}

pub fn blue_green(promote: Promote) -> Strategy {
    Strategy::BlueGreen(BlueGreen {
        preview_host: Some("preview.localhost".into()),
        preview_replicas: Some(1),
        pre_promotion: vec![name("errors")],
        promote,
        post_promotion: vec![name("errors")],
        scale_down_delay: secs(30),
    })
}

pub fn canary(steps: Vec<Step>) -> Strategy {
    Strategy::Canary(Canary { steps, gate: Vec::new(), scale_down_delay: secs(30) })
}

pub fn usual_steps() -> Vec<Step> {
    vec![
        Step::Weight(10),
        Step::Pause(Some(secs(30))),
        Step::Analysis(name("errors")),
        Step::Weight(50),
        Step::Pause(Some(secs(60))),
    ]
}

pub fn capabilities() -> Capabilities {
    Capabilities {
        versioned_groups: true,
        in_place: false,
        surge: true,
        split: Split::Weights(1_000_000),
        hold: true,
        preview: true,
        drain: true,
        measures: true,
        runs: true,
    }
}

/// Where the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the event is written.
    BeforeAppend,
    /// Right after, before any effect.
    AfterAppend,
    /// After the effect that follows it, before that is written down.
    AfterEffect,
}

/// The process has died.
#[derive(Debug)]
pub struct Died;

type MeasureFn = Box<dyn Fn(&Name, Timestamp) -> Outcome>;

/// One unit, its journal, its blobs, its platform.
pub struct Bed {
    pub fake: Fake,
    pub state: UnitState,
    pub journal: Vec<String>,
    pub plans: BTreeMap<Digest, Plan>,
    pub blobs: BTreeMap<Digest, DesiredUnit>,
    pub capabilities: Capabilities,
    pub measures: MeasureFn,
    pub stable_passes: bool,
    pub crash: Option<(usize, When)>,
    pub waits: String,
    idle: bool,
    pub appends: usize,
    pub cap: u32,
    pub asked: Option<Timestamp>,
    unit: UnitId,
    revision: u32,
}

impl Bed {
    pub fn new() -> Self {
        Bed {
            fake: Fake::new(start()),
            state: UnitState::default(),
            journal: Vec::new(),
            plans: BTreeMap::new(),
            blobs: BTreeMap::new(),
            capabilities: capabilities(),
            measures: Box::new(|_, _| Outcome::Success),
            stable_passes: true,
            crash: None,
            waits: String::new(),
            idle: false,
            appends: 0,
            cap: 3,
            asked: None,
            unit: "hello/staging/default".parse().unwrap(),
            revision: 0,
        }
    }

    /// With one version verified.
    pub fn running(desired: &DesiredUnit) -> Self {
        let mut bed = Bed::new();
        bed.want(desired);
        bed.settle();
        assert_eq!(bed.verified().as_deref(), Some(desired.version.as_str()), "{}", bed.waits);
        bed.fake.effects.clear();
        bed
    }

    /// Git asks for it.
    pub fn want(&mut self, desired: &DesiredUnit) {
        self.revision += 1;
        let rendered = desired.digest();
        self.blobs.insert(rendered.clone(), desired.clone());
        let revision = Revision(format!("{:040}", self.revision));
        let version = desired.version.clone();
        self.must(UnitEvent::CandidateSeen { revision, rendered, version });
    }

    pub fn want_nothing(&mut self) {
        self.revision += 1;
        self.must(UnitEvent::CandidateGone { revision: Revision(format!("{:040}", self.revision)), prune: true });
    }

    fn must(&mut self, event: UnitEvent) {
        let crash = self.crash.take();
        self.append(vec![event]).unwrap();
        self.crash = crash;
    }

    pub fn command(&mut self, command: Command) -> Result<(), Refusal> {
        let Some(rollout) = self.state.running() else { return Err(Refusal("no rollout is under way".into())) };
        let event = rollout.command(&self.plans[&rollout.plan], &command, "ada")?;
        self.must(UnitEvent::Rollout(event));
        Ok(())
    }

    pub fn event(&mut self, event: UnitEvent) {
        self.must(event);
    }

    pub fn verified(&self) -> Option<String> {
        let verified = self.state.last_verified.as_ref()?;
        Some(self.blobs[&verified.rendered].version.clone())
    }

    /// What the group of a desired state gets.
    pub fn weight(&self, desired: &DesiredUnit) -> u32 {
        self.fake.weights().get(&desired.group_id(0)).copied().unwrap_or(0)
    }

    pub fn size(&self, desired: &DesiredUnit) -> u32 {
        self.fake.sizes().get(&desired.group_id(0)).map_or(0, |(size, _)| *size)
    }

    pub fn group(&self, desired: &DesiredUnit) -> GroupId {
        desired.group_id(0)
    }

    /// The name of the phase it stands in.
    pub fn phase(&self) -> String {
        let Some(rollout) = self.state.running() else { return String::new() };
        let phase = rollout.phase.as_ref().and_then(|phase| self.plans[&rollout.plan].phase(phase.id));
        phase.map(|phase| phase.name.clone()).unwrap_or_default()
    }

    pub fn plan(&self) -> &Plan {
        &self.plans[&self.state.rollout.as_ref().unwrap().plan]
    }

    pub fn outcome(&self) -> Option<&End> {
        self.state.rollout.as_ref().and_then(|rollout| rollout.outcome())
    }

    /// Runs until nothing is left to do but what time or people bring, for at most so long.
    pub fn run_for(&mut self, span: Span) {
        let until = trimtab::domain::rollout::clock::after(self.fake.now, span);
        self.run_until(until, |_| false);
        self.fake.pass_to(until);
    }

    /// Runs until a condition holds; fails where it never does.
    pub fn run_to(&mut self, what: &str, condition: impl Fn(&Bed) -> bool) {
        let until = trimtab::domain::rollout::clock::after(self.fake.now, secs(100_000));
        assert!(
            self.run_until(until, &condition) || condition(self),
            "never {what}: {} ({})",
            self.waits,
            self.phase()
        );
    }

    /// Runs until nothing happens any more.
    pub fn settle(&mut self) {
        let until = trimtab::domain::rollout::clock::after(self.fake.now, secs(100_000));
        self.run_until(until, |_| false);
        self.check();
    }

    /// No request was lost on the way.
    pub fn check(&self) {
        assert!(self.fake.violations.is_empty(), "{:#?}\n{:#?}", self.fake.violations, self.fake.effects);
    }

    fn run_until(&mut self, until: Timestamp, condition: impl Fn(&Bed) -> bool) -> bool {
        for _ in 0..20_000 {
            let next = match self.step() {
                Err(Died) => {
                    self.resume();
                    continue;
                }
                Ok(next) => next,
            };
            if condition(self) {
                return true;
            }
            match next {
                _ if self.idle => return false,
                Some(next) if next <= until => self.fake.pass_to(next),
                Some(_) => return false,
                None => {}
            }
        }
        panic!("no end: {} in {}\n{}", self.waits, self.phase(), self.journal[self.journal.len() - 20..].join("\n"));
    }

    /// Nothing happens any more by itself.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// A new process: nothing is left but the journal, and a fold of it.
    pub fn resume(&mut self) {
        self.crash = None;
        let mut state = UnitState::default();
        for line in &self.journal {
            let entry: Entry = serde_json::from_str(line).unwrap();
            state.apply(&upcast(entry.version, entry.event).unwrap(), entry.at).unwrap();
        }
        self.state = state;
    }

    fn append(&mut self, events: Vec<UnitEvent>) -> Result<(), Died> {
        self.appends += 1;
        if self.crash == Some((self.appends, When::BeforeAppend)) {
            return Err(Died);
        }
        for event in events {
            self.state.apply(&event, self.fake.now).unwrap_or_else(|error| panic!("{error}: {event:?}"));
            self.journal.push(serde_json::to_string(&Entry::new(self.fake.now, &event)).unwrap());
        }
        if self.crash == Some((self.appends, When::AfterAppend)) { Err(Died) } else { Ok(()) }
    }

    fn after_effect(&self) -> Result<(), Died> {
        if self.crash == Some((self.appends, When::AfterEffect)) { Err(Died) } else { Ok(()) }
    }

    fn observe(&self) -> ObservedUnit {
        let mut observed = self.fake.observe();
        if self.fake.blind.is_none()
            && let Some(rollout) = &self.state.rollout
        {
            for hook in rollout.hooks.values() {
                observed.runs.insert(hook.run.clone(), self.fake.observe_run(&hook.run));
            }
        }
        observed
    }

    /// One step; when to come again, where it only waits.
    pub fn step(&mut self) -> Result<Option<Timestamp>, Died> {
        self.waits.clear();
        self.idle = false;
        if self.state.suspended.is_some() {
            return Ok(self.later(None));
        }
        if let Some(rollout) = self.state.running() {
            return self.advance(rollout.plan.clone());
        }
        let held = gate(&self.state, &Surroundings::default());
        if let Some(effective) = next_effective(&self.state, &held) {
            self.append(vec![UnitEvent::EffectiveSet { revision: effective.revision, rendered: effective.rendered }])?;
            return Ok(None);
        }
        match self.make_plan(&self.observe()) {
            Err(reason) => {
                self.waits = reason.to_string();
                Ok(self.later(None))
            }
            Ok(plan) if plan.is_empty() => match self.converged() {
                Some(event) => self.append(vec![event]).map(|()| None),
                None => Ok(self.later(None)),
            },
            Ok(plan) => {
                let id = RolloutId(format!("r{}", self.appends));
                let (kind, to, fallback) = (plan.kind, plan.to.clone(), plan.fallback().cloned());
                let event = UnitEvent::RolloutStarted { id, plan: plan.digest(), kind, to, fallback, cause: None };
                self.plans.insert(plan.digest(), plan);
                self.append(vec![event])?;
                Ok(None)
            }
        }
    }

    /// What runs already is what is asked for: it counts as verified.
    fn converged(&self) -> Option<UnitEvent> {
        let effective = self.state.effective.clone()?;
        let rendered = effective.rendered?;
        let known = self.state.last_verified.as_ref().is_some_and(|verified| verified.rendered == rendered);
        let (revision, restarts) = (effective.revision, self.state.restarts);
        (!known).then_some(UnitEvent::Verified { revision, rendered, restarts, undo: Vec::new() })
    }

    pub fn make_plan(&self, observed: &ObservedUnit) -> Result<Plan, Blocked> {
        let effective = self.state.effective.as_ref().and_then(|effective| effective.rendered.as_ref());
        let stable = self.state.serving.as_ref();
        plan(&PlanInput {
            unit: &self.unit,
            desired: effective.map(|digest| Rendered { desired: &self.blobs[digest], digest }),
            restarts: self.state.restarts,
            stable: stable.map(|one| Stable {
                rendered: Rendered { desired: &self.blobs[&one.rendered], digest: &one.rendered },
                restarts: one.restarts,
            }),
            observed,
            capabilities: &self.capabilities,
            prediction: &Default::default(),
            intent: Intent::Forward,
        })
    }

    /// When something happens by itself next.
    fn later(&mut self, until: Option<Timestamp>) -> Option<Timestamp> {
        let next = self.fake.next_change().into_iter().chain(until).filter(|at| *at > self.fake.now).min();
        self.idle = next.is_none();
        next
    }

    fn advance(&mut self, digest: Digest) -> Result<Option<Timestamp>, Died> {
        let plan = self.plans[&digest].clone();
        let Some(rollout) = self.state.running() else { return Ok(None) };
        let wanted = match (&self.state.candidate, self.state.effective.as_ref()) {
            (Some(_), Some(effective)) => {
                let next = next_effective(&self.state, &gate(&self.state, &Surroundings::default()));
                next.map(|next| next.rendered).filter(|next| *next != effective.rendered)
            }
            _ => None,
        };
        let facts = MoveFacts {
            now: self.fake.now,
            asked: self.asked,
            superseded: wanted,
            recent_rollbacks: &self.state.rollbacks,
            rollback_cap: self.cap,
        };
        let observed = self.observe();
        let next = next_move(&plan, rollout, &observed, &facts);
        let again = next_move(&plan, rollout, &observed, &facts);
        assert_eq!(next, again, "a move must be the same when it is asked for again");
        let Ahead { records, next: after } = ahead(&plan, rollout, &observed, &facts);
        assert_eq!(
            records.into_iter().next().map_or(after, Move::Record),
            next,
            "what is appended at once begins with it"
        );
        match next {
            Move::Perform(action) => {
                self.rollout(RolloutEvent::ActionStarted { action: action.clone() })?;
                let result = self.fake.perform(&action);
                self.after_effect()?;
                self.rollout(match result {
                    Ok(()) => RolloutEvent::ActionSucceeded {},
                    Err(Failed { reason, for_good }) => RolloutEvent::ActionFailed { reason, for_good },
                })?;
            }
            Move::StartRun { call, run, attempt } => {
                self.rollout(RolloutEvent::HookStarted { call: call.at.clone(), run: run.clone(), attempt })?;
                self.fake.start_run(&run, &call.at);
                self.after_effect()?;
            }
            Move::Record(RolloutEvent::Ended { outcome }) => self.end(&plan, outcome)?,
            Move::Record(event) => self.rollout(event)?,
            Move::BeginAnalysis { key, .. } => self.rollout(RolloutEvent::AnalysisBegun { key, baseline: None })?,
            Move::Measure { key, name, .. } => {
                let outcome = (self.measures)(&name, self.fake.now);
                let measurement = Measurement { outcome, detail: format!("{outcome:?}") };
                self.rollout(RolloutEvent::Measured { key, measurement })?;
            }
            Move::CheckStable { .. } => {
                let detail = "as it was told".into();
                self.rollout(RolloutEvent::StableChecked { passes: self.stable_passes, detail })?;
            }
            Move::Settle { phase, why } => {
                let mut events = Vec::new();
                if let Why::Failed(failure) = &why {
                    events.extend(self.decide(&plan, failure.trigger, &failure.reason));
                }
                events.push(UnitEvent::Rollout(RolloutEvent::SettleBegun { phase, why }));
                self.append(events)?;
            }
            Move::Wait { until, reason } => {
                self.waits = reason;
                return Ok(self.later(until));
            }
            Move::TryAgain { at, reason } => {
                self.waits = reason;
                return Ok(self.later(Some(at)));
            }
            Move::Stuck(reason) => {
                self.waits = reason;
                return Ok(self.later(None));
            }
            Move::Done(_) => {}
        }
        Ok(None)
    }

    fn rollout(&mut self, event: RolloutEvent) -> Result<(), Died> {
        self.append(vec![UnitEvent::Rollout(event)])
    }

    fn decide(&self, plan: &Plan, trigger: Trigger, reason: &str) -> Option<UnitEvent> {
        let (bad, good) = (self.state.effective.as_ref()?, self.state.serving.as_ref()?);
        Some(UnitEvent::RollbackDecided {
            id: RollbackId(format!("back-{}", plan.digest().short())),
            trigger: Some(trigger),
            reason: reason.into(),
            bad: bad.rendered.clone()?,
            bad_revision: bad.revision.clone(),
            good: good.rendered.clone(),
            good_revision: good.revision.clone(),
        })
    }

    fn end(&mut self, plan: &Plan, outcome: End) -> Result<(), Died> {
        let mut events = vec![UnitEvent::Rollout(RolloutEvent::Ended { outcome: outcome.clone() })];
        let effective = self.state.effective.clone().unwrap();
        let rollout = self.state.running().unwrap();
        match outcome {
            End::Verified => match effective.rendered {
                None => events.push(UnitEvent::Removed {}),
                Some(rendered) => events.push(UnitEvent::Verified {
                    revision: effective.revision,
                    rendered,
                    restarts: self.state.restarts,
                    undo: undo_of(plan, rollout),
                }),
            },
            End::RolledBack(failure) => {
                let good = self.state.serving.clone().unwrap();
                let rendered = effective.rendered.unwrap();
                events.push(UnitEvent::Quarantined { rendered, reason: failure.reason });
                events.push(UnitEvent::EffectiveSet { revision: good.revision, rendered: Some(good.rendered) });
            }
            End::Aborted { .. } => {
                let good = self.state.serving.clone();
                events.push(UnitEvent::EffectiveSet {
                    revision: effective.revision,
                    rendered: good.map(|good| good.rendered),
                });
            }
            End::Superseded => {}
        }
        self.append(events)
    }
}

/// Never becomes ready.
pub fn broken() -> Behaviour {
    Behaviour { ready_after: None, ..Behaviour::default() }
}

/// Exits again and again.
pub fn crashing() -> Behaviour {
    Behaviour { crash_after: Some(Span::from_millis(500)), ready_after: None, ..Behaviour::default() }
}
