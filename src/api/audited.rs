//! Whatever may change something is recorded before it is done, and what came of it after. Where it can't be recorded, it is not
//! done.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::auth::{Access, access};
use super::handlers::{BODY_TIME, too_slow};
use super::operations::{Caller, problem};
use super::types::Problem;
use crate::app::config::access::Role;
use crate::domain::audit::Entry;
use crate::ports::audit::Audit;

/// More of a body than this is not recorded.
const DETAIL: usize = 4_096;
/// The largest body.
const BODY_LIMIT: usize = 16 << 20;

/// Records a request that takes an operator, and its outcome.
pub async fn record(State(audit): State<Arc<dyn Audit>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let changes = route.as_deref().and_then(|route| access(request.method(), route));
    let (Some(Access::Needs(Role::Operate)), Some(caller)) = (changes, request.extensions().get::<Caller>().cloned())
    else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_TIME, to_bytes(body, BODY_LIMIT)).await {
        Err(_) => return too_slow().into_response(),
        Ok(Err(_)) => {
            let message = format!("the body broke off or has more than {BODY_LIMIT} bytes");
            return problem(StatusCode::PAYLOAD_TOO_LARGE, "tooLarge", message).into_response();
        }
        Ok(Ok(body)) => body,
    };
    let asked = Entry {
        actor: caller.0,
        action: format!("{} {}", parts.method, route.unwrap_or_default()),
        subject: parts.uri.path().to_owned(),
        detail: detail(&body),
        outcome: "asked".into(),
        of: None,
    };
    let seq = match audit.append(crate::clock::now(), asked.clone()).await {
        Ok(seq) => seq,
        Err(error) => {
            tracing::error!(%error, "refused a request that can't be recorded");
            let message = format!("nothing was done, because it can't be recorded: {error}");
            return problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message).into_response();
        }
    };
    // Carried out and recorded also when whoever asked has gone.
    let work = tokio::spawn(async move {
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        let entry = Entry { outcome: outcome(&response), of: Some(seq), detail: String::new(), ..asked };
        if let Err(error) = audit.append(crate::clock::now(), entry).await {
            tracing::error!(%error, seq, "the outcome of a recorded request is not recorded");
        }
        response
    });
    work.await.unwrap_or_else(|error| {
        problem(StatusCode::INTERNAL_SERVER_ERROR, "failed", format!("the request broke off: {error}")).into_response()
    })
}

/// A body as it is recorded: JSON without needless space, or how long it was.
fn detail(body: &[u8]) -> String {
    let text = serde_json::from_slice::<serde_json::Value>(body).ok().map(|value| value.to_string());
    match text {
        Some(text) if text.len() <= DETAIL => text,
        _ if body.is_empty() => String::new(),
        _ => format!("{} bytes", body.len()),
    }
}

fn outcome(response: &Response) -> String {
    let status = response.status();
    match response.extensions().get::<Problem>() {
        Some(problem) => format!("{} {}: {}", status.as_u16(), problem.code, problem.message),
        None if status.is_success() => "done".into(),
        None => status.as_u16().to_string(),
    }
}
