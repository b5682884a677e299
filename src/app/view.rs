//! From a unit's journal and what was seen of it to what people and programs are told.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::standing;
use super::unit::glance::Glance;
use super::unit::outcome::outcome_label;
use crate::api::types::{
    AnalysisView, GroupView, HeldView, InstanceView, LeavingView, PhaseView, RollbackView, RolloutSummary, RolloutView,
    UnitStatus, VersionRef,
};
use crate::domain::analysis::Outcome as Verdict;
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::id::{Revision, UnitId};
use crate::domain::observed::{Leaving, ObservedGroup, ObservedUnit, Seen};
use crate::domain::plan::{Phase, PhaseId, Plan};
use crate::domain::rollout::event::Outcome;
use crate::domain::rollout::state::{Course, RolloutState};
use crate::domain::unit::held::{Held, HeldReason};
use crate::domain::unit::state::{RollbackStatus, UnitState, Wants};

/// The desired states that a unit's state names, by digest.
pub type Known = BTreeMap<Digest, std::sync::Arc<DesiredUnit>>;

/// The digests that [`status`] wants to have looked up.
pub fn wanted(state: &UnitState) -> Vec<Digest> {
    let candidate = state.candidate.as_ref().and_then(|candidate| match &candidate.wants {
        Wants::Run { rendered, .. } => Some(rendered.clone()),
        Wants::Gone { .. } => None,
    });
    let effective = state.effective.as_ref().and_then(|effective| effective.rendered.clone());
    let verified = state.last_verified.as_ref().map(|verified| verified.rendered.clone());
    let rollback = state.rollback.as_ref().map(|rollback| [rollback.bad.clone(), rollback.good.clone()]);
    candidate.into_iter().chain(effective).chain(verified).chain(rollback.into_iter().flatten()).collect()
}

/// One unit, for people and programs.
pub fn status(unit: &UnitId, glance: &Glance, known: &Known, environment_suspended: bool) -> UnitStatus {
    let state = &glance.state;
    let (health, message) = standing::health(glance, known);
    let effective = state.effective.as_ref();
    let desired = effective.and_then(|effective| effective.rendered.as_ref()).and_then(|digest| known.get(digest));
    UnitStatus {
        unit: unit.clone(),
        health,
        message,
        candidate: state.candidate.as_ref().and_then(|candidate| match &candidate.wants {
            Wants::Run { rendered, .. } => Some(version(known, rendered, Some(&candidate.revision))),
            Wants::Gone { .. } => None,
        }),
        effective: effective.and_then(|effective| {
            effective.rendered.as_ref().map(|rendered| version(known, rendered, Some(&effective.revision)))
        }),
        last_verified: state
            .last_verified
            .as_ref()
            .map(|verified| version(known, &verified.rendered, Some(&verified.revision))),
        held: state.held.iter().map(held_view).collect(),
        replicas: desired.map_or(0, |desired| desired.replicas),
        groups: glance.observed.as_ref().map(groups).unwrap_or_default(),
        rollout: state.rollout.as_ref().map(|rollout| rollout_view(glance, rollout)),
        rollback: state.rollback.as_ref().map(|rollback| {
            let (status, commit, branch, message) = rollback_status(&rollback.status);
            RollbackView {
                id: rollback.id.clone(),
                reason: rollback.reason.clone(),
                bad: version(known, &rollback.bad, Some(&rollback.bad_revision)),
                good: version(known, &rollback.good, Some(&rollback.good_revision)),
                status: status.into(),
                message,
                commit,
                branch,
                started: rollback.at,
                traffic_back: rollback.traffic_back,
            }
        }),
        suspended: state.suspended.is_some() || environment_suspended,
        changed: last_change(state),
    }
}

pub(super) fn version(known: &Known, rendered: &Digest, revision: Option<&Revision>) -> VersionRef {
    VersionRef {
        version: known.get(rendered).map_or_else(|| rendered.short().to_owned(), |desired| desired.version.clone()),
        rendered: rendered.clone(),
        revision: revision.cloned(),
    }
}

/// One reason, for the API.
pub fn held_view(held: &Held) -> HeldView {
    let reason = match &held.reason {
        HeldReason::DependsOn { .. } => "dependsOn".into(),
        HeldReason::Wave { .. } => "wave".into(),
        HeldReason::Moving { .. } => "moving".into(),
        plain => match serde_json::to_value(plain) {
            Ok(serde_json::Value::String(name)) => name,
            _ => format!("{plain:?}"),
        },
    };
    HeldView { reason, message: held.message.clone(), remedy: held.remedy.clone() }
}

fn groups(observed: &ObservedUnit) -> Vec<GroupView> {
    let Seen::Known(groups) = &observed.groups else { return Vec::new() };
    let traffic = observed.traffic.known().and_then(Option::as_ref);
    let total: u64 =
        traffic.map_or(0, |traffic| traffic.backends.values().map(|backend| u64::from(backend.weight)).sum());
    let share = |group: &ObservedGroup| {
        let weight = traffic?.backends.get(&group.group).map_or(0, |backend| backend.weight);
        #[expect(clippy::cast_precision_loss, reason = "weights are far below 2^52, and this is for people")]
        Some(if total == 0 { 0.0 } else { f64::from(weight) * 100.0 / total as f64 })
    };
    let view = |group: &ObservedGroup| GroupView {
        group: group.group.clone(),
        version: group.version.clone(),
        replicas: group.replicas,
        ready: group.ready(u32::MAX),
        share: share(group),
        retiring: group.retiring,
        leaving: group.leaving.iter().map(leaving_view).collect(),
        instances: group
            .instances
            .iter()
            .map(|instance| InstanceView {
                id: instance.id.clone(),
                ready: instance.ready,
                address: instance.address.map(|address| address.to_string()),
                restarts: instance.restarts,
                message: instance.message.clone(),
            })
            .collect(),
    };
    groups.iter().map(view).collect()
}

fn leaving_view(one: &Leaving) -> LeavingView {
    LeavingView { id: one.id.clone(), message: one.message.clone(), remedy: one.remedy.clone() }
}

fn rollout_view(glance: &Glance, rollout: &RolloutState) -> RolloutView {
    let plan = glance.plan.as_ref().filter(|_| glance.plan_digest.as_ref() == Some(&rollout.plan)).map(AsRef::as_ref);
    let mut summary = summary(rollout, plan);
    summary.ended = glance.state.history.iter().rev().find(|past| past.id == rollout.id).map(|past| past.ended);
    let ended = summary.ended;
    RolloutView {
        summary,
        phases: plan.map(|plan| phases(rollout, plan, ended)).unwrap_or_default(),
        analyses: rollout
            .analyses
            .iter()
            .filter_map(|(key, tally)| {
                let name = analysis_name(&key.0, plan)?;
                let verdict =
                    plan.and_then(|plan| plan.analyses.get(&name)).and_then(|analysis| tally.verdict(analysis));
                let outcome = match verdict {
                    None => "running",
                    Some(Verdict::Success) => "success",
                    Some(Verdict::Failure) => "failure",
                    Some(Verdict::Inconclusive) => "inconclusive",
                };
                Some(AnalysisView { name, outcome: outcome.into(), detail: tally.detail().to_owned() })
            })
            .collect(),
        waits: glance.waits.as_ref().map(|waits| waits.reason.clone()),
        until: glance.waits.as_ref().and_then(|waits| waits.until),
        next_try: next_try(glance),
    }
}

/// When what failed is tried again, where it waits for that.
pub fn next_try(glance: &Glance) -> Option<Timestamp> {
    glance.waits.as_ref().filter(|waits| waits.tries_again)?.until
}

/// The analysis that a key belongs to: `gate/NAME/n`, or `step/PHASE/INDEX/n` through the plan.
fn analysis_name(key: &str, plan: Option<&Plan>) -> Option<crate::domain::id::Name> {
    use crate::domain::plan::{Condition, PhaseId};
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["gate", name, _] => name.parse().ok(),
        ["step", phase, index, _] => {
            let phase = plan?.phase(PhaseId(phase.parse().ok()?))?;
            match phase.advance.get(index.parse::<usize>().ok()?)? {
                Condition::Analysis(name) => Some(name.clone()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The phases that were left, the present one, and what is still before it on its way: on the way back, that way's.
fn phases(rollout: &RolloutState, plan: &Plan, ended: Option<Timestamp>) -> Vec<PhaseView> {
    let named = |id: PhaseId| plan.phase(id).map_or_else(|| format!("phase {}", id.0), |phase| phase.name.clone());
    let done = |id: PhaseId, entered: Option<Timestamp>, left: Option<Timestamp>| PhaseView {
        name: named(id),
        state: "done".into(),
        entered,
        left,
    };
    let pending =
        |phase: &Phase| PhaseView { name: phase.name.clone(), state: "pending".into(), entered: None, left: None };
    let mut all: Vec<_> = rollout.left.iter().map(|span| done(span.id, Some(span.entered), Some(span.left))).collect();
    let Some(now) = &rollout.phase else {
        all.extend(plan.phases.iter().map(pending));
        return all;
    };
    let state = if rollout.outcome().is_some() { "done" } else { "current" };
    all.push(PhaseView { name: named(now.id), state: state.into(), entered: Some(now.entered), left: ended });
    let way = if plan.settle.iter().any(|phase| phase.id == now.id) { &plan.settle } else { &plan.phases };
    all.extend(way.iter().filter(|phase| phase.id > now.id).map(pending));
    all
}

/// A rollout in a line.
pub fn summary(rollout: &RolloutState, plan: Option<&Plan>) -> RolloutSummary {
    let (status, reason) = match &rollout.course {
        Course::Ended(outcome) => (outcome_label(outcome), outcome_reason(outcome)),
        Course::Settling(why) => ("settling", Some(super::unit::advance::why_text(why))),
        Course::Forward if rollout.stopped.is_some() => ("stopped", rollout.stopped.clone()),
        Course::Forward if rollout.paused.is_some() => ("paused", rollout.paused.clone().map(|by| format!("by {by}"))),
        Course::Forward => ("running", rollout.failure.as_ref().map(|failure| failure.reason.clone())),
    };
    let named = |group: Option<&crate::domain::id::GroupId>| {
        group.and_then(|group| plan?.groups.get(group)).map(|source| source.version.clone())
    };
    RolloutSummary {
        id: rollout.id.clone(),
        kind: rollout.kind.name().into(),
        from: named(plan.and_then(|plan| plan.stable.as_ref())),
        to: named(plan.and_then(|plan| plan.target.as_ref())),
        revision: rollout.revision.clone(),
        status: status.into(),
        reason: reason.or_else(|| rollout.cause.clone()),
        started: rollout.began,
        ended: None,
        traffic_back: rollout.traffic_back,
    }
}

/// Why a rollout ended as it did.
pub fn outcome_reason(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::RolledBack(failure) => Some(failure.reason.clone()),
        Outcome::Aborted { by, reason } if reason.is_empty() => Some(format!("by {by}")),
        Outcome::Aborted { by, reason } => Some(format!("by {by}: {reason}")),
        Outcome::Verified | Outcome::Superseded => None,
    }
}

pub(super) fn rollback_status(status: &RollbackStatus) -> (&'static str, Option<Revision>, Option<String>, String) {
    match status {
        RollbackStatus::Decided => ("decided", None, None, "the revert is being made".into()),
        RollbackStatus::Committed { revision } => {
            ("committed", Some(revision.clone()), None, "the revert is being pushed".into())
        }
        RollbackStatus::Pushed { revision } => {
            ("pushed", Some(revision.clone()), None, "the revert is on the branch".into())
        }
        RollbackStatus::Held { reason, branch: Some(branch) } => {
            ("held", None, Some(branch.clone()), format!("merge the revert from branch {branch}: {reason}"))
        }
        RollbackStatus::Held { reason, branch: None } => ("held", None, None, reason.clone()),
    }
}

fn last_change(state: &UnitState) -> Option<Timestamp> {
    let rollout =
        state.rollout.as_ref().map(|rollout| rollout.phase.as_ref().map_or(rollout.began, |phase| phase.entered));
    let ended = state.history.last().map(|past| past.ended);
    let candidate = state.candidate.as_ref().map(|candidate| candidate.seen);
    rollout.max(ended).max(candidate)
}

/// A rollout that is over, in a line.
pub fn past(past: &crate::domain::unit::state::Past, plan: Option<&Plan>) -> RolloutSummary {
    let named = |group: Option<&crate::domain::id::GroupId>| {
        group.and_then(|group| plan?.groups.get(group)).map(|source| source.version.clone())
    };
    RolloutSummary {
        id: past.id.clone(),
        kind: plan.map_or("unknown", |plan| plan.kind.name()).into(),
        from: named(plan.and_then(|plan| plan.stable.as_ref())),
        to: named(plan.and_then(|plan| plan.target.as_ref())),
        revision: past.revision.clone(),
        status: outcome_label(&past.outcome).into(),
        reason: outcome_reason(&past.outcome).or_else(|| past.cause.clone()),
        started: past.began,
        ended: Some(past.ended),
        traffic_back: past.traffic_back,
    }
}
