//! Events: what happened to units and to the installation, as the journal keeps it.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json as AxumJson;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use utoipa::{IntoParams, ToSchema};

use super::audit::number;
use super::{Query, Shared};
use crate::api::page::{LARGEST_NUMBER, Page, PageQuery, Position, cursor};
use crate::api::problem::invalid;
use crate::api::types::Problem;
use crate::domain::id::{Name, UnitId};

/// So many events are read at a time.
const BATCH: usize = 200;
/// How long a stream without news waits before it looks again.
const LOOK: Duration = Duration::from_secs(20);

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Its number: the order of everything that happened.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// To which unit; none: to the installation.
    pub unit: Option<UnitId>,
    /// What: `candidateSeen`, `rollout.phaseEntered`, `headSeen`, ...
    pub kind: String,
    /// The version of the form of `data`.
    pub version: u32,
    /// What is to be told of it.
    #[schema(value_type = Object)]
    pub data: Value,
}

/// Which events.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventFilter {
    /// Only of this app's units.
    pub app: Option<Name>,
    /// Only of units in this environment.
    pub environment: Option<Name>,
}

impl EventFilter {
    /// Whether an event is meant. Those of the installation are no unit's: they are told where nothing is filtered.
    pub fn matches(&self, unit: Option<&UnitId>) -> bool {
        let same = |wanted: &Option<Name>, is: fn(&UnitId) -> &Name| {
            wanted.as_ref().is_none_or(|wanted| unit.is_some_and(|unit| is(unit) == wanted))
        };
        same(&self.app, |unit| &unit.app) && same(&self.environment, |unit| &unit.environment)
    }
}

/// Where a stream goes on.
#[derive(Clone, Copy, Debug, IntoParams)]
#[into_params(parameter_in = Header)]
pub struct LastEvent {
    /// With a stream: the last event that was seen.
    #[param(rename = "Last-Event-ID", required = false, minimum = 0, maximum = 9007199254740991_f64)]
    pub id: u64,
}

impl LastEvent {
    fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get("last-event-id") else { return Ok(None) };
        let id = value.to_str().ok().and_then(|text| text.parse::<u64>().ok()).filter(|id| *id <= LARGEST_NUMBER);
        let id = id.ok_or_else(|| invalid("Last-Event-ID is not the number of an event"))?;
        Ok(Some(LastEvent { id }))
    }
}

/// Some events, and where the journal stands.
#[derive(Clone, Debug, Default)]
pub struct Events {
    /// The events after the number that was asked for, in order.
    pub events: Vec<EventView>,
    /// The number of the last event that was looked at, whether it was meant or not.
    pub seen: u64,
    /// Events after the number that was asked for were removed, or it is none of this journal.
    pub gone: bool,
}

/// Events, the newest first; with `Accept: text/event-stream` as they happen.
///
/// Where the event that a cursor stands for was removed meanwhile, the answer is 410: begin with the first page again. The stream
/// begins after `Last-Event-ID`, or now. Where events after that one were removed meanwhile, it begins with an event `gone`: what it
/// is about has to be read again.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(
    EventFilter, PageQuery, LastEvent,
), responses(
    (status = 200, description = "A page of them, or a stream.", content(
        (Page<EventView> = "application/json"),
        (String = "text/event-stream"),
    )),
    (status = 410, description = "What the cursor stands for was removed: begin with the first page again.",
        content_type = "application/problem+json", body = Problem),
    (status = "default", description = "Why not.", content_type = "application/problem+json", body = Problem),
))]
pub async fn events(
    State(operations): State<Shared>,
    headers: HeaderMap,
    Query(filter): Query<EventFilter>,
    Query(page): Query<PageQuery>,
) -> Result<Response, Problem> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let last = LastEvent::of(&headers)?.map(|last| last.id);
    if accept.split(',').any(|kind| kind.trim().starts_with("text/event-stream")) {
        return stream(operations, filter, last).await;
    }
    let at = Position::try_from(page)?;
    let before = at.after.as_deref().map(|key| number(Some(key)));
    let (items, next) = operations.events_before(&filter, before, at.limit).await?;
    let next = next.map(|id| cursor(&id.to_be_bytes()));
    Ok(AxumJson(Page { items, next }).into_response())
}

async fn stream(operations: Shared, filter: EventFilter, last: Option<u64>) -> Result<Response, Problem> {
    let mut after = match last {
        Some(last) => last,
        None => operations.last_event().await?,
    };
    let (sender, receiver) = mpsc::channel::<Result<Event, Infallible>>(BATCH);
    tokio::spawn(async move {
        let mut seq = operations.changes(0, Duration::ZERO).await.seq;
        let mut told = None;
        while let Ok(found) = operations.events_after(&filter, after, BATCH).await {
            let progress = found.gone || found.seen > after;
            after = found.seen;
            for message in messages(&found, &mut told) {
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            }
            if !progress {
                tokio::select! {
                    changes = operations.changes(seq, LOOK) => seq = changes.seq,
                    () = sender.closed() => return,
                }
            }
        }
    });
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive).into_response())
}

/// What is told of some events; `told` is the last number that was. Where the last of them are not meant, their number is told
/// alone, so that a reader who comes back later does not ask for what was looked through already and may be removed by then.
fn messages(found: &Events, told: &mut Option<u64>) -> Vec<Event> {
    let mut messages = Vec::new();
    if found.gone {
        messages.push(gone(found.seen));
        *told = Some(found.seen);
    }
    for event in &found.events {
        let Ok(text) = serde_json::to_string(event) else { continue };
        messages.push(Event::default().id(event.id.to_string()).event("event").data(text));
        *told = Some(event.id);
    }
    if told.replace(found.seen) != Some(found.seen) {
        messages.push(Event::default().id(found.seen.to_string()));
    }
    messages
}

/// Something was missed: everything that the reader keeps has to be read again. The stream goes on after this id.
fn gone(id: u64) -> Event {
    let data = serde_json::json!({ "reason": "events were removed: read again what you follow", "resumesAfter": id });
    Event::default().id(id.to_string()).event("gone").data(data.to_string())
}
