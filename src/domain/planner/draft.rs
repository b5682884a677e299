//! A plan while it is drawn up.

use std::collections::BTreeMap;

use super::{PlanInput, Rendered, Stable, retreat};
use crate::domain::action::Which;
use crate::domain::capabilities::{Capabilities, Split};
use crate::domain::desired::DesiredUnit;
use crate::domain::difference::Difference;
use crate::domain::digest::Digest;
use crate::domain::hook::{Hook, OnRollback, When};
use crate::domain::id::{GroupId, UnitId};
use crate::domain::observed::ObservedGroup;
use crate::domain::plan::{
    BackendGoal, Called, FORMAT, Gradually, GroupSource, HookCall, Phase, PhaseId, Plan, PlanKind, Settle, TrafficGoal,
};
use crate::domain::prediction::Prediction;
use crate::domain::route;
use crate::domain::span::Span;
use crate::domain::strategy::{Strategy, calls};
use crate::domain::workload::Health;

/// The weight of a group that has all traffic.
pub(crate) const WHOLE: u32 = 100;

/// What keeps the traffic until the new version has it.
#[derive(Clone, Debug)]
pub struct Base {
    /// Its group.
    pub group: GroupId,
    /// How many instances it has when it is whole.
    pub replicas: u32,
    /// What it is made from.
    pub source: GroupSource,
    /// Its rendered digest, where it is remembered rather than only seen.
    pub rendered: Option<Digest>,
    /// All traffic on it; `None`: it has no route.
    pub traffic: Option<TrafficGoal>,
    /// Its platform replaces it in place: it can be kept or stopped, but not made smaller.
    pub in_place: bool,
}

impl Base {
    /// What is remembered, and the group that it is.
    pub fn remembered(stable: &Stable<'_>, group: GroupId) -> Self {
        let Stable { rendered, restarts } = *stable;
        let (desired, digest) = (rendered.desired, rendered.digest.clone());
        Base {
            traffic: traffic(rendered, Which::Main, whole(&group, desired.replicas)),
            source: GroupSource { rendered: digest.clone(), restarts, version: desired.version.clone() },
            replicas: desired.replicas,
            rendered: Some(digest),
            in_place: desired.workload.is_in_place(),
            group,
        }
    }

    /// What is only seen: its settings are lost, so the new version's route settings serve it too.
    pub fn seen(seen: &ObservedGroup, rendered: Rendered<'_>) -> Self {
        Base {
            group: seen.group.clone(),
            replicas: seen.replicas,
            source: source_of(seen),
            rendered: None,
            // Nothing leads requests to what is replaced in place: its own selectors do.
            traffic: traffic(rendered, Which::Main, whole(&seen.group, seen.replicas)).filter(|_| !seen.in_place),
            in_place: seen.in_place,
        }
    }
}

/// A plan while it is drawn up: what strategies add phases to.
pub struct Draft<'a> {
    /// What it leads to.
    pub desired: &'a DesiredUnit,
    /// The group it leads to.
    pub target: GroupId,
    /// What keeps the traffic until then.
    pub base: Option<Base>,
    /// What the surroundings can do.
    pub capabilities: &'a Capabilities,
    /// What is done instead of what they can't.
    pub approximations: Vec<String>,
    pub(super) phases: Vec<Phase>,
    unit: &'a UnitId,
    restarts: u32,
    rendered: &'a Digest,
    settle: Vec<Phase>,
    gradual: u32,
}

impl<'a> Draft<'a> {
    pub(super) fn new(input: &PlanInput<'a>, rendered: Rendered<'a>, target: GroupId, base: Option<Base>) -> Self {
        Draft {
            desired: rendered.desired,
            target,
            base,
            capabilities: input.capabilities,
            approximations: Vec::new(),
            phases: Vec::new(),
            unit: input.unit,
            restarts: input.restarts,
            rendered: rendered.digest,
            settle: Vec::new(),
            gradual: 0,
        }
    }

    /// Adds a phase; its number is its place.
    pub fn push(&mut self, mut phase: Phase) {
        phase.id = PhaseId(u32::try_from(self.phases.len()).unwrap_or(u32::MAX));
        self.phases.push(phase);
    }

    /// The phases so far.
    pub fn phases_mut(&mut self) -> &mut Vec<Phase> {
        &mut self.phases
    }

    /// A phase with so many instances of old and new, and traffic that stays with the old version.
    pub fn phase(&self, name: String, old: u32, new: u32) -> Phase {
        let mut phase = Phase {
            deadline: Some(self.desired.health.within),
            grace: Some(grace(&self.desired.health)),
            ..bare(0, name)
        };
        if new > 0 {
            phase.groups.insert(self.target.clone(), new);
        }
        if let Some(base) = &self.base {
            if old > 0 {
                phase.groups.insert(base.group.clone(), old);
            }
            phase.traffic.clone_from(&base.traffic);
            if let Some(goal) = phase.traffic.as_mut().and_then(|goal| goal.backends.get_mut(&base.group)) {
                goal.slots = old;
            }
        }
        phase
    }

    /// Adds the phases before the `last` one in which the target has only a part of its instances, which the others wait for.
    /// The hooks of a part run once its instances are there. `there`: as many are as they shall be already, which is healed, without hooks.
    pub(crate) fn rise(&mut self, last: &mut Phase, there: Option<u32>) {
        let stages = self.desired.workload.stages();
        let (count, mut prior) = (stages.len(), 0);
        for (number, stage) in (1..).zip(stages) {
            let groups = BTreeMap::from([(self.target.clone(), stage.size)]);
            let name = Some(stage.name.clone()).filter(|_| count > 1);
            let part = Phase { groups, stage: name, ..last.clone() };
            let enter = if there.is_some() { Vec::new() } else { HookCall::of_objects("sync", stage.hooks) };
            if !enter.is_empty() && stage.size > prior {
                let name = format!("{} is applied", stage.name);
                self.push(Phase { name, unready: true, advance: Vec::new(), ..part.clone() });
            }
            prior = stage.size;
            if number == count {
                (last.stage, last.enter) = (part.stage, enter);
            } else if !enter.is_empty() || stage.size > there.unwrap_or_default() {
                self.push(Phase { name: stage.name, enter, ..part });
            }
        }
    }

    /// The hooks that run before anything of the new version does.
    pub(crate) fn before_calls(&self) -> Vec<HookCall> {
        let objects = HookCall::of_objects("presync", self.desired.workload.hooks(When::Before));
        calls("before", &self.desired.hooks.before).into_iter().chain(objects).collect()
    }

    /// The hooks that want all traffic on the new version.
    pub(crate) fn after_calls(&self) -> Vec<HookCall> {
        let objects = HookCall::of_objects("postsync", self.desired.workload.hooks(When::After));
        calls("after", &self.desired.hooks.after).into_iter().chain(objects).collect()
    }

    /// The state to stay in: the new version alone.
    pub fn last(&self) -> Phase {
        let replicas = self.desired.replicas;
        let mut phase = self.phase("only the new version".into(), 0, replicas);
        phase.traffic = self.traffic(Which::Main, replicas);
        phase
    }

    /// A route with all requests on the new version; `None` where it has none.
    pub fn traffic(&self, which: Which, slots: u32) -> Option<TrafficGoal> {
        let rendered = Rendered { desired: self.desired, digest: self.rendered };
        traffic(rendered, which, whole(&self.target, slots))
    }

    /// The rendered digest of what it leads to.
    pub(super) fn rendered(&self) -> &Digest {
        self.rendered
    }

    /// Whether some requests go to the new version as soon as it is there, whatever its share.
    pub fn has_testers(&self) -> bool {
        self.asks_for_testers() && matches!(self.split(), Split::Weights(_))
    }

    fn asks_for_testers(&self) -> bool {
        self.desired.route.as_ref().is_some_and(|route| !route.testers.is_empty())
    }

    /// Says where nobody can be told from the others.
    pub(super) fn say_testers(&mut self) {
        let beside = !matches!(self.desired.strategy, Strategy::Recreate(_));
        if beside && self.asks_for_testers() && !self.has_testers() {
            self.approximations
                .push("requests can't be told apart here: testers meet the new version by its share".into());
        }
    }

    /// Splits the phase's traffic: weight and slots of the old and of the new version. A share without instances is left out,
    /// and so is one without weight unless testers go there.
    pub fn share(&self, phase: &mut Phase, old: (u32, u32), new: (u32, u32)) {
        let Some(base) = &self.base else { return };
        if let Some(goal) = &mut phase.traffic {
            goal.backends.clear();
            for (group, (weight, slots)) in [(&base.group, old), (&self.target, new)] {
                let testers = *group == self.target && old.0 > 0 && self.has_testers();
                if (weight > 0 || testers) && slots > 0 {
                    goal.backends.insert(group.clone(), BackendGoal { weight, slots, testers });
                }
            }
        }
    }

    /// How long requests can be held; none where they can't.
    pub fn hold(&mut self, asked: Span) -> Span {
        if self.capabilities.hold || !self.desired.is_routed() {
            return asked;
        }
        self.approximations.push("requests can't be held here: they are refused until the new version is ready".into());
        Span::ZERO
    }

    /// The way back for all phases: the base has the traffic again, alone; then hooks are undone. Without a base there is only
    /// an operator's way back, to nothing.
    pub(super) fn settle_back(&mut self) {
        let steps = retreat::steps(self);
        self.gradual = u32::try_from(steps.len()).unwrap_or(u32::MAX);
        let first = u32::try_from(self.phases.len() + steps.len()).unwrap_or(u32::MAX);
        let mut phase = match &self.base {
            None => bare(first, "nothing runs".into()),
            Some(base) => Phase {
                groups: (base.replicas > 0).then(|| (base.group.clone(), base.replicas)).into_iter().collect(),
                traffic: base.traffic.clone(),
                deadline: Some(self.desired.health.within),
                ..bare(first, format!("back to {}", base.source.version))
            },
        };
        phase.as_available = true;
        // A group that is also the target has nothing to stop first.
        let apart = self.base.as_ref().is_some_and(|base| base.group != self.target) && !self.capabilities.in_place;
        if let (Strategy::Recreate(settings), true) = (&self.desired.strategy, apart) {
            phase.stop_first = Some(if self.capabilities.hold { settings.hold } else { Span::ZERO });
        }
        let undo = self.undo_calls();
        if !undo.is_empty() {
            let id = PhaseId(first.saturating_add(1));
            self.settle.push(Phase { id, name: "undo hooks".into(), enter: undo, ..phase.clone() });
        }
        let failed = HookCall::of_failure(self.desired.workload.hooks(When::Failed));
        if !failed.is_empty() {
            let id = PhaseId(first.saturating_add(1 + u32::try_from(self.settle.len()).unwrap_or(0)));
            self.settle.push(Phase { id, name: "hooks after a failure".into(), enter: failed, ..phase.clone() });
        }
        self.settle.insert(0, phase);
        let gradual = self.desired.rollback.gradual.as_ref();
        let calm: Vec<_> = gradual.map(|gradual| gradual.on.iter().copied().collect()).unwrap_or_default();
        let next: Vec<_> = (0..self.phases.len()).map(|place| retreat::next(self, &steps, place)).collect();
        for (phase, next) in self.phases.iter_mut().zip(next).filter(|(phase, _)| phase.on_failure == Settle::Stop) {
            let gradually = next.map(|phase| Gradually { phase, on: calm.clone() });
            let on = if self.base.is_some() { self.desired.rollback.on.iter().copied().collect() } else { Vec::new() };
            phase.on_failure = Settle::Phase { phase: PhaseId(first), on, gradually };
        }
        self.settle.splice(0..0, steps.into_iter().map(|step| step.phase));
    }

    /// Every hook that says how it is undone. The saga runs those whose hook has started.
    fn undo_calls(&self) -> Vec<HookCall> {
        let entered: Vec<_> = self.phases.iter().flat_map(|phase| &phase.enter).map(|call| call.at.clone()).collect();
        let all = [("before", &self.desired.hooks.before), ("after", &self.desired.hooks.after)];
        let calls = all.into_iter().flat_map(|(at, hooks)| calls(at, hooks));
        calls.filter(|call| entered.contains(&call.at)).filter_map(|call| undo(&call)).rev().collect()
    }

    /// Whatever happens, the phases are made true: there is nothing to go back to.
    pub(super) fn never_fails(&mut self) {
        for phase in &mut self.phases {
            phase.deadline = None;
            phase.grace = None;
            phase.on_failure = Settle::Stop;
        }
    }

    pub(super) fn finish(self, kind: PlanKind, differences: Vec<Difference>) -> Plan {
        let mut groups = BTreeMap::new();
        let source = GroupSource {
            rendered: self.rendered.clone(),
            restarts: self.restarts,
            version: self.desired.version.clone(),
        };
        groups.insert(self.target.clone(), source);
        if let Some(base) = &self.base
            && base.group != self.target
        {
            groups.insert(base.group.clone(), base.source.clone());
        }
        let named = self.desired.strategy.analyses();
        Plan {
            format: FORMAT,
            unit: self.unit.clone(),
            kind,
            from: self.base.as_ref().map(|base| base.source.rendered.clone()),
            to: Some(self.rendered.clone()),
            groups,
            stable: self.base.map(|base| base.group),
            target: Some(self.target),
            phases: self.phases,
            settle: self.settle,
            gradual: self.gradual,
            analyses: self
                .desired
                .analyses
                .iter()
                .filter(|(name, _)| named.contains(name))
                .map(|(name, analysis)| (name.clone(), analysis.clone()))
                .collect(),
            differences,
            approximations: self.approximations,
            left_out: Vec::new(),
            predicted: Prediction::default(),
        }
    }
}

/// The call that undoes another.
pub fn undo(call: &HookCall) -> Option<HookCall> {
    let undone = call.script()?;
    let OnRollback::Script(script) = &undone.on_rollback else { return None };
    let hook = Hook {
        name: undone.name.clone(),
        script: script.clone(),
        idempotent: undone.idempotent,
        on_rollback: OnRollback::Nothing,
    };
    Some(HookCall { at: format!("undo-{}", call.at), what: Called::Hook(hook) })
}

/// A phase that says nothing: no groups, no routes.
pub(super) fn bare(id: u32, name: String) -> Phase {
    Phase {
        id: PhaseId(id),
        name,
        groups: BTreeMap::new(),
        traffic: None,
        preview: None,
        enter: Vec::new(),
        stop_first: None,
        as_available: false,
        unready: false,
        stage: None,
        gate: Vec::new(),
        advance: Vec::new(),
        deadline: None,
        grace: None,
        on_failure: Settle::Stop,
    }
}

/// A route of a desired state; `None` where it has none.
pub(super) fn traffic(
    rendered: Rendered<'_>,
    which: Which,
    backends: impl IntoIterator<Item = (GroupId, BackendGoal)>,
) -> Option<TrafficGoal> {
    let settings = route::settings(rendered.desired, which)?;
    Some(TrafficGoal { route: rendered.digest.clone(), settings, backends: backends.into_iter().collect(), hold: None })
}

/// All traffic on one group; none where it has no instances.
fn whole(group: &GroupId, slots: u32) -> Option<(GroupId, BackendGoal)> {
    (slots > 0).then(|| (group.clone(), BackendGoal { weight: WHOLE, slots, testers: false }))
}

/// What an observed group is made from, as its markers say.
pub(super) fn source_of(seen: &ObservedGroup) -> GroupSource {
    GroupSource { rendered: seen.rendered.clone(), restarts: 0, version: seen.version.clone() }
}

/// How long every probe may need to begin anew, after a restart of whoever probes.
fn grace(health: &Health) -> Span {
    let slack = Span::from_secs(5).as_millis();
    let probe = health.readiness.as_ref().map_or(0, |probe| {
        let once = probe.interval.as_millis().saturating_add(probe.timeout.as_millis());
        once.saturating_mul(u64::from(probe.healthy_after.max(1)))
    });
    let grace = probe.saturating_add(health.min_ready.as_millis()).saturating_add(slack);
    Span::from_millis(if health.within == Span::ZERO { grace } else { grace.min(health.within.as_millis()) })
}
