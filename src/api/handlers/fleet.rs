//! Environments, apps, releases, units.

use std::convert::Infallible;

use axum::Json as AxumJson;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::IntoParams;

use super::{Answer, Path, Query, Shared, UnitPath};
use crate::api::operations::{Follow, UnitFilter, problem, unknown_unit};
use crate::api::page::{Page, PageQuery, Position};
use crate::api::problem::invalid;
use crate::api::resources::{self, AppView, EnvironmentView, ReleaseView};
use crate::api::types::{Problem, RolloutSummary, UnitStatus};
use crate::api::written::WrittenStatus;
use crate::domain::id::{Name, UnitId};

/// How many log lines are given at most.
const MOST_LINES: u32 = 10_000;
/// How many rollouts of a unit are given at most.
const MOST_HISTORY: u32 = 1_000;

/// Which environment.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct EnvironmentPath {
    /// Its name.
    pub environment: Name,
}

/// Which app.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct AppPath {
    /// Its name.
    app: Name,
}

/// Which release.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ReleasePath {
    /// The app.
    app: Name,
    /// The environment.
    environment: Name,
}

/// Which releases.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReleaseQuery {
    /// Only of this app.
    app: Option<Name>,
    /// Only in this environment.
    environment: Option<Name>,
}

fn missing(what: &str, name: &str) -> Problem {
    problem(StatusCode::NOT_FOUND, "notFound", format!("there is no {what} {name} with units"))
}

/// Environments, by name.
#[utoipa::path(get, path = "/api/v1/environments", tag = "fleet", params(PageQuery), responses(
    (status = 200, description = "A page of them.", body = Page<EnvironmentView>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn environments(
    State(operations): State<Shared>,
    Query(page): Query<PageQuery>,
) -> Answer<Page<EnvironmentView>> {
    let at = Position::try_from(page)?;
    let units = operations.units(&UnitFilter::default()).await;
    let all = resources::environments(&units, &operations.daemon().await.suspended);
    Ok(AxumJson(at.page(all, |view| view.name.as_str().into())))
}

/// One environment.
#[utoipa::path(get, path = "/api/v1/environments/{environment}", tag = "fleet", params(EnvironmentPath), responses(
    (status = 200, description = "It.", body = EnvironmentView),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn environment(
    State(operations): State<Shared>,
    Path(path): Path<EnvironmentPath>,
) -> Answer<EnvironmentView> {
    let filter = UnitFilter { environment: Some(path.environment.clone()), ..UnitFilter::default() };
    let units = operations.units(&filter).await;
    let found = resources::environments(&units, &operations.daemon().await.suspended).pop();
    found.map(AxumJson).ok_or_else(|| missing("environment", path.environment.as_str()))
}

/// Apps, by name.
#[utoipa::path(get, path = "/api/v1/apps", tag = "fleet", params(PageQuery), responses(
    (status = 200, description = "A page of them.", body = Page<AppView>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn apps(State(operations): State<Shared>, Query(page): Query<PageQuery>) -> Answer<Page<AppView>> {
    let at = Position::try_from(page)?;
    let all = resources::apps(&operations.units(&UnitFilter::default()).await);
    Ok(AxumJson(at.page(all, |view| view.name.as_str().into())))
}

/// One app.
#[utoipa::path(get, path = "/api/v1/apps/{app}", tag = "fleet", params(AppPath), responses(
    (status = 200, description = "It.", body = AppView),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn app(State(operations): State<Shared>, Path(path): Path<AppPath>) -> Answer<AppView> {
    let filter = UnitFilter { app: Some(path.app.clone()), ..UnitFilter::default() };
    let found = resources::apps(&operations.units(&filter).await).pop();
    found.map(AxumJson).ok_or_else(|| missing("app", path.app.as_str()))
}

/// Releases, by app and environment.
#[utoipa::path(get, path = "/api/v1/releases", tag = "fleet", params(ReleaseQuery, PageQuery), responses(
    (status = 200, description = "A page of them.", body = Page<ReleaseView>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn releases(
    State(operations): State<Shared>,
    Query(query): Query<ReleaseQuery>,
    Query(page): Query<PageQuery>,
) -> Answer<Page<ReleaseView>> {
    let at = Position::try_from(page)?;
    let filter = UnitFilter { app: query.app, environment: query.environment, target: None };
    let all = resources::releases(&operations.units(&filter).await);
    Ok(AxumJson(at.page(all, |view| format!("{}\0{}", view.app, view.environment).into_bytes())))
}

/// One release.
#[utoipa::path(get, path = "/api/v1/releases/{app}/{environment}", tag = "fleet", params(ReleasePath), responses(
    (status = 200, description = "It.", body = ReleaseView),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn release(State(operations): State<Shared>, Path(path): Path<ReleasePath>) -> Answer<ReleaseView> {
    let name = format!("{} in {}", path.app, path.environment);
    let filter = UnitFilter { app: Some(path.app), environment: Some(path.environment), target: None };
    let found = resources::releases(&operations.units(&filter).await).pop();
    found.map(AxumJson).ok_or_else(|| missing("release of", &name))
}

/// Units, by app, environment and target.
#[utoipa::path(get, path = "/api/v1/units", tag = "fleet", params(UnitFilter, PageQuery), responses(
    (status = 200, description = "A page of them.", body = Page<UnitStatus>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn units(
    State(operations): State<Shared>,
    Query(filter): Query<UnitFilter>,
    Query(page): Query<PageQuery>,
) -> Answer<Page<WrittenStatus>> {
    Ok(AxumJson(operations.unit_page(&filter, &page.try_into()?).await))
}

/// One unit.
#[utoipa::path(get, path = "/api/v1/units/{app}/{environment}/{target}", tag = "fleet", params(UnitPath), responses(
    (status = 200, description = "How it stands.", body = UnitStatus),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn unit(State(operations): State<Shared>, Path(path): Path<UnitPath>) -> Answer<UnitStatus> {
    let unit = UnitId::from(path);
    let filter = UnitFilter {
        app: Some(unit.app.clone()),
        environment: Some(unit.environment.clone()),
        target: Some(unit.target.clone()),
    };
    let found = operations.units(&filter).await.into_iter().next();
    found.map(AxumJson).ok_or_else(|| unknown_unit(&unit))
}

/// How much of the history.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    /// At most so many rollouts.
    #[param(minimum = 1, maximum = 1000, default = 20)]
    limit: Option<u32>,
}

/// The rollouts of a unit, the newest first.
#[utoipa::path(get, path = "/api/v1/units/{app}/{environment}/{target}/history", tag = "fleet",
    params(UnitPath, HistoryQuery), responses(
    (status = 200, description = "They.", body = Vec<RolloutSummary>),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn history(
    State(operations): State<Shared>,
    Path(path): Path<UnitPath>,
    Query(query): Query<HistoryQuery>,
) -> Answer<Vec<RolloutSummary>> {
    let limit = query.limit.unwrap_or(20);
    if limit == 0 || limit > MOST_HISTORY {
        return Err(invalid(format!("limit is {limit}: ask for 1 to {MOST_HISTORY} rollouts")));
    }
    operations.history(&path.into(), limit as usize).await.map(AxumJson)
}

/// Which log lines.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LogsQuery {
    /// Only of this instance.
    instance: Option<String>,
    /// So many of the last lines of each instance.
    #[param(minimum = 0, maximum = 10000, default = 100)]
    tail: Option<u32>,
    /// Those that come are told too, without an end.
    #[serde(default)]
    #[param(ignore)]
    follow: bool,
    /// With `follow`: ids of instances, with commas between, whose lines were told before.
    #[serde(default)]
    #[param(ignore)]
    known: String,
}

/// The last log lines of a unit's instances: `instance stream line`.
#[utoipa::path(get, path = "/api/v1/units/{app}/{environment}/{target}/logs", tag = "fleet",
    params(UnitPath, LogsQuery), responses(
    (status = 200, description = "The lines.", content_type = "text/plain", body = String),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn logs(
    State(operations): State<Shared>,
    Path(path): Path<UnitPath>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, Problem> {
    let unit = path.into();
    let tail = query.tail.unwrap_or(100);
    if tail > MOST_LINES {
        return Err(invalid(format!("tail is {tail}: at most {MOST_LINES} lines are given")));
    }
    if !query.follow {
        return Ok(operations.logs(&unit, query.instance.as_deref(), tail).await?.into_response());
    }
    let known = query.known.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
    let follow = Follow { instance: query.instance, tail, known };
    let pieces = ReceiverStream::new(operations.follow_logs(&unit, follow).await?);
    let body = Body::from_stream(pieces.map(Ok::<_, Infallible>));
    Ok(([("content-type", "text/plain; charset=utf-8")], body).into_response())
}
