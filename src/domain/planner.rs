//! From what is asked for and what runs to a plan: pure, so that the same inputs give the same bytes.

mod draft;
mod retreat;

use super::action::Which;
use super::capabilities::{Capabilities, Split};
use super::converge;
use super::desired::DesiredUnit;
use super::difference::differences;
use super::digest::Digest;
use super::hook::OnRollback;
use super::id::{GroupId, UnitId};
use super::observed::{ObservedGroup, ObservedUnit, Seen};
use super::plan::{Condition, HookCall, Phase, Plan, PlanKind, Settle};
use super::prediction::Prediction;
use super::strategy::{self, Amount, Recreate, Rolling, Strategy};
use crate::domain::analysis::Measure;

pub(crate) use draft::WHOLE;
pub use draft::{Base, Draft, undo};

/// Everything that a plan depends on.
#[derive(Clone, Debug)]
pub struct PlanInput<'a> {
    /// Whose plan it is.
    pub unit: &'a UnitId,
    /// What shall run; `None`: nothing any more.
    pub desired: Option<Rendered<'a>>,
    /// The operator's restarts that are asked for.
    pub restarts: u32,
    /// What had all traffic last: where a failure leads back to. `None`: nothing is remembered.
    pub stable: Option<Stable<'a>>,
    /// What runs.
    pub observed: &'a ObservedUnit,
    /// What the surroundings can do.
    pub capabilities: &'a Capabilities,
    /// What the platform says would come of it; empty where it was not asked.
    pub prediction: &'a Prediction,
    /// Which way it goes.
    pub intent: Intent,
}

/// A desired state with its rendered digest, which costs too much to be computed again at each use.
#[derive(Clone, Copy, Debug)]
pub struct Rendered<'a> {
    /// The desired state.
    pub desired: &'a DesiredUnit,
    /// What [`DesiredUnit::digest`] says of it.
    pub digest: &'a Digest,
}

/// What had all traffic last.
#[derive(Clone, Copy, Debug)]
pub struct Stable<'a> {
    /// It.
    pub rendered: Rendered<'a>,
    /// The operator's restarts counted in its group's id.
    pub restarts: u32,
}

/// Which way a plan goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Intent {
    /// To something new, by its strategy.
    #[default]
    Forward,
    /// Back to something that was verified: traffic first, no steps, no hooks but those that undo.
    Rollback {
        /// The hooks to run once the traffic is back.
        undo: Vec<HookCall>,
    },
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// What runs can't be seen, and not knowing is never nothing.
    #[error("what runs is not known: {0}; nothing is done until it is")]
    Unknown(String),
    /// The surroundings can't do what is asked for.
    #[error("{0}")]
    Unsupported(String),
    /// The rules of this module were broken by this module.
    #[error("the plan breaks its own rules: {0}; this is a defect of trimtab: please report it")]
    Unsound(String),
}

/// Plans one unit. No phases: it has converged.
///
/// # Errors
/// Why nothing can be planned; nothing was changed.
pub fn plan(input: &PlanInput<'_>) -> Result<Plan, Blocked> {
    let groups = observable(input.observed)?;
    let mut plan = match (input.desired, &input.intent) {
        (None, _) => remove(input, groups),
        (Some(desired), Intent::Rollback { undo }) => {
            supported(desired.desired, input.capabilities)?;
            back(input, desired, groups, undo)
        }
        (Some(desired), Intent::Forward) => {
            supported(desired.desired, input.capabilities)?;
            forward(input, desired, groups)?
        }
    };
    plan.predicted = input.prediction.clone();
    super::plan_check::check(&plan).map_err(Blocked::Unsound)?;
    Ok(plan)
}

fn observable(observed: &ObservedUnit) -> Result<&[ObservedGroup], Blocked> {
    let unknown = |what: &str, reason: &str| Err(Blocked::Unknown(format!("{what}: {reason}")));
    if let Seen::Unknown(reason) = &observed.traffic {
        return unknown("its route", reason);
    }
    if let Seen::Unknown(reason) = &observed.preview {
        return unknown("its preview route", reason);
    }
    match &observed.groups {
        Seen::Unknown(reason) => unknown("its instances", reason),
        Seen::Known(groups) => Ok(groups),
    }
}

/// Refuses, before anything runs, what the surroundings can't do.
fn supported(desired: &DesiredUnit, capabilities: &Capabilities) -> Result<(), Blocked> {
    let refuse = |text: String| Err(Blocked::Unsupported(text));
    let strategy = desired.strategy.name();
    let side_by_side = match desired.strategy {
        Strategy::Recreate(_) => false,
        Strategy::Rolling(_) => !capabilities.in_place,
        Strategy::BlueGreen(_) | Strategy::Canary(_) => true,
    };
    if side_by_side && !capabilities.versioned_groups {
        return refuse(format!(
            "{strategy} needs two versions side by side, which this target can't run: use recreate"
        ));
    }
    let doubles = matches!(desired.strategy, Strategy::BlueGreen(_) | Strategy::Canary(_));
    if doubles && !capabilities.surge {
        return refuse(format!(
            "{strategy} needs more instances for a while, which this target does not allow: use rolling or recreate"
        ));
    }
    if !capabilities.runs && !desired.hooks.is_empty() {
        return refuse("this target can't run scripts: remove the hooks".into());
    }
    for (name, analysis) in &desired.analyses {
        match analysis.measure {
            Measure::Router(_) if !capabilities.measures && desired.strategy.analyses().contains(&name) => {
                return refuse(format!(
                    "the analysis {name} needs the router's measurements, which this target does not have: use http or script"
                ));
            }
            Measure::Script(_) if !capabilities.runs => {
                return refuse(format!("the analysis {name} is a script, and this target can't run any: use http"));
            }
            _ => {}
        }
    }
    match desired.strategy.analyses().into_iter().find(|name| !desired.analyses.contains_key(*name)) {
        Some(name) => refuse(format!("{strategy} names the analysis {name}, which the app does not have")),
        None => Ok(()),
    }
}

fn forward(input: &PlanInput<'_>, rendered: Rendered<'_>, groups: &[ObservedGroup]) -> Result<Plan, Blocked> {
    let desired = rendered.desired;
    let target = desired.group_id(input.restarts);
    let base = base_of(input, rendered, &target, groups);
    let same = base.as_ref().is_some_and(|base| base.group == target);
    let adopted = base.is_none() && is_there(groups, &target);
    let mut draft = Draft::new(input, rendered, target, base);
    if same || adopted {
        return Ok(adjust(input, draft));
    }
    let runs = |base: &Base| base.replicas > 0 && groups.iter().any(|seen| seen.group == base.group);
    let nothing_runs = !draft.base.as_ref().is_some_and(runs);
    if nothing_runs {
        install(&mut draft);
    } else {
        let restart = input.stable.is_some_and(|stable| stable.rendered.digest == rendered.digest);
        rollout(&mut draft, restart).map_err(Blocked::Unsupported)?;
    }
    let kind = if draft.base.is_none() { PlanKind::Install } else { PlanKind::Rollout };
    draft.settle_back();
    let plan = draft.finish(kind, differences(input.stable.map(|stable| stable.rendered.desired), Some(desired)));
    Ok(Plan { left_out: desired.workload.left_out().to_vec(), ..plan })
}

/// What keeps the traffic until the new version has it: what is remembered, or else what is seen to have most of it.
fn base_of(input: &PlanInput<'_>, rendered: Rendered<'_>, target: &GroupId, groups: &[ObservedGroup]) -> Option<Base> {
    if let Some(stable) = &input.stable {
        let same = stable.rendered.digest == rendered.digest && stable.restarts == input.restarts;
        let group = if same { target.clone() } else { stable.rendered.desired.group_id(stable.restarts) };
        return Some(Base::remembered(stable, group));
    }
    let main = input.observed.traffic.known().and_then(Option::as_ref);
    let weight = |seen: &ObservedGroup| {
        main.and_then(|route| route.backends.get(&seen.group)).map_or(0, |backend| backend.weight)
    };
    // A lost memory of a rollout half-way: what is not the new version had the traffic before.
    let serves = |seen: &ObservedGroup| if main.is_some() { weight(seen) > 0 } else { seen.ready(u32::MAX) > 0 };
    let adopted = is_there(groups, target);
    let others = groups.iter().filter(|seen| !seen.retiring && seen.replicas > 0 && seen.group != *target);
    let most = others
        .filter(|seen| serves(seen) || !adopted)
        .max_by_key(|seen| (weight(seen), seen.ready(u32::MAX), &seen.group))?;
    Some(Base::seen(most, rendered))
}

/// Whether something of a group runs or shall, and stays.
fn is_there(groups: &[ObservedGroup], group: &GroupId) -> bool {
    groups.iter().any(|seen| seen.group == *group && !seen.retiring && seen.is_begun())
}

fn rollout(draft: &mut Draft<'_>, restart: bool) -> Result<(), String> {
    let replicas = draft.desired.replicas;
    if replicas == 0 {
        let last = draft.last();
        draft.push(last);
        return Ok(());
    }
    draft.say_testers();
    // What is only seen can be kept or stopped but not made smaller: nobody knows what it is made from.
    let only_seen = draft.base.as_ref().is_some_and(|base| base.rendered.is_none());
    let base_in_place = draft.base.as_ref().is_some_and(|base| base.in_place);
    if base_in_place && draft.capabilities.versioned_groups && draft.desired.is_routed() {
        let told = "what runs was replaced in place until now, so the new version's instances get requests as soon as they are ready";
        draft.approximations.push(told.into());
    }
    match &draft.desired.strategy {
        Strategy::Rolling(_) | Strategy::Recreate(_) if draft.capabilities.in_place => {
            strategy::in_place::phases(draft, restart);
        }
        Strategy::Recreate(settings) => strategy::recreate::phases(draft, settings, restart),
        Strategy::Rolling(_) if only_seen && draft.capabilities.surge => strategy::rolling::at_once(draft),
        Strategy::Canary(settings) if base_in_place => strategy::canary::beside(draft, settings),
        Strategy::Canary(_) if only_seen && draft.split() == Split::None => strategy::rolling::at_once(draft),
        // The same version anew: nothing is to be found out about it.
        _ if restart => {
            let gentle = Rolling { max_surge: Amount::Percent(25), max_unavailable: Amount::Percent(25) };
            strategy::rolling::phases(draft, &gentle, true)?;
        }
        Strategy::Rolling(settings) => strategy::rolling::phases(draft, settings, false)?,
        Strategy::BlueGreen(settings) => strategy::blue_green::phases(draft, settings),
        Strategy::Canary(settings) => strategy::canary::phases(draft, settings)?,
    }
    if !restart {
        draft.enter_first();
    }
    Ok(())
}

/// Nothing runs: straight to the end.
fn install(draft: &mut Draft<'_>) {
    let mut phase = draft.last();
    phase.name = format!("{} starts", draft.desired.version);
    phase.as_available = true;
    draft.rise(&mut phase, None);
    draft.push(phase);
    draft.after_hooks();
    draft.enter_first();
}

/// The same instances: other numbers, another route, or what is lost comes back.
fn adjust(input: &PlanInput<'_>, mut draft: Draft<'_>) -> Plan {
    let stable = input.stable.filter(|stable| stable.rendered.digest != draft.rendered());
    let kind = if stable.is_some() { PlanKind::Adjust } else { PlanKind::Heal };
    let mut phase = draft.last();
    phase.name = match kind {
        PlanKind::Adjust => format!("{} as it is asked for now", draft.desired.version),
        _ => format!("{} healed", draft.desired.version),
    };
    phase.as_available = true;
    let groups = input.observed.groups.known().into_iter().flatten();
    let there = groups.filter(|seen| seen.group == draft.target).map(|seen| seen.replicas).max();
    draft.rise(&mut phase, Some(there.unwrap_or_default()));
    draft.push(phase);
    if kind == PlanKind::Adjust {
        draft.settle_back();
    } else {
        draft.never_fails();
    }
    let changes =
        stable.map(|stable| differences(Some(stable.rendered.desired), Some(draft.desired))).unwrap_or_default();
    let mut plan = draft.finish(kind, changes);
    if plan.phases.iter().all(|phase| !converge::needs_effect(&plan, phase, input.observed)) {
        plan.phases.clear();
        plan.settle.clear();
        plan.gradual = 0;
    }
    plan
}

/// Back to something verified: its whole group, and the traffic as soon as it can serve.
fn back(input: &PlanInput<'_>, rendered: Rendered<'_>, groups: &[ObservedGroup], undo: &[HookCall]) -> Plan {
    let desired = rendered.desired;
    let target = desired.group_id(input.restarts);
    let others = groups.iter().any(|seen| seen.group != target);
    let mut draft = Draft::new(input, rendered, target, None);
    let mut phase = draft.last();
    phase.name = format!("back to {}", desired.version);
    phase.as_available = true;
    if let (Strategy::Recreate(Recreate { hold }), true) = (&desired.strategy, others && !input.capabilities.in_place) {
        phase.stop_first = Some(draft.hold(*hold));
    }
    let untouched = phase.clone();
    draft.push(phase);
    if !undo.is_empty() {
        draft.push(Phase { name: "undo hooks".into(), enter: undo.to_vec(), ..untouched.clone() });
    }
    draft.never_fails();
    let before = input.stable.map(|stable| stable.rendered);
    let changes = differences(before.map(|before| before.desired), Some(desired));
    let mut plan = draft.finish(PlanKind::Rollback, changes);
    plan.from = before.map(|before| before.digest.clone());
    if undo.is_empty() && !converge::needs_effect(&plan, &untouched, input.observed) {
        plan.phases.clear();
    }
    plan
}

/// Nothing shall run: requests first, then what serves them.
fn remove(input: &PlanInput<'_>, groups: &[ObservedGroup]) -> Plan {
    let stable = input.stable;
    let mut plan = Plan {
        format: super::plan::FORMAT,
        unit: input.unit.clone(),
        kind: PlanKind::Remove,
        from: stable.map(|stable| stable.rendered.digest.clone()),
        to: None,
        groups: Default::default(),
        stable: None,
        target: None,
        phases: Vec::new(),
        settle: Vec::new(),
        gradual: 0,
        analyses: Default::default(),
        differences: differences(stable.map(|stable| stable.rendered.desired), None),
        approximations: Vec::new(),
        left_out: Vec::new(),
        predicted: Prediction::default(),
    };
    let routed = [&input.observed.traffic, &input.observed.preview].iter().any(|seen| seen.known() != Some(&None));
    if groups.is_empty() && !routed {
        plan.differences.clear();
        return plan;
    }
    let serving = groups.iter().filter(|seen| !seen.retiring && seen.replicas > 0);
    let sizes: std::collections::BTreeMap<_, _> =
        serving.clone().map(|seen| (seen.group.clone(), seen.replicas)).collect();
    let closed = stable.and_then(|stable| draft::traffic(stable.rendered, Which::Main, []));
    let open = input.observed.traffic.known().and_then(Option::as_ref).is_some_and(|seen| !seen.backends.is_empty());
    if let (Some(traffic), true) = (closed, open && !sizes.is_empty()) {
        plan.groups = serving.map(|seen| (seen.group.clone(), draft::source_of(seen))).collect();
        let name = "requests are refused, those in flight end".to_owned();
        plan.phases.push(Phase { groups: sizes, traffic: Some(traffic), ..draft::bare(0, name) });
    }
    plan.phases.push(draft::bare(u32::try_from(plan.phases.len()).unwrap_or(0), "nothing runs".into()));
    for phase in &mut plan.phases {
        phase.as_available = true;
        phase.on_failure = Settle::Stop;
    }
    plan
}

impl Draft<'_> {
    /// The hooks that run before anything of the new version does.
    fn enter_first(&mut self) {
        let calls = self.before_calls();
        let Some(first) = self.phases.first_mut() else { return };
        first.enter.splice(0..0, calls);
        if self.desired.hooks.before.iter().any(|hook| hook.on_rollback == OnRollback::ForwardOnly) {
            for phase in self.phases.iter_mut().skip(1) {
                phase.on_failure = Settle::ForwardOnly;
            }
        }
    }

    /// The phase in which the hooks run that want all traffic on the new version, if there are any: as the last phase is.
    fn after_hooks(&mut self) {
        let calls = self.after_calls();
        if let (Some(last), false) = (self.phases.last().cloned(), calls.is_empty()) {
            let name = "hooks after full traffic".to_owned();
            self.push(Phase { name, enter: calls, stage: None, advance: Vec::new(), gate: Vec::new(), ..last });
        }
    }

    /// The end of every rollout: the new version has all traffic, the hooks run, the old group stays for a while, goes, and
    /// the new one is still watched.
    pub(crate) fn tail(&mut self, keep: super::span::Span, post: &[super::id::Name], hooks: bool) {
        let calls = if hooks { self.after_calls() } else { Vec::new() };
        let delay = keep != super::span::Span::ZERO;
        let mut beside = self.last();
        beside.name = "all traffic".into();
        if let Some(base) = &self.base {
            // Where the old group gave way step by step, it stays as small as it is.
            let size =
                self.phases.last().map_or(base.replicas, |phase| phase.groups.get(&base.group).copied().unwrap_or(0));
            if size > 0 {
                beside.groups.insert(base.group.clone(), size);
            }
        }
        let kept = delay || !calls.is_empty() || !post.is_empty();
        if kept {
            let mut all = beside.clone();
            all.advance = post.iter().cloned().map(Condition::Analysis).collect();
            if calls.is_empty() && delay {
                all.advance.push(Condition::Delay(keep));
            }
            self.push(all);
        }
        if !calls.is_empty() {
            let advance = delay.then_some(Condition::Delay(keep)).into_iter().collect();
            self.push(Phase { name: "hooks after full traffic".into(), enter: calls, advance, ..beside });
        }
        let mut last = self.last();
        self.watch(&mut last, keep);
        self.push(last);
    }

    /// Lets a phase last as long as the new version is watched, the time it has had all traffic already not counted.
    pub(crate) fn watch(&self, phase: &mut Phase, already: super::span::Span) {
        let window = self.desired.rollback.window.as_millis().saturating_sub(already.as_millis());
        if window > 0 {
            phase.advance.push(Condition::Watch(super::span::Span::from_millis(window)));
        }
    }

    /// How traffic is split between the old and the new version.
    pub(crate) fn split(&self) -> Split {
        let routed = self.desired.is_routed() && self.base.as_ref().is_some_and(|base| base.traffic.is_some());
        if routed { self.capabilities.split } else { Split::None }
    }
}
