//! Whether a failure takes a rollout back by itself.
//!
//! What is critical (a failure that the rules name, while rolling out or while watched) goes back at once, unless the rules call
//! it no hurry: then a canary's weights go back step by step, and at once when its instances break meanwhile. Everything else
//! is watched, healed and told. Two guards stand before it: past a forward-only hook there is no way back, and a storm (a dead
//! database, a broken machine) is no bad release.

use jiff::Timestamp;

use super::desired::Trigger;
use super::installation::STORM_WINDOW;
use super::observed::ObservedUnit;
use super::plan::{PhaseId, Plan, Settle};
use super::rollout::clock;
use super::rollout::event::Failure;

/// How many automatic rollbacks an environment may have in an hour where nothing else is said.
pub const DEFAULT_CAP: u32 = 3;

/// What comes of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Back, to this settle phase.
    Rollback(PhaseId),
    /// The rollout stops where it is; why, for people.
    Stop(String),
    /// First the stable version must be measured by the same analysis.
    AskStable,
}

/// Everything a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What failed.
    pub failure: &'a Failure,
    /// A hook past which there is no way back.
    pub forward_only: Option<&'a str>,
    /// What runs.
    pub observed: &'a ObservedUnit,
    /// Whether the stable version passed the analysis that failed, once it was asked.
    pub stable_passes: Option<(bool, &'a str)>,
    /// When the environment's last automatic rollbacks were decided.
    pub recent: &'a [Timestamp],
    /// How many it may have in an hour.
    pub cap: u32,
    /// What time it is.
    pub now: Timestamp,
}

/// Decides what comes of a failure.
pub fn decide(case: &Case<'_>) -> Decision {
    // The saga sees to that: what was unhealthy and is not any more goes on.
    let healed =
        if case.failure.trigger == Trigger::Unhealthy { "; it goes on by itself once it is healthy" } else { "" };
    let reason = &case.failure.reason;
    if let Some(hook) = case.forward_only {
        return Decision::Stop(format!(
            "{reason}; there is no way back: the hook {hook} is forward only and has started"
        ));
    }
    let to = match case.plan.phase(case.failure.phase).map(|phase| &phase.on_failure) {
        Some(Settle::Phase { phase, on, gradually }) if on.contains(&case.failure.trigger) => {
            let calm = gradually.as_ref().filter(|gradually| gradually.on.contains(&case.failure.trigger));
            calm.map_or(*phase, |gradually| gradually.phase)
        }
        Some(Settle::Phase { .. }) if case.plan.stable.is_none() => {
            return Decision::Stop(format!(
                "{reason}; nothing was verified before it, so there is nothing to go back to{healed}"
            ));
        }
        Some(Settle::ForwardOnly) => {
            return Decision::Stop(format!("{reason}; a forward-only hook has run, so there is no way back"));
        }
        _ => return Decision::Stop(format!("{reason}; the rollback rules leave it at that{healed}")),
    };
    if let Some(held) = storm(case.recent, case.cap, case.now) {
        return Decision::Stop(format!("{reason}; {held}"));
    }
    match stable_passes(case) {
        Some(Err(why)) => {
            Decision::Stop(format!("{reason}; the stable version does not pass the same check either: {why}{healed}"))
        }
        Some(Ok(())) => Decision::Rollback(to),
        None => Decision::AskStable,
    }
}

/// Why no further automatic rollback is made for now; `None`: one may be.
pub fn storm(recent: &[Timestamp], cap: u32, now: Timestamp) -> Option<String> {
    let count = recent.iter().filter(|at| clock::between(**at, now) < STORM_WINDOW).count();
    (count >= cap as usize).then(|| {
        format!(
            "this environment was rolled back automatically {count} times within {STORM_WINDOW}, which is the limit: \
             something other than the releases may be broken"
        )
    })
}

/// Whether the stable version passes the check that failed; `None`: it has to be measured. What can't be checked passes: the
/// stable version did pass once.
fn stable_passes(case: &Case<'_>) -> Option<Result<(), String>> {
    match case.failure.trigger {
        Trigger::Hook => Some(Ok(())),
        Trigger::Unhealthy => Some(stable_is_healthy(case)),
        Trigger::Analysis => match case.stable_passes {
            Some((true, _)) => Some(Ok(())),
            Some((false, detail)) => Some(Err(detail.to_owned())),
            None if serves_beside(case) => None,
            None => Some(Ok(())),
        },
    }
}

/// The stable group runs and has traffic, so that the same analysis can be asked of it.
fn serves_beside(case: &Case<'_>) -> bool {
    let Some(stable) = &case.plan.stable else { return false };
    let route = case.observed.traffic.known().and_then(Option::as_ref);
    route.and_then(|route| route.backends.get(stable)).is_some_and(|backend| backend.weight > 0)
}

fn stable_is_healthy(case: &Case<'_>) -> Result<(), String> {
    let Some(stable) = case.plan.stable.as_ref().filter(|stable| case.plan.target.as_ref() != Some(stable)) else {
        return Ok(());
    };
    let groups = case.observed.groups.known().map(Vec::as_slice).unwrap_or_default();
    let Some(seen) = groups.iter().find(|seen| seen.group == *stable && !seen.retiring) else { return Ok(()) };
    if seen.instances.is_empty() || seen.ready(u32::MAX) > 0 {
        return Ok(());
    }
    let why = seen.instances.iter().find_map(|one| one.message.clone());
    Err(format!(
        "none of its {} instances is ready{}",
        seen.instances.len(),
        why.map(|w| format!(": {w}")).unwrap_or_default()
    ))
}
