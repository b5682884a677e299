//! The daemon itself: whether it lives, whether it can work, what it counts.

use std::time::Duration;

use axum::Json as AxumJson;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Answer, Query, Shared};
use crate::api::page::LARGEST_NUMBER;
use crate::api::problem::invalid;
use crate::api::types::{Changes, CheckResult, DaemonStatus, Problem, Readiness};

/// How long a request for changes may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Whether the daemon makes progress.
#[utoipa::path(get, path = "/healthz", tag = "daemon", security(()), responses(
    (status = 200, description = "It does.", content_type = "text/plain", body = String),
    (status = 503, description = "It does not; why.", content_type = "text/plain", body = String),
))]
pub async fn healthz(State(operations): State<Shared>) -> Response {
    match operations.healthy() {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// Whether everything that the daemon depends on is there.
#[utoipa::path(get, path = "/readyz", tag = "daemon", security(()), responses(
    (status = 200, description = "It is.", body = Readiness),
    (status = 503, description = "It is not; why.", body = Readiness),
))]
pub async fn readyz(State(operations): State<Shared>) -> Response {
    let readiness = operations.ready().await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, AxumJson(readiness)).into_response()
}

/// Metrics in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "daemon", responses(
    (status = 200, description = "The metrics.", content_type = "text/plain", body = String),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn metrics(State(operations): State<Shared>) -> Response {
    ([("content-type", "text/plain; version=0.0.4")], operations.metrics()).into_response()
}

/// The daemon and its source.
#[utoipa::path(get, path = "/api/v1/daemon", tag = "daemon", responses(
    (status = 200, description = "How it stands.", body = DaemonStatus),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn daemon(State(operations): State<Shared>) -> AxumJson<DaemonStatus> {
    AxumJson(operations.daemon().await)
}

/// Looks at everything that the daemon depends on.
#[utoipa::path(get, path = "/api/v1/check", tag = "daemon", responses(
    (status = 200, description = "What was found, part by part.", body = Vec<CheckResult>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn check(State(operations): State<Shared>) -> AxumJson<Vec<CheckResult>> {
    AxumJson(operations.check().await)
}

/// Since when, and how long to wait.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChangesQuery {
    /// `seq` of the answer before; 0 at first.
    #[serde(default)]
    #[param(required = false, minimum = 0, maximum = 9007199254740991_f64)]
    since: u64,
    /// At most so many seconds. Without: not at all.
    #[param(minimum = 0, maximum = 60)]
    wait: Option<f64>,
}

/// Waits until something changed.
#[utoipa::path(get, path = "/api/v1/changes", tag = "daemon", params(ChangesQuery), responses(
    (status = 200, description = "At once where something changed since, else when it does or the wait is over.", body = Changes),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn changes(State(operations): State<Shared>, Query(query): Query<ChangesQuery>) -> Answer<Changes> {
    if query.since > LARGEST_NUMBER {
        return Err(invalid(format!("since is {}, which is no `seq` of an answer", query.since)));
    }
    let wait = query.wait.unwrap_or(0.0);
    if wait > LONGEST_WAIT.as_secs_f64() {
        return Err(invalid(format!("wait is {wait}: ask for {} seconds at most", LONGEST_WAIT.as_secs())));
    }
    let wait = Duration::try_from_secs_f64(wait).map_err(invalid)?;
    Ok(AxumJson(operations.changes(query.since, wait).await))
}
