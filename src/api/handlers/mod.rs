//! One handler a route: decoding, the use case, encoding.

pub mod audit;
pub mod commands;
pub mod events;
pub mod fleet;
pub mod rollouts;
pub mod status;

use std::sync::Arc;
use std::time::Duration;

use axum::Json as AxumJson;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::operations::{Operations, problem};
use super::shape::list_for_object;
use super::types::Problem;
use crate::domain::id::{Name, UnitId};

/// How long a request's body may take.
pub const BODY_TIME: Duration = Duration::from_secs(30);

/// The use cases, as handlers get them.
pub type Shared = Arc<dyn Operations>;
/// What most handlers answer.
pub type Answer<T> = Result<AxumJson<T>, Problem>;

/// A body as JSON, within [`BODY_TIME`]; its refusal is a [`Problem`].
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Serialize> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let message = "the body has to be JSON: `Content-Type: application/json`";
            return Err(problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupportedMediaType", message));
        }
        let body = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, state)).await;
        let body = body.map_err(|_| too_slow())?.map_err(|rejection| {
            let code = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE { "tooLarge" } else { "invalid" };
            problem(rejection.status(), code, rejection.body_text())
        })?;
        let AxumJson(value) = AxumJson::<T>::from_bytes(&body)?;
        let given = serde_json::from_slice(&body).map_err(super::problem::invalid)?;
        match list_for_object(&given, &value) {
            None => Ok(Json(value)),
            Some(place) => {
                let place = if place.is_empty() { "the body".to_owned() } else { format!("{place:?} in the body") };
                let message = format!("{place} has to be a JSON object, and is a list");
                Err(problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message))
            }
        }
    }
}

/// The body did not come in time.
pub fn too_slow() -> Problem {
    let message = format!("the body did not come within {BODY_TIME:?}");
    problem(StatusCode::REQUEST_TIMEOUT, "timeout", message)
}

/// Whether a body is said to be JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// `axum::extract::Path` whose refusal is a [`Problem`].
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

/// `axum::extract::Query` whose refusal is a [`Problem`].
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

/// Which unit.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct UnitPath {
    /// The app.
    pub app: Name,
    /// The environment.
    pub environment: Name,
    /// The target; `default` where there is only one.
    pub target: Name,
}

impl From<UnitPath> for UnitId {
    fn from(path: UnitPath) -> Self {
        UnitId { app: path.app, environment: path.environment, target: path.target }
    }
}
