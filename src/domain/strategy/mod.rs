//! Strategies: how a new version takes over. Each is a generator of absolute phases over capabilities, never over platforms.

pub(crate) mod blue_green;
pub(crate) mod canary;
pub(crate) mod in_place;
pub(crate) mod recreate;
pub(crate) mod rolling;

use serde::{Deserialize, Serialize};

use super::hook::Hook;
use super::id::Name;
use super::plan::{Called, HookCall, Phase};
use super::planner::Draft;
use super::span::Span;

/// How a new version takes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Strategy {
    /// All old instances end before new ones start; requests are held meanwhile.
    Recreate(Recreate),
    /// Instances are replaced batch by batch.
    Rolling(Rolling),
    /// A whole new group beside the old one, then one switch.
    BlueGreen(BlueGreen),
    /// A growing share of the traffic.
    Canary(Canary),
}

impl Strategy {
    /// Its name as users write it.
    pub fn name(&self) -> &'static str {
        match self {
            Strategy::Recreate(_) => "recreate",
            Strategy::Rolling(_) => "rolling",
            Strategy::BlueGreen(_) => "blueGreen",
            Strategy::Canary(_) => "canary",
        }
    }

    /// The analyses it names.
    pub fn analyses(&self) -> Vec<&Name> {
        match self {
            Strategy::Recreate(_) | Strategy::Rolling(_) => Vec::new(),
            Strategy::BlueGreen(settings) => settings.pre_promotion.iter().chain(&settings.post_promotion).collect(),
            Strategy::Canary(settings) => {
                let steps = settings.steps.iter().filter_map(|step| match step {
                    Step::Analysis(name) => Some(name),
                    _ => None,
                });
                steps.chain(&settings.gate).collect()
            }
        }
    }
}

/// The calls of hooks at one place: `before-0`, `before-1`.
pub(crate) fn calls(at: &str, hooks: &[Hook]) -> Vec<HookCall> {
    hooks
        .iter()
        .enumerate()
        .map(|(number, hook)| HookCall { at: format!("{at}-{number}"), what: Called::Hook(hook.clone()) })
        .collect()
}

/// The end of a rollout without weights: the phase, then the hooks that want all traffic on the new version, then the watch.
pub(crate) fn end(draft: &mut Draft<'_>, mut phase: Phase, restart: bool) {
    let hooks = draft.after_calls();
    if hooks.is_empty() || restart {
        draft.watch(&mut phase, Span::ZERO);
        draft.push(phase);
        return;
    }
    draft.push(phase);
    let mut last = draft.last();
    last.name = "hooks after full traffic".into();
    last.enter = hooks;
    draft.watch(&mut last, Span::ZERO);
    draft.push(last);
}

/// Settings of recreate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recreate {
    /// How long a request waits for the new version before it is refused.
    pub hold: Span,
}

/// Settings of rolling. Surge rounds up, unavailable rounds down; both zero is an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rolling {
    /// How many instances may run beyond the asked number.
    pub max_surge: Amount,
    /// How many of the asked number may be missing.
    pub max_unavailable: Amount,
}

/// Settings of blue-green.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlueGreen {
    /// The Host under which the new version is seen before the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_host: Option<String>,
    /// How many instances the preview has; all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview_replicas: Option<u32>,
    /// Analyses before the switch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_promotion: Vec<Name>,
    /// When the switch comes by itself.
    pub promote: Promote,
    /// Analyses after the switch; a failure switches back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_promotion: Vec<Name>,
    /// How long the old group stays after the switch.
    pub scale_down_delay: Span,
}

/// When a blue-green switch happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Promote {
    /// As soon as everything before it is done.
    Auto,
    /// After this much time.
    After(Span),
    /// When somebody says so.
    Manual,
}

/// Settings of canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// What happens in order. After the last one the new version gets everything.
    pub steps: Vec<Step>,
    /// Analyses that run during all steps; a failure aborts at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gate: Vec<Name>,
    /// How long the old group stays after the new one has all traffic.
    pub scale_down_delay: Span,
}

/// One step of a canary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// The new version gets this many percent of the requests, and as many instances in proportion unless `Scale` said otherwise.
    Weight(u32),
    /// Waits so long, or until promoted.
    Pause(Option<Span>),
    /// Waits for an analysis.
    Analysis(Name),
    /// Sets the number of instances of the new version, apart from the weight.
    Scale(Amount),
}

/// A number of instances, or a share of the asked number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Amount {
    /// So many.
    Count(u32),
    /// So many percent.
    Percent(u32),
}
