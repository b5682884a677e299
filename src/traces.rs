//! What the daemon tells of its work as traces: the names and attributes of its spans, in one place.
//!
//! Spans are made wherever something takes time, and cost nothing where no traces are [exported](export). They never appear
//! in the log. A rollout's spans share one trace, whose id is the rollout's, however often the daemon is restarted meanwhile.
//!
//! | span | for | attributes |
//! |---|---|---|
//! | `reconcile` | a pass over the source | `revision`, `changed` |
//! | `reconcile.fetch` | asking the source | |
//! | `reconcile.render` | reading and rendering a new revision | `revision` |
//! | `reconcile.take_in` | telling the units | `revision`, `units` |
//! | `plan` | comparing a unit with what it shall be | `unit`, `rendered` |
//! | `rollout.step` | a move of a rollout | `unit`, `rollout`, `move`, `revision` |
//! | `rollout.action` | its effect on platform or data plane | `unit`, `rollout`, `action`, `group` |
//! | `METHOD ROUTE` | a request to the API, or a webhook's delivery | `http.request.method`, `http.route`, `http.response.status_code` |

pub mod export;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::field::{Empty, display};
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::domain::action::Action;
use crate::domain::id::{Revision, RolloutId, UnitId};

/// The target of all spans: what is exported, and what the log leaves out. No module has a name that begins so.
pub const TARGET: &str = "trimtab::otel";

/// A pass over the source.
pub fn reconcile() -> Span {
    info_span!(
        target: TARGET,
        "reconcile",
        revision = Empty,
        changed = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty
    )
}

/// Asking the source.
pub fn fetch() -> Span {
    info_span!(target: TARGET, "reconcile.fetch", otel.status_code = Empty, otel.status_description = Empty)
}

/// Reading and rendering a revision.
pub fn render(revision: &Revision) -> Span {
    info_span!(
        target: TARGET,
        "reconcile.render",
        %revision,
        otel.status_code = Empty,
        otel.status_description = Empty
    )
}

/// Telling the units what a revision says of them.
pub fn take_in(revision: &Revision, units: usize) -> Span {
    info_span!(target: TARGET, "reconcile.take_in", %revision, units)
}

/// Comparing a unit with what it shall be.
pub fn plan(unit: &UnitId, rendered: Option<&crate::domain::digest::Digest>) -> Span {
    let span = info_span!(
        target: TARGET,
        "plan",
        %unit,
        rendered = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty
    );
    if let Some(rendered) = rendered {
        span.record("rendered", display(rendered));
    }
    span
}

/// A move of a rollout.
pub fn step(unit: &UnitId, rollout: &RolloutId, name: &'static str, revision: Option<&Revision>) -> Span {
    let span = info_span!(
        target: TARGET,
        "rollout.step",
        %unit,
        %rollout,
        r#move = name,
        revision = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty
    );
    if let Some(revision) = revision {
        span.record("revision", display(revision));
    }
    within(&span, rollout);
    span
}

/// The effect of a move, within its [`step`].
pub fn action(unit: &UnitId, rollout: Option<&RolloutId>, kind: &'static str, action: &Action) -> Span {
    let span = info_span!(
        target: TARGET,
        "rollout.action",
        %unit,
        rollout = Empty,
        action = kind,
        group = Empty,
        otel.status_code = Empty,
        otel.status_description = Empty
    );
    if let Some(rollout) = rollout {
        span.record("rollout", display(rollout));
    }
    if let Action::EnsureGroup { group, .. } | Action::RetireGroup { group } = action {
        span.record("group", display(group));
    }
    span
}

/// A request to the daemon.
pub fn request(method: &http::Method, route: &str) -> Span {
    info_span!(
        target: TARGET,
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        http.request.method = %method,
        http.route = route,
        http.response.status_code = Empty,
        otel.status_code = Empty
    )
}

/// Notes in a span how its work ended, and hands the outcome on.
pub fn noted<T, E: std::fmt::Display>(span: &Span, outcome: Result<T, E>) -> Result<T, E> {
    if let Err(error) = &outcome {
        span.record("otel.status_code", "ERROR");
        span.record("otel.status_description", display(error));
    }
    outcome
}

/// Puts a span that has not begun into the trace of a rollout. Without an exporter there is nothing to put.
fn within(span: &Span, rollout: &RolloutId) {
    if span.is_disabled() {
        return;
    }
    let Some((trace, parent)) = ids(rollout.as_str()) else { return };
    let parent = SpanContext::new(trace, parent, TraceFlags::SAMPLED, true, TraceState::default());
    // It fails only where the span is not traced.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// The trace of a rollout and its first span, from the rollout's id: 32 hexadecimal digits, as a trace's.
fn ids(rollout: &str) -> Option<(TraceId, SpanId)> {
    let trace = TraceId::from_hex(rollout).ok().filter(|_| rollout.len() == 32)?;
    let parent = SpanId::from_hex(rollout.get(16..)?).ok()?;
    (trace != TraceId::INVALID && parent != SpanId::INVALID).then_some((trace, parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollouts_id_is_that_of_its_trace() {
        let id = "0198f2c4a1b27c3d8e4f5a6b7c8d9e0f";
        let (trace, parent) = ids(id).unwrap();
        assert_eq!(trace.to_string(), id);
        assert_eq!(parent.to_string(), "8e4f5a6b7c8d9e0f");
        for other in
            ["", "ro-1", "0198f2c4a1b27c3d", "zz98f2c4a1b27c3d8e4f5a6b7c8d9e0f", &"0".repeat(32), &"é".repeat(16)]
        {
            assert_eq!(ids(other), None, "{other}");
        }
    }
}
