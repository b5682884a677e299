//! What changes something.

use axum::Extension;
use axum::Json as AxumJson;
use axum::extract::State;

use super::fleet::EnvironmentPath;
use super::{Answer, Json, Path, Query, Shared, UnitPath};
use crate::api::operations::{Caller, UnitFilter};
use crate::api::types::{AckRequest, Done, EnvironmentCommand, Problem, QuarantineClear, QuarantineEntry, UnitCommand};

/// Asks something of a unit: promote, pause, resume, abort, retry, restart, rollback, suspend, unsuspend.
#[utoipa::path(post, path = "/api/v1/units/{app}/{environment}/{target}/command", tag = "commands",
    params(UnitPath), request_body = UnitCommand, responses(
    (status = 200, description = "It is recorded and under way.", body = Done),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn unit_command(
    State(operations): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<UnitPath>,
    Json(command): Json<UnitCommand>,
) -> Answer<Done> {
    operations.unit_command(&caller, &path.into(), command).await.map(AxumJson)
}

/// Asks something of an environment: suspend, unsuspend.
#[utoipa::path(post, path = "/api/v1/environments/{environment}/command", tag = "commands",
    params(EnvironmentPath), request_body = EnvironmentCommand, responses(
    (status = 200, description = "It is recorded and under way.", body = Done),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn environment_command(
    State(operations): State<Shared>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<EnvironmentPath>,
    Json(command): Json<EnvironmentCommand>,
) -> Answer<Done> {
    operations.environment_command(&caller, &path.environment, command).await.map(AxumJson)
}

/// Fetches the source now, and has what waits for its next try tried at once: of all units, or of those that are named. Answers after
/// the fetch.
#[utoipa::path(post, path = "/api/v1/reconcile", tag = "commands", params(UnitFilter), responses(
    (status = 200, description = "It was fetched.", body = Done),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn reconcile(
    State(operations): State<Shared>,
    Extension(caller): Extension<Caller>,
    Query(filter): Query<UnitFilter>,
) -> Answer<Done> {
    operations.reconcile(&caller, &filter).await.map(AxumJson)
}

/// Accepts what waits for somebody to look: rewritten history, a mass removal.
#[utoipa::path(post, path = "/api/v1/ack", tag = "commands", request_body = AckRequest, responses(
    (status = 200, description = "It goes on.", body = Done),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn ack(
    State(operations): State<Shared>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<AckRequest>,
) -> Answer<Done> {
    operations.ack(&caller, request).await.map(AxumJson)
}

/// What is quarantined.
#[utoipa::path(get, path = "/api/v1/quarantine", tag = "commands", responses(
    (status = 200, description = "All of it.", body = Vec<QuarantineEntry>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn quarantine(State(operations): State<Shared>) -> AxumJson<Vec<QuarantineEntry>> {
    AxumJson(operations.quarantine().await)
}

/// Lets quarantined states be tried again.
#[utoipa::path(post, path = "/api/v1/quarantine/clear", tag = "commands", request_body = QuarantineClear, responses(
    (status = 200, description = "They may be tried again.", body = Done),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn clear_quarantine(
    State(operations): State<Shared>,
    Extension(caller): Extension<Caller>,
    Json(request): Json<QuarantineClear>,
) -> Answer<Done> {
    operations.clear_quarantine(&caller, request).await.map(AxumJson)
}
