//! Failures as the API tells them: `application/problem+json` (RFC 9457).

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::operations::problem;
use super::types::Problem;

/// The media type of every failure.
pub const MEDIA_TYPE: &str = "application/problem+json";
/// What the `type` of a problem begins with; the code follows.
const TYPE: &str = "urn:trimtab:problem:";

/// A [`Problem`] as it goes over the wire.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wire {
    /// `urn:trimtab:problem:` and the code.
    #[serde(rename = "type", default)]
    kind: String,
    /// The status in words.
    #[serde(default)]
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What failed, where, why, and what to do.
    #[serde(alias = "message")]
    detail: String,
    /// What kind, for programs: `notFound`, `illegal`, `invalid`, `unavailable`, `stale`, `failed`, ...
    code: String,
}

impl From<Problem> for Wire {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Wire {
            kind: format!("{TYPE}{}", problem.code),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: problem.message,
            code: problem.code,
        }
    }
}

impl From<Wire> for Problem {
    fn from(wire: Wire) -> Self {
        Problem { status: wire.status, code: wire.code, message: wire.detail }
    }
}

impl utoipa::PartialSchema for Problem {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        <Wire as utoipa::PartialSchema>::schema()
    }
}

impl utoipa::ToSchema for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.clone())).into_response();
        response.extensions_mut().insert(self);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response
    }
}

/// The request is not one that can be understood.
pub fn invalid(reason: impl std::fmt::Display) -> Problem {
    problem(StatusCode::BAD_REQUEST, "invalid", reason.to_string())
}

/// The line and headers of the request are longer than this many bytes.
pub fn head_too_large(limit: usize) -> Problem {
    let message = format!("the request's headers are longer than {} KiB", limit >> 10);
    problem(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "tooLarge", message)
}

/// No such path.
pub fn no_such_path() -> Problem {
    problem(StatusCode::NOT_FOUND, "notFound", "there is no such path; /api/v1/openapi.json lists them")
}

/// The path is there, the method is not.
pub fn no_such_method() -> Problem {
    let message = "this path does not take that method; /api/v1/openapi.json lists what it takes";
    problem(StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed", message)
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let code = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => "tooLarge",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupportedMediaType",
            _ => "invalid",
        };
        problem(rejection.status(), code, rejection.body_text())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_what_it_writes_and_says_its_type() {
        let told = problem(StatusCode::NOT_FOUND, "notFound", "there is no unit x");
        let text = serde_json::to_value(&told).unwrap();
        assert_eq!(text["type"], "urn:trimtab:problem:notFound");
        assert_eq!(text["title"], "Not Found");
        assert_eq!(text["detail"], "there is no unit x");
        assert_eq!(serde_json::from_value::<Problem>(text).unwrap(), told);
    }

    #[test]
    fn a_problem_is_sent_with_its_media_type_and_status() {
        let response = no_such_method().into_response();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()["content-type"], MEDIA_TYPE);
    }
}
