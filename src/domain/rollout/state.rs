//! The state of a rollout: what its events come to.

mod fold;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::clock::{Clock, Mark};
use super::event::{AnalysisKey, Failure, HookOutcome, Outcome, Why};
use crate::domain::action::Action;
use crate::domain::digest::Digest;
use crate::domain::id::{GroupId, Revision, RolloutId, RunId};
use crate::domain::omit;
use crate::domain::plan::{PhaseId, PlanKind};
use crate::domain::span::Span;
use crate::domain::verdict::Tally;

/// Once a phase was true for so long without interruption, earlier restarts of its instances are forgotten.
const CALM: Span = Span::from_secs(600);

/// A rollout that stopped goes on by itself once its phase was true for so long without interruption: the first time; each
/// further time it takes twice as long, up to [`CALM`], so that what comes and goes does not flap.
const STEADY: Span = Span::from_secs(10);

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutState {
    /// Which.
    pub id: RolloutId,
    /// The digest of its plan.
    pub plan: Digest,
    /// What it is for.
    pub kind: PlanKind,
    /// When it began.
    pub began: Timestamp,
    /// The commit that it makes true; `None` where it does something else, such as healing what stood before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The group that has all traffic again once the way back is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<GroupId>,
    /// What it heals, and who is said to have done it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// When that group had it again, on the way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_back: Option<Timestamp>,
    /// Where it is heading.
    pub course: Course,
    /// The phases that were left, in the order they were entered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<PhaseSpan>,
    /// The phase that is made true; `None` before the first.
    pub phase: Option<PhaseState>,
    /// The effect that was started last.
    pub action: Option<ActionState>,
    /// The hooks that were started, by their place in the plan.
    pub hooks: BTreeMap<String, HookState>,
    /// The analyses that were begun.
    pub analyses: BTreeMap<AnalysisKey, Tally>,
    /// How often somebody had it tried again; part of the analyses' keys.
    pub retries: u32,
    /// What went wrong, until it is decided what comes of it.
    pub failure: Option<Failure>,
    /// Whether the stable version passes the check that failed, once it was asked.
    pub stable_passes: Option<(bool, String)>,
    /// Why it stopped where it is.
    pub stopped: Option<String>,
    /// How often it went on by itself after it had stopped.
    #[serde(default)]
    pub recoveries: u32,
    /// Who paused it, while it is paused.
    pub paused: Option<String>,
    /// Somebody let it go on past the condition it waits for.
    pub promoted: bool,
    /// Somebody let it go on past every step.
    pub full: bool,
    /// The new version has had all traffic.
    pub full_traffic: bool,
    /// It was superseded where it stood, with all traffic on the new version.
    pub took_over: bool,
    /// Who called it off and why, until it turns back.
    pub abort: Option<(String, String)>,
    /// The clock that stands still while it is paused or suspended.
    pub clock: Clock,
    suspended: bool,
}

/// Where a rollout is heading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Course {
    /// To the new version.
    Forward,
    /// Back.
    Settling(Why),
    /// It is over.
    Ended(Outcome),
}

/// A phase that was left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseSpan {
    /// Which.
    pub id: PhaseId,
    /// When it was entered.
    pub entered: Timestamp,
    /// When it was left for another one.
    pub left: Timestamp,
}

/// Where a phase stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseState {
    /// Which.
    pub id: PhaseId,
    /// When it was entered.
    pub entered: Timestamp,
    /// From when its deadline counts: since it was entered, its last hook ended, or it was tried again.
    pub deadline_from: Mark,
    /// When it was true first.
    pub became_true: Option<Mark>,
    /// When it became true last, while it is.
    pub true_since: Option<Mark>,
    /// When it stopped being true and why, while it is not.
    pub disturbed: Option<(Mark, String)>,
    /// How many conditions are met.
    pub met: u32,
    /// When the last of them was.
    pub met_at: Option<Mark>,
    /// How often each instance of the target had been restarted when counting began.
    pub restarts: BTreeMap<String, u32>,
    /// That counting has to begin anew.
    pub recount: bool,
}

/// The effect that was started last, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionState {
    /// Which.
    pub action: Action,
    /// When it was started last.
    pub started: Timestamp,
    /// How often in a row it was started.
    pub attempts: u32,
    /// What came of it; `None`: nobody has written it down.
    pub result: Option<Result<(), String>>,
    /// When that was.
    pub ended: Option<Timestamp>,
    /// How often in a row it was refused for good.
    #[serde(default, skip_serializing_if = "omit::is_zero")]
    pub refusals: u32,
}

/// A hook that was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HookState {
    /// Its run.
    pub run: RunId,
    /// 1 for the first.
    pub attempt: u32,
    /// When it was started.
    pub started: Timestamp,
    /// How it ended.
    pub outcome: Option<HookOutcome>,
    /// Somebody wants it to be run again.
    pub again: bool,
}

/// An event that cannot follow what was before. The journal of a rollout in which one stands is damaged or comes from a
/// newer build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rollout's journal cannot be right: {event} when {state}")]
pub struct IllegalTransition {
    /// The event.
    pub event: String,
    /// What stood against it.
    pub state: String,
}

impl RolloutState {
    /// A rollout that has just been decided on.
    pub fn new(id: RolloutId, plan: Digest, kind: PlanKind, at: Timestamp) -> Self {
        RolloutState {
            id,
            plan,
            kind,
            began: at,
            revision: None,
            fallback: None,
            cause: None,
            traffic_back: None,
            course: Course::Forward,
            left: Vec::new(),
            phase: None,
            action: None,
            hooks: BTreeMap::new(),
            analyses: BTreeMap::new(),
            retries: 0,
            failure: None,
            stable_passes: None,
            stopped: None,
            recoveries: 0,
            paused: None,
            promoted: false,
            full: false,
            full_traffic: false,
            took_over: false,
            abort: None,
            clock: Clock::default(),
            suspended: false,
        }
    }

    /// How it ended; `None` while it goes on.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.course {
            Course::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether it heads for the new version.
    pub fn is_forward(&self) -> bool {
        self.course == Course::Forward
    }

    /// A hook that nothing but somebody's word leads past: its end is unknown, or it failed on the way back.
    pub fn blocked_hook(&self) -> Option<(&str, &str)> {
        self.hooks.iter().filter(|(_, hook)| !hook.again).find_map(|(call, hook)| match &hook.outcome {
            Some(HookOutcome::Unknown(reason)) if self.is_forward() || call.starts_with("undo-") => {
                Some((call.as_str(), reason.as_str()))
            }
            Some(HookOutcome::Failed(reason)) if !self.is_forward() && call.starts_with("undo-") => {
                Some((call.as_str(), reason.as_str()))
            }
            _ => None,
        })
    }

    /// For how long the phase that it stopped in has to be true before it goes on by itself.
    pub fn steady(&self) -> Span {
        let doubled = STEADY.as_millis().saturating_mul(1 << self.recoveries.min(10));
        Span::from_millis(doubled.min(CALM.as_millis()))
    }
}
