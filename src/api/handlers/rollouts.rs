//! Rollouts and plans.

use axum::Json as AxumJson;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Json, Path, Query, Shared};
use crate::api::operations::UnitFilter;
use crate::api::page::{Page, PageQuery};
use crate::api::resources::{RolloutDetail, RolloutEntry, RolloutFilter};
use crate::api::types::{PlanRequest, Problem, UnitPlan};
use crate::domain::digest::Digest;
use crate::domain::id::RolloutId;
use crate::domain::plan::Plan;

/// Which rollout.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct RolloutPath {
    /// Its id.
    id: RolloutId,
}

/// Which plan.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct PlanPath {
    /// Its digest.
    digest: Digest,
}

/// Rollouts of all units, the newest first.
#[utoipa::path(get, path = "/api/v1/rollouts", tag = "rollouts", params(RolloutFilter, PageQuery), responses(
    (status = 200, description = "A page of them.", body = Page<RolloutEntry>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn rollouts(
    State(operations): State<Shared>,
    Query(filter): Query<RolloutFilter>,
    Query(page): Query<PageQuery>,
) -> Answer<Page<RolloutEntry>> {
    Ok(AxumJson(operations.rollouts(&filter, &page.try_into()?).await))
}

/// One rollout.
#[utoipa::path(get, path = "/api/v1/rollouts/{id}", tag = "rollouts", params(RolloutPath), responses(
    (status = 200, description = "It.", body = RolloutDetail),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn rollout(State(operations): State<Shared>, Path(path): Path<RolloutPath>) -> Answer<RolloutDetail> {
    operations.rollout(&path.id).await.map(AxumJson)
}

/// What would be done now, by unit.
#[utoipa::path(get, path = "/api/v1/plans", tag = "rollouts", params(UnitFilter, PageQuery), responses(
    (status = 200, description = "A page of plans for what the newest head asks for.", body = Page<UnitPlan>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn plans(
    State(operations): State<Shared>,
    Query(filter): Query<UnitFilter>,
    Query(page): Query<PageQuery>,
) -> Answer<Page<UnitPlan>> {
    operations.plans(&filter, &page.try_into()?).await.map(AxumJson)
}

/// Plans for another commit or branch, without doing anything.
#[utoipa::path(post, path = "/api/v1/plans", tag = "rollouts", request_body = PlanRequest, responses(
    (status = 200, description = "The plans.", body = Vec<UnitPlan>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn plan(State(operations): State<Shared>, Json(request): Json<PlanRequest>) -> Answer<Vec<UnitPlan>> {
    operations.plan(request).await.map(AxumJson)
}

/// The plan of a rollout, by its digest.
#[utoipa::path(get, path = "/api/v1/plans/{digest}", tag = "rollouts", params(PlanPath), responses(
    (status = 200, description = "It.", body = Plan),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn stored_plan(State(operations): State<Shared>, Path(path): Path<PlanPath>) -> Answer<Plan> {
    operations.stored_plan(&path.digest).await.map(AxumJson)
}
