//! What the API lists over all units: pages of units, rollouts and plans.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;

use super::blobs::BlobError;
use super::operations::{Daemon, is_shown, unavailable};
use super::unit::Unit;
use super::view;
use crate::api::operations::{UnitFilter, problem};
use crate::api::page::{Page, Position, unit_key};
use crate::api::resources::{RolloutDetail, RolloutEntry, RolloutFilter};
use crate::api::types::{Problem, RolloutView, UnitPlan};
use crate::api::written::WrittenStatus;
use crate::domain::digest::Digest;
use crate::domain::id::RolloutId;
use crate::domain::plan::Plan;

impl Daemon {
    /// One page of units: only those on it are looked at closely.
    pub(super) async fn page_of_units(&self, filter: &UnitFilter, at: &Position) -> Page<WrittenStatus> {
        let shown: Vec<_> = self
            .matching(filter)
            .into_iter()
            .map(|unit| (unit.glance(), unit))
            .filter(|(glance, _)| is_shown(&glance.state))
            .collect();
        let page = at.page(shown, |(_, unit)| unit_key(unit.id()));
        let mut items = Vec::with_capacity(page.items.len());
        for (glance, unit) in &page.items {
            items.push(self.written(unit, glance).await);
        }
        Page { items, next: page.next }
    }

    /// One page of the rollouts of all units, newest first: their ids are in the order of time.
    pub(super) async fn page_of_rollouts(&self, filter: &RolloutFilter, at: &Position) -> Page<RolloutEntry> {
        let mut found: BTreeMap<RolloutId, Arc<Unit>> = BTreeMap::new();
        for unit in self.shared.registry.all() {
            let state = unit.glance().state.clone();
            let running = state.running().map(|rollout| (rollout.id.clone(), true));
            let ended = state.history.iter().map(|past| (past.id.clone(), false));
            for (id, _) in running.into_iter().chain(ended).filter(|(_, runs)| filter.matches(unit.id(), *runs)) {
                found.insert(id, unit.clone());
            }
        }
        let page = at.page_down(found.into_iter().rev(), |(id, _)| id.as_str().into());
        let mut items = Vec::with_capacity(page.items.len());
        for (id, unit) in &page.items {
            if let Some(rollout) = self.rollout_of(unit, id).await {
                items.push(RolloutEntry { unit: rollout.unit, summary: rollout.rollout.summary });
            }
        }
        Page { items, next: page.next }
    }

    /// A rollout by its id.
    pub(super) async fn rollout_by_id(&self, id: &RolloutId) -> Result<RolloutDetail, Problem> {
        for unit in self.shared.registry.all() {
            if let Some(found) = self.rollout_of(&unit, id).await {
                return Ok(found);
            }
        }
        let message = "there is no rollout with this id; the last ones of each unit are remembered";
        Err(problem(StatusCode::NOT_FOUND, "notFound", message))
    }

    async fn rollout_of(&self, unit: &Arc<Unit>, id: &RolloutId) -> Option<RolloutDetail> {
        let glance = unit.glance();
        if glance.state.rollout.as_ref().is_some_and(|rollout| rollout.id == *id) {
            let rollout = self.status(unit, &glance).await.rollout?;
            return Some(RolloutDetail { unit: unit.id().clone(), rollout });
        }
        let past = glance.state.history.iter().find(|past| past.id == *id)?;
        let plan = self.world.blobs.plan(&past.plan).await.ok();
        let summary = view::past(past, plan.as_ref());
        let rollout =
            RolloutView { summary, phases: Vec::new(), analyses: Vec::new(), waits: None, until: None, next_try: None };
        Some(RolloutDetail { unit: unit.id().clone(), rollout })
    }

    /// A plan by its digest.
    pub(super) async fn plan_by_digest(&self, digest: &Digest) -> Result<Plan, Problem> {
        self.world.blobs.plan(digest).await.map_err(|error| match error {
            BlobError::Missing { .. } | BlobError::Unreadable { .. } | BlobError::Values { .. } => {
                problem(StatusCode::NOT_FOUND, "notFound", "there is no plan with this digest")
            }
            error @ BlobError::Journal(_) => unavailable(&error),
        })
    }

    /// One page of plans for what the newest head asks for.
    pub(super) async fn page_of_plans(&self, filter: &UnitFilter, at: &Position) -> Result<Page<UnitPlan>, Problem> {
        let asked = self.asked_by_head().await?;
        let page = at.page(asked.into_iter().filter(|(unit, _)| filter.matches(unit)), |(unit, _)| unit_key(unit));
        let mut items = Vec::with_capacity(page.items.len());
        for (unit, desired) in page.items {
            items.push(self.unit_plan(unit, desired, true).await?);
        }
        Ok(Page { items, next: page.next })
    }
}
