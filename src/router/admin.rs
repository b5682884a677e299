//! The admin protocol of [`crate::protocol::router`] over the Unix socket.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;

use super::control::Control;
use super::metrics;
use super::plane::Plane;
use crate::domain::id::Epoch;
use crate::protocol::router::PutRoute;
use crate::protocol::{ErrorBody, ErrorCode, Hello, VERSION};

/// The largest request: the largest route with some room.
const MAX_BODY: usize = 32 * 1024 * 1024;

/// What the handlers share.
#[derive(Clone)]
struct Admin {
    plane: Arc<Plane>,
    control: Arc<Control>,
}

/// An answer that is no success.
struct Failure(ErrorBody);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            ErrorCode::StaleEpoch => StatusCode::CONFLICT,
            ErrorCode::Invalid => StatusCode::BAD_REQUEST,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Version => StatusCode::UPGRADE_REQUIRED,
            ErrorCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}

impl From<ErrorBody> for Failure {
    fn from(body: ErrorBody) -> Self {
        Failure(body)
    }
}

fn invalid(message: String) -> Failure {
    Failure(ErrorBody { code: ErrorCode::Invalid, message })
}

/// The service.
pub fn app(plane: Arc<Plane>, control: Arc<Control>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(serve_metrics))
        .route("/v1/hello", get(hello))
        .route("/v1/routes", get(routes))
        .route("/v1/routes/{key}", put(put_route).get(route).delete(delete_route))
        .fallback(|| async {
            Failure(ErrorBody { code: ErrorCode::NotFound, message: "there is no such path".into() })
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(control.clone(), in_charge))
        .with_state(Admin { plane, control })
}

/// After a handover the successor answers; a request that was just coming in here is to be sent again.
async fn in_charge(State(control): State<Arc<Control>>, request: Request, next: Next) -> Result<Response, Failure> {
    control.check_in_charge()?;
    Ok(next.run(request).await)
}

async fn serve_metrics(State(admin): State<Admin>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::text(&admin.plane)).into_response()
}

async fn hello(State(admin): State<Admin>) -> Json<Hello> {
    Json(Hello {
        protocol: VERSION,
        version: env!("CARGO_PKG_VERSION").into(),
        start: admin.plane.start.clone(),
        pid: std::process::id(),
        epoch: admin.control.epoch().await,
        limitations: admin.control.limitations().await,
    })
}

async fn routes(State(admin): State<Admin>) -> Response {
    Json(admin.control.routes().await).into_response()
}

async fn route(State(admin): State<Admin>, Path(key): Path<String>) -> Result<Response, Failure> {
    Ok(Json(admin.control.route(&key).await?).into_response())
}

async fn put_route(
    State(admin): State<Admin>,
    Path(key): Path<String>,
    body: axum::body::Bytes,
) -> Result<Response, Failure> {
    let put: PutRoute = read(&body)?;
    // On a task of its own, because it must not stop half-way when the sender goes away.
    let change = tokio::spawn(async move { admin.control.put(&key, put).await });
    let status = change.await.map_err(|error| failed(error.to_string()))??;
    Ok(Json(status).into_response())
}

#[derive(Deserialize)]
struct DeleteQuery {
    epoch: Epoch,
}

async fn delete_route(
    State(admin): State<Admin>,
    Path(key): Path<String>,
    query: Result<Query<DeleteQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<StatusCode, Failure> {
    let Query(DeleteQuery { epoch }) = query.map_err(|error| invalid(format!("say `?epoch=N`: {error}")))?;
    let change = tokio::spawn(async move { admin.control.delete(&key, epoch).await });
    change.await.map_err(|error| failed(error.to_string()))??;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads a body. Its version is looked at first, because a newer one need not have the fields of this one.
fn read(body: &[u8]) -> Result<PutRoute, Failure> {
    #[derive(Deserialize)]
    struct Header {
        version: u32,
    }
    let unreadable = |error: serde_json::Error| invalid(format!("the body is no route: {error}"));
    let Header { version } = serde_json::from_slice(body).map_err(unreadable)?;
    if version > VERSION {
        let message =
            format!("the route has version {version}, this router understands up to {VERSION}: upgrade it first");
        return Err(Failure(ErrorBody { code: ErrorCode::Version, message }));
    }
    serde_json::from_slice(body).map_err(unreadable)
}

fn failed(message: String) -> Failure {
    Failure(ErrorBody { code: ErrorCode::Failed, message })
}
