//! Plans: immutable lists of absolute phases. Nothing meaningful is left to decide when one is executed.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::analysis::Analysis;
use super::desired::Trigger;
use super::difference::Difference;
use super::digest::Digest;
use super::hook::{Hook, ObjectHook};
use super::id::{GroupId, Name, UnitId};
use super::omit;
use super::prediction::Prediction;
use super::span::Span;

/// The version of this form. A stored plan of a version that is not known is settled and planned again.
pub const FORMAT: u32 = 1;

/// A plan for one unit. No phases: it has converged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// [`FORMAT`].
    pub format: u32,
    /// Whose it is.
    pub unit: UnitId,
    /// What it is for.
    pub kind: PlanKind,
    /// The rendered digest it starts from: what was effective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// The rendered digest it leads to; `None` removes the unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
    /// Every group that a phase names, and the rendered desired state that its instances are made from.
    pub groups: BTreeMap<GroupId, GroupSource>,
    /// The group that keeps the traffic until the new one has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<GroupId>,
    /// The group that shall have it in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<GroupId>,
    /// The phases in order; the last is the state to stay in.
    pub phases: Vec<Phase>,
    /// The phases that a failure, an abort or a newer candidate leads to: from the one that is named on, in order; after the
    /// last the rollout has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settle: Vec<Phase>,
    /// How many of the settle phases, the first ones, take the weights back step by step. Whoever is in a hurry begins after them.
    #[serde(default, skip_serializing_if = "omit::is_zero")]
    pub gradual: u32,
    /// The analyses that conditions and gates name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub analyses: BTreeMap<Name, Analysis>,
    /// What changes, field by field, with the explanation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What the surroundings can't do exactly and what is done instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approximations: Vec<String>,
    /// What the unit brings along and is not made, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// What the platform says would come of it, where it was asked.
    #[serde(default, skip_serializing_if = "Prediction::is_empty")]
    pub predicted: Prediction,
}

impl Plan {
    /// The plan digest: of everything in it; it holds no time.
    pub fn digest(&self) -> Digest {
        Digest::of("p1", self)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.phases.is_empty()
    }

    /// The group that has all traffic once a rollout by this plan has gone back: what is stable, or where a rollback leads.
    pub fn fallback(&self) -> Option<&GroupId> {
        if self.kind == PlanKind::Rollback { self.target.as_ref() } else { self.stable.as_ref() }
    }

    /// A phase or settle phase by its id.
    pub fn phase(&self, id: PhaseId) -> Option<&Phase> {
        self.phases.iter().chain(&self.settle).find(|phase| phase.id == id)
    }

    /// The settle phase in which the stable version has all traffic again.
    pub fn immediate(&self) -> Option<&Phase> {
        self.settle.get(self.gradual as usize)
    }

    /// Whether a phase is one of those that take the weights back step by step.
    pub fn is_gradual(&self, id: PhaseId) -> bool {
        self.settle.iter().take(self.gradual as usize).any(|phase| phase.id == id)
    }
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PlanKind {
    /// Nothing ran before.
    Install,
    /// A new version takes over.
    Rollout,
    /// The same version with other numbers or another route.
    Adjust,
    /// What should run does not.
    Heal,
    /// Back to the last verified version.
    Rollback,
    /// Everything of the unit goes.
    Remove,
}

impl PlanKind {
    /// Its name, for people and metrics.
    pub fn name(self) -> &'static str {
        match self {
            PlanKind::Install => "install",
            PlanKind::Rollout => "rollout",
            PlanKind::Adjust => "adjust",
            PlanKind::Heal => "heal",
            PlanKind::Rollback => "rollback",
            PlanKind::Remove => "remove",
        }
    }
}

/// Where a group's instances come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupSource {
    /// The rendered digest of the desired state, found as a blob.
    pub rendered: Digest,
    /// The operator's restarts counted in the group's id.
    #[serde(default, skip_serializing_if = "omit::is_zero")]
    pub restarts: u32,
    /// The release's version, for people.
    pub version: String,
}

/// The number of a phase within its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhaseId(pub u32);

/// An absolute statement of how the unit shall be. Making one true always goes: enter hooks, hold, raise groups, wait until
/// they are ready, traffic, drain, lower groups; so that a phase can be entered from any state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    /// Its number.
    pub id: PhaseId,
    /// Its name, for people: `canary at 10%`.
    pub name: String,
    /// The sizes of the groups. A group of the unit that is not here has no instances and is removed.
    pub groups: BTreeMap<GroupId, u32>,
    /// The traffic; `None` where the unit has no route (and one that is there is removed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficGoal>,
    /// The preview route; `None`: there shall be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<TrafficGoal>,
    /// Hooks that run before anything else of the phase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enter: Vec<HookCall>,
    /// All instances of groups that are not here end before the phase's own are started; meanwhile requests wait so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_first: Option<Span>,
    /// Traffic goes to the phase's groups as their instances become ready, instead of once all are: on the way back, on a
    /// first start, and when what is lost is healed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_available: bool,
    /// The phase is true once its instances are there, ready or not: what makes them ready comes with the next.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unready: bool,
    /// What of the target's instances come with this phase, where they come one part after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    /// Analyses that run all the time the unit is in this phase and others that name them; a failure fails the phase at
    /// once, and the last phase that names them is not left before they have succeeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate: Vec<Name>,
    /// What must hold, beyond the phase being true, before the next is entered: one after the other, each beginning when the
    /// one before is met, the first when the phase has become true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advance: Vec<Condition>,
    /// How long the phase may take to become true, and to become true again; pauses and analyses do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// How long an instance of the target whose process goes on running may be not ready once the phase was true. Long enough
    /// for all probes to start anew (after a restart of the supervisor, say).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace: Option<Span>,
    /// Where a failure leads.
    pub on_failure: Settle,
}

/// How traffic shall be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficGoal {
    /// The rendered desired state whose route settings apply.
    pub route: Digest,
    /// The digest of those settings, as it is observed once they are in force ([`super::route::RouteSettings`]).
    pub settings: Digest,
    /// What each group gets.
    pub backends: BTreeMap<GroupId, BackendGoal>,
    /// Requests wait so long; `None`: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
}

/// What one group gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendGoal {
    /// Its weight among all.
    pub weight: u32,
    /// Traffic goes to the slots below this number.
    pub slots: u32,
    /// Testers' requests go to it, whatever its weight.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub testers: bool,
}

/// A hook that a phase runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookCall {
    /// `before-0`, `after-1`, `undo-before-0`, `presync-3`: part of the run id, unique in the plan.
    pub at: String,
    /// What runs.
    #[serde(flatten)]
    pub what: Called,
}

/// What a hook runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::large_enum_variant, reason = "there are a few of them in a plan")]
pub enum Called {
    /// A script.
    Hook(Hook),
    /// What the workload brings along.
    Object(ObjectHook),
}

/// What the places of hooks begin with that run because the rollout has failed.
const FAILED: &str = "failed-";

impl HookCall {
    /// Calls hooks of the workload at one place: `presync-3`.
    pub fn of_objects(at: &str, hooks: Vec<ObjectHook>) -> Vec<HookCall> {
        let call = |hook: ObjectHook| HookCall { at: format!("{at}-{}", hook.number), what: Called::Object(hook) };
        hooks.into_iter().map(call).collect()
    }

    /// Calls hooks of the workload once the rollout has failed.
    pub fn of_failure(hooks: Vec<ObjectHook>) -> Vec<HookCall> {
        HookCall::of_objects(FAILED.trim_end_matches('-'), hooks)
    }

    /// Whether it runs because the rollout has failed: nothing waits for how it ends.
    pub fn is_of_failure(&self) -> bool {
        self.at.starts_with(FAILED)
    }

    /// The script, where it is one.
    pub fn script(&self) -> Option<&Hook> {
        match &self.what {
            Called::Hook(hook) => Some(hook),
            Called::Object(_) => None,
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        match &self.what {
            Called::Hook(hook) => hook.name.as_str(),
            Called::Object(hook) => &hook.name,
        }
    }

    /// Whether it may run again when nobody knows how it ended. Tools that know hooks as objects always expect that.
    pub fn is_idempotent(&self) -> bool {
        self.script().is_none_or(|hook| hook.idempotent)
    }
}

impl fmt::Display for HookCall {
    /// `migrate`, `Job migrate (PreSync)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Called::Hook(hook) => hook.name.fmt(f),
            Called::Object(hook) => write!(f, "{} ({})", hook.name, hook.moment),
        }
    }
}

/// What must hold before a phase is left. Its clock begins when the condition before it is met, and stands still while an
/// operator's pause or suspension does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// So much time has passed.
    Delay(Span),
    /// So much time has passed, or somebody promoted; `None`: somebody must.
    Pause(Option<Span>),
    /// An analysis has succeeded.
    Analysis(Name),
    /// So much time has passed in which every instance of the target was available without interruption.
    Watch(Span),
}

/// Where failures lead that are no hurry: to weights that go back step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gradually {
    /// The settle phase with the next lower weight.
    pub phase: PhaseId,
    /// The failures.
    pub on: Vec<Trigger>,
}

/// Where a failure leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Settle {
    /// To this settle phase when the failure is among the triggers; otherwise the rollout stops where it is and tells.
    Phase {
        /// Which.
        phase: PhaseId,
        /// The failures that lead there by themselves. An operator's abort always does.
        on: Vec<Trigger>,
        /// Where those of them lead that are no hurry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gradually: Option<Gradually>,
    },
    /// There is no way back: the rollout stops where it is and tells; it can only be taken forward.
    ForwardOnly,
    /// It stops where it is and tells.
    Stop,
}
