//! The HTTP side: the routes of [`crate::protocol::supervisor`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::context::{Context, file_name};
use super::epoch::{EpochError, EpochGate};
use super::groups::{GroupError, Groups};
use super::instance::slot_dir;
use super::launch::blocking;
use super::logs::Follower;
use super::runs::Runs;
use super::validate::Refusal;
use crate::domain::id::Epoch;
use crate::domain::span::Span;
use crate::protocol::supervisor::{GroupList, GroupStatus, PutGroup, PutRun, RunStatus};
use crate::protocol::{ErrorBody, ErrorCode, Hello, VERSION};

/// The largest message that is read.
const LARGEST_MESSAGE: usize = 4 << 20;
/// The longest that a request is held.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// The most lines of a log that are looked back.
const MOST_LINES: usize = 100_000;
/// Between looks at logs that are followed.
const LOG_PAUSE: Duration = Duration::from_millis(200);

/// What the routes work on.
pub struct Service {
    /// What all parts share.
    pub ctx: Arc<Context>,
    /// Who may command.
    pub gate: Arc<EpochGate>,
    /// All groups.
    pub groups: Arc<Groups>,
    /// All runs.
    pub runs: Arc<Runs>,
    /// A random id of this start.
    pub start: String,
    /// What can't be done here, in words.
    pub limitations: Vec<String>,
}

type Shared = State<Arc<Service>>;

/// The routes.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/hello", get(hello))
        .route("/v1/groups", get(list))
        .route("/v1/groups/{key}", put(put_group).get(get_group).delete(delete_group))
        .route("/v1/groups/{key}/logs", get(logs))
        .route("/v1/runs/{id}", put(put_run).get(get_run).delete(kill_run))
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .fallback(async || Failure::not_found("there is no such path: see the protocol"))
        .layer(DefaultBodyLimit::max(LARGEST_MESSAGE))
        .with_state(service)
}

/// An answer that is not a success.
struct Failure(StatusCode, ErrorBody);

impl Failure {
    fn new(status: StatusCode, code: ErrorCode, message: impl Into<String>) -> Self {
        Failure(status, ErrorBody { code, message: message.into() })
    }

    fn not_found(message: impl Into<String>) -> Self {
        Failure::new(StatusCode::NOT_FOUND, ErrorCode::NotFound, message)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl From<GroupError> for Failure {
    fn from(error: GroupError) -> Self {
        let message = error.to_string();
        let (status, code) = match error {
            GroupError::Refused(Refusal::Version(_)) => (StatusCode::UPGRADE_REQUIRED, ErrorCode::Version),
            GroupError::Refused(Refusal::Invalid(_)) | GroupError::Artifact { .. } => {
                (StatusCode::BAD_REQUEST, ErrorCode::Invalid)
            }
            GroupError::Epoch(EpochError::Stale { .. }) => (StatusCode::CONFLICT, ErrorCode::StaleEpoch),
            GroupError::Epoch(EpochError::Store(_)) | GroupError::Store(_) | GroupError::Secrets(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Failed)
            }
        };
        Failure::new(status, code, message)
    }
}

/// A body, or what is wrong with it.
fn body<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Failure> {
    body.map(|Json(body)| body)
        .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, ErrorCode::Invalid, error.body_text()))
}

async fn hello(State(service): Shared) -> Json<Hello> {
    Json(Hello {
        protocol: VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        start: service.start.clone(),
        pid: std::process::id(),
        epoch: service.gate.highest(),
        limitations: service.limitations.clone(),
    })
}

#[derive(Deserialize)]
struct Changes {
    since: Option<u64>,
    #[serde(default)]
    wait: Span,
}

#[derive(Deserialize)]
struct Wait {
    #[serde(default)]
    wait: Span,
}

#[derive(Deserialize)]
struct By {
    epoch: Epoch,
}

#[derive(Deserialize)]
struct Which {
    instance: Option<String>,
    tail: Option<usize>,
    #[serde(default)]
    follow: bool,
}

async fn list(State(service): Shared, Query(changes): Query<Changes>) -> Json<GroupList> {
    if let Some(since) = changes.since {
        service.ctx.board.changed(since, changes.wait.duration().min(LONGEST_WAIT)).await;
    }
    let (seq, groups) = service.ctx.board.all();
    Json(GroupList { seq, start: service.start.clone(), groups })
}

async fn put_group(
    State(service): Shared,
    Path(key): Path<String>,
    message: Result<Json<PutGroup>, JsonRejection>,
) -> Result<Json<GroupStatus>, Failure> {
    let put = body(message)?;
    // In a task of its own: a change that has begun is finished even when its sender hangs up.
    let groups = service.groups.clone();
    finished(tokio::spawn(async move { groups.put(&key, put).await })).await.map(Json)
}

async fn get_group(State(service): Shared, Path(key): Path<String>) -> Result<Json<GroupStatus>, Failure> {
    let group = service.ctx.board.group(&key);
    group.map(Json).ok_or_else(|| Failure::not_found(format!("there is no group {key}")))
}

async fn delete_group(
    State(service): Shared,
    Path(key): Path<String>,
    Query(by): Query<By>,
) -> Result<StatusCode, Failure> {
    let groups = service.groups.clone();
    let there = finished(tokio::spawn(async move { groups.delete(&key, by.epoch).await })).await?;
    Ok(if there { StatusCode::ACCEPTED } else { StatusCode::NO_CONTENT })
}

async fn put_run(
    State(service): Shared,
    Path(id): Path<String>,
    message: Result<Json<PutRun>, JsonRejection>,
) -> Result<Json<RunStatus>, Failure> {
    let put = body(message)?;
    let runs = service.runs.clone();
    finished(tokio::spawn(async move { runs.put(&id, put).await })).await.map(Json)
}

async fn get_run(
    State(service): Shared,
    Path(id): Path<String>,
    Query(wait): Query<Wait>,
) -> Result<Json<RunStatus>, Failure> {
    let run = service.runs.get(&id, wait.wait.duration().min(LONGEST_WAIT)).await;
    run.map(Json).ok_or_else(|| Failure::not_found(format!("there is no run {id}; ended runs are forgotten in time")))
}

async fn kill_run(State(service): Shared, Path(id): Path<String>, Query(by): Query<By>) -> Result<StatusCode, Failure> {
    let there = service.runs.kill(&id, by.epoch).await?;
    if there { Ok(StatusCode::ACCEPTED) } else { Err(Failure::not_found(format!("there is no run {id}"))) }
}

async fn finished<T>(task: tokio::task::JoinHandle<Result<T, GroupError>>) -> Result<T, Failure> {
    let broken = |error| {
        let message = format!("the request broke off inside the supervisor ({error}); see its log, then try again");
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Failed, message)
    };
    Ok(task.await.map_err(broken)??)
}

async fn metrics(State(service): Shared) -> Result<String, Failure> {
    let (_, groups) = service.ctx.board.all();
    service.ctx.metrics.render(&groups).map_err(|error| {
        Failure::new(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Failed, format!("metrics can't be shown: {error}"))
    })
}

async fn logs(
    State(service): Shared,
    Path(key): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, Failure> {
    let Some(group) = service.ctx.board.group(&key) else {
        return Err(Failure::not_found(format!("there is no group {key}")));
    };
    let known = |id: &String| group.instances.iter().any(|instance| instance.id == *id);
    if let Some(id) = which.instance.as_ref().filter(|id| !known(id)) {
        let ids: Vec<&str> = group.instances.iter().map(|instance| instance.id.as_str()).collect();
        return Err(Failure::not_found(format!("the group {key} has no instance {id}, but {}", ids.join(", "))));
    }
    let (sender, receiver) = mpsc::channel::<Result<String, std::convert::Infallible>>(4);
    tokio::spawn(send_logs(service, key, which, sender));
    let headers = [("content-type", "text/plain; charset=utf-8")];
    Ok((headers, Body::from_stream(ReceiverStream::new(receiver))).into_response())
}

/// Sends the last lines of each instance, then, if asked for, those that come, until the group is gone or nobody reads.
async fn send_logs(
    service: Arc<Service>,
    key: String,
    which: Which,
    sender: mpsc::Sender<Result<String, std::convert::Infallible>>,
) {
    let tail = which.tail.unwrap_or(100).min(MOST_LINES);
    let group_dir = service.ctx.groups().join(file_name(&key));
    let mut followers: BTreeMap<u32, Follower> = BTreeMap::new();
    let mut first = true;
    loop {
        let group = service.ctx.board.group(&key);
        let instances = group.iter().flat_map(|group| &group.instances);
        let chosen = instances.filter(|instance| which.instance.as_ref().is_none_or(|id| *id == instance.id));
        let chosen: Vec<(u32, String, PathBuf)> =
            chosen.map(|instance| (instance.slot, instance.id.clone(), slot_dir(&group_dir, instance.slot))).collect();
        let last = group.is_none() || !which.follow;
        let mut open = std::mem::take(&mut followers);
        let (text, open) = blocking(move || {
            let mut text = String::new();
            for (slot, id, dir) in chosen {
                // Of an instance that came later, all lines are new.
                open.entry(slot).or_insert_with(|| {
                    let (follower, lines) = Follower::begin(&id, &dir, if first { tail } else { MOST_LINES });
                    text += &lines;
                    follower
                });
            }
            open.values_mut().for_each(|follower| text += &follower.more(last));
            (text, open)
        })
        .await;
        followers = open;
        first = false;
        if !text.is_empty() && sender.send(Ok(text)).await.is_err() {
            return;
        }
        if last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(LOG_PAUSE) => {}
            () = sender.closed() => return,
        }
    }
}
