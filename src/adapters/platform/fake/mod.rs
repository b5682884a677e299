//! A platform, its data planes and its runs in memory: deterministic, on its own clock, and as faulty as a test wants it.
//!
//! It is the reference for what the real ones do: absolute, idempotent effects; instances that take time to become ready and
//! to end; planes that confirm late or only in part; requests in flight that drain. It also watches: whatever
//! would have lost a request is written down as a [violation](Fake::violations).

mod group;
mod route;

use std::collections::BTreeMap;

use jiff::Timestamp;

use self::group::FakeGroup;
use self::route::FakeRoute;
use crate::domain::action::{Action, Which};
use crate::domain::id::{GroupId, RunId};
use crate::domain::observed::{ObservedRun, ObservedUnit, Seen};
use crate::domain::rollout::clock::after;
use crate::domain::span::Span;

pub use self::group::Behaviour;

/// One unit's platform.
#[derive(Clone, Debug)]
pub struct Fake {
    /// Its clock.
    pub now: Timestamp,
    /// How instances of a release's version behave; the default for those that are not here.
    pub behaviours: BTreeMap<String, Behaviour>,
    /// How runs end, by the part of their id that names the hook's place (`before-0`).
    pub scripts: BTreeMap<String, Script>,
    /// From a setting of a route until the planes confirm it; meanwhile they differ.
    pub confirm: Span,
    /// How long requests on an instance that was taken out go on.
    pub drain: Span,
    /// So many effects fail before one succeeds.
    pub failures: u32,
    /// So often groups of a version are refused for good, whatever that means: what was refused may come about after all.
    pub refusals: BTreeMap<String, u32>,
    /// Nothing can be seen.
    pub blind: Option<String>,
    /// What carries the requests has not confirmed yet where they go.
    pub unconfirmed: Option<String>,
    /// What would have lost a request.
    pub violations: Vec<String>,
    /// Every effect that was carried out.
    pub effects: Vec<Action>,
    /// How often each run was really started.
    pub started: BTreeMap<RunId, u32>,
    groups: BTreeMap<GroupId, FakeGroup>,
    routes: BTreeMap<Which, FakeRoute>,
    runs: BTreeMap<RunId, (Timestamp, Script)>,
    next_port: u16,
}

/// Why an effect was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// In words.
    pub reason: String,
    /// Waiting changes nothing.
    pub for_good: bool,
}

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Script {
    /// How long it takes.
    pub takes: Span,
    /// How it ends.
    pub end: ObservedRun,
}

impl Default for Script {
    fn default() -> Self {
        Script { takes: Span::from_secs(1), end: ObservedRun::Exited(0) }
    }
}

impl Fake {
    /// Nothing runs yet.
    pub fn new(now: Timestamp) -> Self {
        Fake {
            now,
            behaviours: BTreeMap::new(),
            scripts: BTreeMap::new(),
            confirm: Span::ZERO,
            drain: Span::ZERO,
            failures: 0,
            refusals: BTreeMap::new(),
            blind: None,
            unconfirmed: None,
            violations: Vec::new(),
            effects: Vec::new(),
            started: BTreeMap::new(),
            groups: BTreeMap::new(),
            routes: BTreeMap::new(),
            runs: BTreeMap::new(),
            next_port: 20_000,
        }
    }

    /// Carries out one effect.
    ///
    /// # Errors
    /// A failure that was asked for; nothing has happened then.
    pub fn perform(&mut self, action: &Action) -> Result<(), Failed> {
        if self.failures > 0 {
            self.failures -= 1;
            return Err(Failed { reason: "the fake was told to fail".into(), for_good: false });
        }
        if let Action::EnsureGroup { source, .. } = action
            && let Some(left) = self.refusals.get_mut(&source.version).filter(|left| **left > 0)
        {
            *left -= 1;
            return Err(Failed { reason: "the fake was told to refuse it".into(), for_good: true });
        }
        self.effects.push(action.clone());
        match action {
            Action::EnsureGroup { group, source, replicas } => {
                let behaviour = self.behaviours.get(&source.version).cloned().unwrap_or_default();
                let made = self.groups.entry(group.clone()).or_insert_with(|| FakeGroup::new(source.clone()));
                made.resize(group, source, *replicas, self.now, &behaviour, &mut self.next_port);
            }
            Action::RetireGroup { group } => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.retire(self.now);
                }
            }
            Action::SetTraffic { which, traffic } => {
                let before = self.ready_routed(*which);
                let route = self.routes.entry(*which).or_insert_with(|| FakeRoute::new(traffic.clone()));
                let added = route.set(traffic.clone(), self.now, self.confirm, self.drain);
                self.check_added(*which, &added, before);
            }
            Action::RemoveTraffic { which } => {
                self.routes.remove(which);
            }
        }
        self.check_routed();
        Ok(())
    }

    /// Starts a run, unless its id is known.
    pub fn start_run(&mut self, run: &RunId, at: &str) {
        if !self.runs.contains_key(run) {
            *self.started.entry(run.clone()).or_default() += 1;
            let script = self.scripts.get(at).cloned().unwrap_or_default();
            self.runs.insert(run.clone(), (self.now, script));
        }
    }

    /// What is seen of it all.
    pub fn observe(&self) -> ObservedUnit {
        if let Some(reason) = &self.blind {
            let runs = self.runs.keys().map(|run| (run.clone(), Seen::Unknown(reason.clone()))).collect();
            return ObservedUnit {
                groups: Seen::Unknown(reason.clone()),
                traffic: Seen::Unknown(reason.clone()),
                preview: Seen::Unknown(reason.clone()),
                runs,
            };
        }
        let seen = |which| match self.routes.get(&which) {
            None => Seen::Known(None),
            Some(route) => route.observe(self.now),
        };
        let mut traffic = seen(Which::Main);
        if let Seen::Known(Some(route)) = &mut traffic {
            route.unconfirmed.clone_from(&self.unconfirmed);
        }
        ObservedUnit {
            groups: Seen::Known(self.groups.iter().map(|(id, group)| group.observe(id, self.now)).collect()),
            traffic,
            preview: seen(Which::Preview),
            runs: self
                .runs
                .iter()
                .map(|(run, (at, script))| (run.clone(), Seen::Known(self.run(*at, script))))
                .collect(),
        }
    }

    /// What is seen of a run, also of one that was never started.
    pub fn observe_run(&self, run: &RunId) -> Seen<ObservedRun> {
        match self.runs.get(run) {
            None => Seen::Known(ObservedRun::NotStarted),
            Some((at, script)) => Seen::Known(self.run(*at, script)),
        }
    }

    fn run(&self, at: Timestamp, script: &Script) -> ObservedRun {
        if after(at, script.takes) <= self.now { script.end.clone() } else { ObservedRun::Running }
    }

    /// Lets time pass up to an instant: instances become ready, crash, come back, end.
    pub fn pass_to(&mut self, until: Timestamp) {
        while let Some(next) = self.next_change().filter(|next| *next <= until) {
            self.now = next;
            self.settle();
        }
        self.now = self.now.max(until);
        self.settle();
    }

    /// Lets time pass.
    pub fn pass(&mut self, span: Span) {
        self.pass_to(after(self.now, span));
    }

    /// When something changes by itself.
    pub fn next_change(&self) -> Option<Timestamp> {
        let groups = self.groups.values().filter_map(|group| group.next_change(self.now));
        let routes = self.routes.values().filter_map(|route| route.next_change(self.now));
        let runs = self.runs.values().map(|(at, script)| after(*at, script.takes));
        groups.chain(routes).chain(runs).filter(|at| *at > self.now).min()
    }

    fn settle(&mut self) {
        let now = self.now;
        for group in self.groups.values_mut() {
            let version = group.version().to_owned();
            group.settle(now, &self.behaviours.get(&version).cloned().unwrap_or_default());
        }
        self.groups.retain(|_, group| !group.is_gone());
        self.check_routed();
    }

    /// Stops an instance as a crash would; it comes back by its behaviour.
    pub fn crash(&mut self, group: &GroupId, slot: u32) {
        if let Some(seen) = self.groups.get_mut(group) {
            let behaviour = self.behaviours.get(seen.version()).cloned().unwrap_or_default();
            seen.crash(slot, self.now, &behaviour, "exit code 1");
        }
    }

    /// Everything stops at once and comes back by its behaviour, routes included.
    pub fn reboot(&mut self) {
        let groups: Vec<(GroupId, u32)> =
            self.groups.iter().map(|(id, group)| (id.clone(), group.replicas())).collect();
        for (group, replicas) in groups {
            (0..replicas).for_each(|slot| self.crash(&group, slot));
        }
    }

    /// Whoever probes starts anew: for so long nothing counts as ready, though all processes run on.
    pub fn doubt(&mut self, span: Span) {
        let until = after(self.now, span);
        self.groups.values_mut().for_each(|group| group.doubt(until));
    }

    /// A group is lost without a trace.
    pub fn lose(&mut self, group: &GroupId) {
        self.groups.remove(group);
    }

    /// The groups, their sizes, and how many instances of each are ready.
    pub fn sizes(&self) -> BTreeMap<GroupId, (u32, u32)> {
        let size = |group: &FakeGroup| (group.replicas(), group.ready(self.now));
        self.groups.iter().filter(|(_, group)| !group.retiring()).map(|(id, group)| (id.clone(), size(group))).collect()
    }

    /// The weights of the main route; empty where there is none or it holds.
    pub fn weights(&self) -> BTreeMap<GroupId, u32> {
        let route = self.routes.get(&Which::Main).filter(|route| route.asked().hold.is_none());
        route
            .map(|route| route.asked().backends.iter().map(|(id, b)| (id.clone(), b.weight)).collect())
            .unwrap_or_default()
    }

    /// How many ready instances the main route leads to.
    pub fn serving(&self) -> u32 {
        self.ready_routed(Which::Main)
    }

    /// Whether the main route makes requests wait.
    pub fn holds(&self) -> bool {
        self.routes.get(&Which::Main).is_some_and(|route| route.asked().hold.is_some())
    }

    fn ready_routed(&self, which: Which) -> u32 {
        let Some(route) = self.routes.get(&which) else { return 0 };
        let weighted = route.asked().backends.iter().filter(|(_, backend)| backend.weight > 0);
        let endpoints = weighted.flat_map(|(group, backend)| backend.endpoints.keys().map(move |id| (group, id)));
        let ready =
            endpoints.filter(|(group, id)| self.groups.get(*group).is_some_and(|seen| seen.serves(id, self.now)));
        u32::try_from(ready.count()).unwrap_or(u32::MAX)
    }

    /// An endpoint that can't serve was given requests although something could.
    fn check_added(&mut self, which: Which, added: &[(GroupId, String)], before: u32) {
        for (group, id) in added {
            let serves = self.groups.get(group).is_some_and(|seen| seen.serves(id, self.now));
            if !serves {
                self.violations.push(format!("{which}: {id} was given requests before it was ready"));
            }
        }
        if before > 0 && self.ready_routed(which) == 0 && !self.holds() {
            let empty = self.routes.get(&which).is_some_and(|route| route.asked().backends.is_empty());
            if !empty {
                self.violations.push(format!("{which}: all requests go to nothing that is ready"));
            }
        }
    }

    /// An instance is being stopped while requests are sent to it or are in flight on it.
    fn check_routed(&mut self) {
        for (which, route) in &self.routes {
            for (group, backend) in &route.asked().backends {
                let gone: Vec<&String> = match self.groups.get(group) {
                    Some(seen) => backend.endpoints.keys().filter(|id| seen.stopping(id)).collect(),
                    None => Vec::new(),
                };
                for id in gone {
                    self.violations.push(format!("{which}: {id} is stopped while requests go to it"));
                }
            }
            for id in route.draining(self.now) {
                if self.groups.values().any(|seen| seen.stopping(&id)) {
                    self.violations.push(format!("{which}: {id} is stopped while requests are in flight on it"));
                }
            }
        }
        self.violations.dedup();
    }
}
