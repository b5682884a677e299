//! HTTP in front of the use cases: decoding, the caller's name, and the status of every failure.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest, FromRequestParts, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json as AxumJson, Router};
use serde::Deserialize;
use tokio::net::UnixListener;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::operations::{Caller, Follow, Operations, UnitFilter, problem, unknown_unit};
use super::types::{
    AckRequest, Changes, CheckResult, DaemonStatus, Done, EnvironmentCommand, PlanRequest, Problem, QuarantineClear,
    QuarantineEntry, RolloutSummary, UnitCommand, UnitPlan, UnitStatus,
};
use crate::domain::id::{Name, UnitId};

/// The largest request body: a plan request carries rendered units.
const BODY_LIMIT: usize = 16 << 20;
/// How long a request for changes may wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How many log lines are given at most.
const MOST_LINES: u32 = 10_000;

type Shared = Arc<dyn Operations>;
type Answer<T> = Result<AxumJson<T>, Problem>;

/// The routes of the API.
pub fn routes(operations: Shared) -> Router {
    let unit = "/v1/units/{app}/{environment}/{target}";
    Router::new()
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/v1/daemon", get(daemon))
        .route("/v1/units", get(units))
        .route(unit, get(one_unit))
        .route(&format!("{unit}/history"), get(history))
        .route(&format!("{unit}/logs"), get(logs))
        .route(&format!("{unit}/command"), post(unit_command))
        .route("/v1/environments/{environment}/command", post(environment_command))
        .route("/v1/plan", post(plan))
        .route("/v1/reconcile", post(reconcile))
        .route("/v1/ack", post(ack))
        .route("/v1/quarantine", get(quarantine))
        .route("/v1/quarantine/clear", post(clear_quarantine))
        .route("/v1/check", get(check))
        .route("/v1/changes", get(changes))
        .fallback(|| async {
            problem(StatusCode::NOT_FOUND, "notFound", "there is no such path; see `trimtab --help`")
        })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(operations)
}

/// Serves the API until `stop` completes; requests under way are finished.
///
/// # Errors
///
/// When the socket fails.
pub async fn serve(
    listener: UnixListener,
    operations: Shared,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let service = routes(operations).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).with_graceful_shutdown(stop).await
}

/// Who is on the other end of the socket, as the kernel says.
#[derive(Clone, Debug)]
struct Peer(String);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Peer(stream.io().peer_cred().map_or_else(|_| "unknown user".into(), |cred| user_name(cred.uid())))
    }
}

fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok().flatten();
    user.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

impl From<Peer> for Caller {
    fn from(peer: Peer) -> Self {
        Caller(peer.0)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, AxumJson(self)).into_response()
    }
}

fn invalid(reason: impl std::fmt::Display) -> Problem {
    problem(StatusCode::BAD_REQUEST, "invalid", reason.to_string())
}

/// `axum::Json` whose refusal is a [`Problem`].
#[derive(FromRequest)]
#[from_request(via(AxumJson), rejection(Problem))]
struct Json<T>(T);

/// `axum::extract::Path` whose refusal is a [`Problem`].
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
struct Path<T>(T);

/// `axum::extract::Query` whose refusal is a [`Problem`].
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
struct Query<T>(T);

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        problem(rejection.status(), "invalid", rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        invalid(rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        invalid(rejection.body_text())
    }
}

#[derive(Deserialize)]
struct UnitPath {
    app: Name,
    environment: Name,
    target: Name,
}

impl From<UnitPath> for UnitId {
    fn from(path: UnitPath) -> Self {
        UnitId { app: path.app, environment: path.environment, target: path.target }
    }
}

async fn healthz(State(operations): State<Shared>) -> Response {
    match operations.healthy() {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics(State(operations): State<Shared>) -> Response {
    ([("content-type", "text/plain; version=0.0.4")], operations.metrics()).into_response()
}

async fn daemon(State(operations): State<Shared>) -> AxumJson<DaemonStatus> {
    AxumJson(operations.daemon().await)
}

async fn units(State(operations): State<Shared>, Query(filter): Query<UnitFilter>) -> AxumJson<Vec<UnitStatus>> {
    AxumJson(operations.units(&filter).await)
}

async fn one_unit(State(operations): State<Shared>, Path(path): Path<UnitPath>) -> Answer<UnitStatus> {
    let unit = UnitId::from(path);
    let filter = UnitFilter {
        app: Some(unit.app.clone()),
        environment: Some(unit.environment.clone()),
        target: Some(unit.target.clone()),
    };
    let found = operations.units(&filter).await.into_iter().next();
    found.map(AxumJson).ok_or_else(|| unknown_unit(&unit))
}

#[derive(Deserialize)]
struct HistoryQuery {
    limit: Option<usize>,
}

async fn history(
    State(operations): State<Shared>,
    Path(path): Path<UnitPath>,
    Query(query): Query<HistoryQuery>,
) -> Answer<Vec<RolloutSummary>> {
    operations.history(&path.into(), query.limit.unwrap_or(20).min(1_000)).await.map(AxumJson)
}

#[derive(Deserialize)]
struct LogsQuery {
    instance: Option<String>,
    tail: Option<u32>,
    #[serde(default)]
    follow: bool,
    /// Ids with commas between.
    #[serde(default)]
    known: String,
}

async fn logs(
    State(operations): State<Shared>,
    Path(path): Path<UnitPath>,
    Query(query): Query<LogsQuery>,
) -> Result<Response, Problem> {
    let unit = path.into();
    let tail = query.tail.unwrap_or(100).min(MOST_LINES);
    if !query.follow {
        return Ok(operations.logs(&unit, query.instance.as_deref(), tail).await?.into_response());
    }
    let known = query.known.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
    let follow = Follow { instance: query.instance, tail, known };
    let pieces = ReceiverStream::new(operations.follow_logs(&unit, follow).await?);
    let body = Body::from_stream(pieces.map(Ok::<_, Infallible>));
    Ok(([("content-type", "text/plain; charset=utf-8")], body).into_response())
}

async fn unit_command(
    State(operations): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(path): Path<UnitPath>,
    Json(command): Json<UnitCommand>,
) -> Answer<Done> {
    operations.unit_command(&peer.into(), &path.into(), command).await.map(AxumJson)
}

#[derive(Deserialize)]
struct EnvironmentPath {
    environment: Name,
}

async fn environment_command(
    State(operations): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(path): Path<EnvironmentPath>,
    Json(command): Json<EnvironmentCommand>,
) -> Answer<Done> {
    operations.environment_command(&peer.into(), &path.environment, command).await.map(AxumJson)
}

async fn plan(State(operations): State<Shared>, Json(request): Json<PlanRequest>) -> Answer<Vec<UnitPlan>> {
    operations.plan(request).await.map(AxumJson)
}

async fn reconcile(State(operations): State<Shared>) -> Answer<Done> {
    operations.reconcile().await.map(AxumJson)
}

async fn ack(
    State(operations): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<AckRequest>,
) -> Answer<Done> {
    operations.ack(&peer.into(), request).await.map(AxumJson)
}

async fn quarantine(State(operations): State<Shared>) -> AxumJson<Vec<QuarantineEntry>> {
    AxumJson(operations.quarantine().await)
}

async fn clear_quarantine(
    State(operations): State<Shared>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Json(request): Json<QuarantineClear>,
) -> Answer<Done> {
    operations.clear_quarantine(&peer.into(), request).await.map(AxumJson)
}

async fn check(State(operations): State<Shared>) -> AxumJson<Vec<CheckResult>> {
    AxumJson(operations.check().await)
}

#[derive(Deserialize)]
struct ChangesQuery {
    #[serde(default)]
    since: u64,
    wait: Option<f64>,
}

async fn changes(State(operations): State<Shared>, Query(query): Query<ChangesQuery>) -> Answer<Changes> {
    let wait = match query.wait {
        None => Duration::ZERO,
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(invalid)?.min(LONGEST_WAIT),
    };
    Ok(AxumJson(operations.changes(query.since, wait).await))
}
