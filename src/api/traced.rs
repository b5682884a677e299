//! A span for each request that a route answers.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use crate::traces;

/// What is asked so often that it would hide everything else.
const LEFT_OUT: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Traces a request.
pub async fn trace(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let Some(route) = route.filter(|route| !LEFT_OUT.contains(&route.as_str())) else { return next.run(request).await };
    let span = traces::request(request.method(), route.as_str());
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}
