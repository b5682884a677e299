//! What would happen: the same pure planner on the same observations as the daemon's own, without doing any of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;

use super::observe::observe;
use super::operations::{Daemon, is_shown, unavailable};
use super::unit::Unit;
use super::view::held_view;
use crate::api::operations::problem;
use crate::api::operations::{Caller, UnitFilter};
use crate::api::types::{Done, HeldView, PlanRequest, Problem, UnitPlan};
use crate::domain::desired::DesiredUnit;
use crate::domain::id::{Revision, UnitId};
use crate::domain::objects::mask::masked;
use crate::domain::prediction::Prediction;
use crate::domain::unit::state::{UnitState, Wants};
use crate::domain::workload::Place;
use crate::ports::platform::Predict;

/// What each unit is asked to be; `None`: nothing any more.
pub(super) type Asked = BTreeMap<UnitId, Option<Arc<DesiredUnit>>>;

impl Daemon {
    /// Plans what a request asks about.
    pub(super) async fn plan_units(&self, request: PlanRequest) -> Result<Vec<UnitPlan>, Problem> {
        let filter = UnitFilter { app: request.app.clone(), environment: request.environment.clone(), target: None };
        let mut asked = match (&request.desired, &request.revision) {
            (Some(desired), _) => {
                desired.iter().map(|desired| (desired.unit.clone(), Some(Arc::new(desired.clone())))).collect()
            }
            (None, Some(revision)) => self.asked_at(revision).await?,
            (None, None) => self.asked_by_head().await?,
        };
        asked.retain(|unit, _| filter.matches(unit));
        let mut plans = Vec::new();
        for (unit, desired) in asked {
            plans.push(self.unit_plan(unit, desired, request.revision.is_none() && request.desired.is_none()).await?);
        }
        Ok(plans)
    }

    /// What the newest head asks for; for units that can't be rendered now, and for those that are gone, nothing is said.
    pub(super) async fn asked_by_head(&self) -> Result<Asked, Problem> {
        let mut asked = Asked::new();
        for unit in self.shared.registry.all() {
            let glance = unit.glance();
            match glance.state.candidate.as_ref().map(|candidate| &candidate.wants) {
                Some(Wants::Run { rendered, .. }) => {
                    let desired = self.world.blobs.desired(rendered).await.map_err(|error| unavailable(&error))?;
                    asked.insert(unit.id().clone(), Some(desired));
                }
                Some(Wants::Gone { prune: true }) if is_shown(&glance.state) => {
                    asked.insert(unit.id().clone(), None);
                }
                Some(Wants::Gone { .. }) | None => {}
            }
        }
        Ok(asked)
    }

    async fn asked_at(&self, revision: &str) -> Result<Asked, Problem> {
        let revision = self.resolve(revision).await?;
        let base = self.reconciler.view().snapshot;
        let snapshot = self.reconciler.catalog().load(&revision, base.as_deref()).await;
        let snapshot = snapshot.map_err(|error| unavailable(&error))?;
        let mut asked: Asked =
            snapshot.units.iter().map(|(unit, entry)| (unit.clone(), Some(entry.desired.clone()))).collect();
        for unit in self.shared.registry.all() {
            let id = unit.id();
            let broken = snapshot.broken.contains_key(&(id.app.clone(), id.environment.clone()));
            if snapshot.complete && !broken && is_shown(&unit.glance().state) {
                asked.entry(id.clone()).or_insert(None);
            }
        }
        Ok(asked)
    }

    /// A commit by its name or the beginning of it, or the source's branch by its name.
    async fn resolve(&self, text: &str) -> Result<Revision, Problem> {
        if text == self.shared.settings.source.branch || text == "HEAD" {
            let head = self.reconciler.view().snapshot.map(|snapshot| snapshot.revision.clone());
            return head.ok_or_else(|| {
                problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the source has not been read yet")
            });
        }
        let resolved = self.world.source.resolve(text).await;
        resolved.map_err(|error| problem(StatusCode::NOT_FOUND, "notFound", error.to_string()))
    }

    pub(super) async fn unit_plan(
        &self,
        id: UnitId,
        desired: Option<Arc<DesiredUnit>>,
        is_head: bool,
    ) -> Result<UnitPlan, Problem> {
        let known = self.shared.registry.get(&id);
        let state = known.as_ref().map(|unit| unit.glance().state.clone()).unwrap_or_default();
        let unit = match known {
            Some(unit) => unit,
            // Planning for a unit that was never seen writes nothing: it is opened and forgotten.
            None => Unit::open(self.world.clone(), id.clone()).await.map_err(|error| unavailable(&error))?,
        };
        let before = self.before(&state).await;
        let desired = match (desired, &before) {
            (Some(mut desired), Some(before)) if desired.secrets().any(|(_, secret)| secret.digest.is_none()) => {
                Arc::make_mut(&mut desired).assume_secrets(before);
                Some(desired)
            }
            (desired, _) => desired,
        };
        // What was never seen is looked for where it is asked to be.
        let place = match (state.present(), &desired) {
            (None, Some(desired)) => desired.workload.place(),
            _ => unit.place(&state).await,
        };
        let observed = observe(&self.world, &id, &place, []).await;
        let prediction = match &desired {
            Some(desired) => self.predict(&place, desired, before.as_deref(), state.restarts).await,
            None => Prediction::default(),
        };
        let rendered = desired.as_ref().map(|desired| (desired.clone(), desired.digest()));
        let planned = unit.plan_desired(&state, rendered, &observed, &prediction).await;
        let planned = planned.map_err(|error| unavailable(&error))?;
        let held = if is_head { state.held.iter().map(held_view).collect() } else { Vec::new() };
        let (plan, blocked) = match planned {
            Ok(plan) => (Some(plan), None),
            Err(blocked) => (None, Some(blocked.to_string())),
        };
        let as_asked = plan.as_ref().is_some_and(crate::domain::plan::Plan::is_empty);
        let left = observed.notable().into_iter().filter(|(object, _)| as_asked && object.ready);
        let left = left.map(|(object, told)| format!("{}: {told}", object.id)).collect();
        let leaving = observed.dropped().map(|one| format!("{}: {}", one.id, one.message)).collect();
        let digest = plan.as_ref().filter(|plan| !plan.is_empty()).map(crate::domain::plan::Plan::digest);
        Ok(UnitPlan {
            unit: id,
            plan,
            digest,
            blocked,
            left,
            leaving,
            held: rollout_under_way(&state).into_iter().chain(held).collect(),
            after: desired.map(|desired| masked(&desired, before.as_deref())),
            before: before.map(|before| masked(&before, None)),
        })
    }

    /// What the platform says would come of it.
    async fn predict(
        &self,
        place: &Place,
        desired: &DesiredUnit,
        before: Option<&DesiredUnit>,
        restarts: u32,
    ) -> Prediction {
        match self.world.platforms.at(place) {
            Ok(platform) => platform.predict(Predict { desired, before, restarts }).await,
            Err(error) => Prediction::unpredictable(error.to_string()),
        }
    }

    /// What is made true now.
    async fn before(&self, state: &UnitState) -> Option<Arc<DesiredUnit>> {
        let rendered = state.effective.as_ref()?.rendered.as_ref()?;
        self.world.blobs.desired(rendered).await.ok()
    }

    /// An operator's rollback: to what was verified before, or to what stood in a commit.
    pub(super) async fn roll_back(&self, caller: &Caller, unit: &Unit, to: Option<Revision>) -> Result<Done, Problem> {
        let to = match to {
            None => None,
            Some(revision) => {
                let revision = self.resolve(revision.as_str()).await?;
                let base = self.reconciler.view().snapshot;
                let snapshot = self.reconciler.catalog().load(&revision, base.as_deref()).await;
                let snapshot = snapshot.map_err(|error| unavailable(&error))?;
                let Some(entry) = snapshot.units.get(unit.id()) else {
                    let message = format!("{} is not asked for, or can't be rendered, at {revision}", unit.id());
                    return Err(problem(StatusCode::NOT_FOUND, "notFound", message));
                };
                Some((revision, entry.desired.clone()))
            }
        };
        Ok(Done { messages: vec![unit.roll_back(&self.shared, caller, to).await?] })
    }
}

fn rollout_under_way(state: &UnitState) -> Option<HeldView> {
    state.running().map(|rollout| HeldView {
        reason: "rollout".into(),
        message: format!("a rollout is under way ({})", rollout.id),
        remedy: "it is finished or called off first: `trimtab rollout status APP`".into(),
    })
}
