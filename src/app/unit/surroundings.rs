//! What stands around a unit and decides with its own state whether its candidate may become effective: the apps it depends on, the waves
//! before it, where it runs.

use super::origin::{unknown_origin, unseen_origin};
use super::step::StepError;
use super::task::Shared;
use super::{Inner, Unit};
use crate::domain::desired::DesiredUnit;
use crate::domain::digest::Digest;
use crate::domain::gate::{self, gate};
use crate::domain::id::UnitId;
use crate::domain::observed::ObservedUnit;
use crate::domain::unit::event::UnitEvent;
use crate::domain::unit::state::{Effective, UnitState, Wants};

impl Unit {
    /// Lets the candidate become effective, or writes down what holds it. Answers whether something changed.
    pub(super) async fn pass_gate(
        &self,
        inner: &mut Inner,
        shared: &Shared,
        observed: &ObservedUnit,
    ) -> Result<bool, StepError> {
        if !inner.told {
            return Ok(false);
        }
        let around = self.surroundings(inner, shared, observed).await;
        let state = inner.log.state();
        let held = gate(state, &around);
        let mut events = Vec::new();
        let next = gate::next_effective(state, &held).filter(|_| unseen_origin(state, observed).is_none());
        if let Some(Effective { revision, rendered }) = next {
            events.push(UnitEvent::EffectiveSet { revision, rendered });
        }
        if held != state.held {
            events.push(UnitEvent::HeldChanged { held });
        }
        if events.is_empty() {
            return Ok(false);
        }
        self.append(inner, &events).await?;
        Ok(true)
    }

    async fn surroundings(&self, inner: &Inner, shared: &Shared, observed: &ObservedUnit) -> gate::Surroundings {
        let state = inner.log.state();
        let mut around = gate::Surroundings {
            environment_suspended: shared.installation.environment_suspended(&self.id.environment),
            broken: inner.broken.clone(),
            needs_ack: inner.needs_ack.clone(),
            moving: inner.moving.clone(),
            unknown: unknown_origin(state, observed),
            ..gate::Surroundings::default()
        };
        // Documents that don't render tell nothing of dependencies; what was rendered last does.
        let Some(rendered) = asked_for(state) else { return around };
        if !gate::is_new(state) {
            return around;
        }
        let Ok(desired) = self.world.blobs.desired(rendered).await else { return around };
        let (here, there) = (self.place(state).await, desired.workload.place());
        if here != there && observed.groups.known().is_none_or(|groups| !groups.is_empty()) {
            around.elsewhere = Some(format!("it runs on {here}, and its documents put it on {there}"));
        }
        for app in &desired.depends_on {
            let id = UnitId { app: app.clone(), ..self.id.clone() };
            let reason = match shared.registry.get(&id) {
                None => Some("it has no release here".into()),
                Some(unit) => unverified(&unit.glance().state),
            };
            around.dependencies.push((app.clone(), reason));
        }
        around.lower_wave = self.lower_wave(shared, &desired).await;
        around
    }

    /// The lowest wave below this unit's whose targets are not all verified.
    async fn lower_wave(&self, shared: &Shared, desired: &DesiredUnit) -> Option<(u32, String)> {
        let mut lowest: Option<(u32, String)> = None;
        for other in shared.registry.targets(&self.id.app, &self.id.environment) {
            if other.id() == &self.id {
                continue;
            }
            let glance = other.glance();
            let Some(rendered) = asked_for(&glance.state) else { continue };
            let Ok(theirs) = self.world.blobs.desired(rendered).await else { continue };
            if theirs.wave >= desired.wave || lowest.as_ref().is_some_and(|(wave, _)| *wave <= theirs.wave) {
                continue;
            }
            if let Some(reason) = unverified(&glance.state) {
                lowest = Some((theirs.wave, format!("target {}: {reason}", other.id().target)));
            }
        }
        lowest
    }
}

/// What Git's head asks to run.
pub(super) fn asked_for(state: &UnitState) -> Option<&Digest> {
    match &state.candidate.as_ref()?.wants {
        Wants::Run { rendered, .. } => Some(rendered),
        Wants::Gone { .. } => None,
    }
}

/// Why a unit's candidate is not verified; `None`: it is.
fn unverified(state: &UnitState) -> Option<String> {
    let Some(Wants::Run { rendered, version }) = state.candidate.as_ref().map(|candidate| &candidate.wants) else {
        return Some("it is not asked for here".into());
    };
    if state.last_verified.as_ref().is_some_and(|verified| verified.rendered == *rendered) && state.running().is_none()
    {
        return None;
    }
    Some(match (state.held.first(), state.running()) {
        (Some(held), _) => held.message.clone(),
        (None, Some(_)) => format!("{version} rolls out"),
        (None, None) => format!("{version} is not verified"),
    })
}
