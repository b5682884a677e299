//! `trimtab events`: what happened, and what happens.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_stream::StreamExt;

use super::context::{Looking, finish};
use super::error::CliError;
use super::exit::Exit;
use super::output::style::Tone;
use super::output::table::Table;
use super::output::{Format, View, write_err, write_out, yaml};
use super::rollout::watch::Absence;
use crate::api::client::{Api, ApiError};
use crate::api::handlers::events::{EventFilter, EventView};
use crate::api::page::MOST;
use crate::api::sse::Parser;
use crate::domain::id::Name;

/// How long after a stream ended the daemon is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// A value without spaces that is longer is cut in tables.
const LONGEST_WORD: usize = 24;
/// More of what an event tells is cut in tables.
const LONGEST_DETAIL: usize = 100;

/// Shows what happened to units and to the installation, the oldest first.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Only of this app's units
    app: Option<Name>,
    /// Only of units in this environment
    #[arg(short = 'e', long, value_name = "ENV")]
    environment: Option<Name>,
    /// So many of the newest
    #[arg(short = 'n', long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    last: u32,
    /// Then show what happens, also after a restart of the daemon, until interrupted
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    common: Looking,
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    let view = args.common.view();
    finish(&view, super::block_on(events(&args, &view)))
}

async fn events(args: &Args, view: &View) -> Result<Exit, CliError> {
    let api = args.common.reach.api()?;
    let filter = EventFilter { app: args.app.clone(), environment: args.environment.clone() };
    // Before the list, so that nothing falls between the list and what comes after it.
    let newest = api.events(&EventFilter::default(), 1, None).await?.items.first().map_or(0, |event| event.id);
    let events = last(&api, &filter, args.last as usize).await?;
    if args.watch {
        events.iter().for_each(|event| show_one(event, view));
        let shown = events.last().map_or(0, |event| event.id);
        return follow(&api, &filter, newest, shown, view).await;
    }
    let asked = [&args.app, &args.environment].into_iter().flatten().map(Name::as_str).collect::<Vec<_>>();
    if events.is_empty() && !asked.is_empty() {
        return Err(CliError::not_found(format!("no event is kept that fits {}", asked.join(" in ")))
            .remedy("`trimtab get units` lists what the daemon knows"));
    }
    view.show(&events, || events.iter().map(|event| event.id.to_string()).collect(), |view| text(&events, view));
    Ok(Exit::Ok)
}

/// The newest events that a filter lets through, the oldest of them first.
async fn last(api: &Api, filter: &EventFilter, count: usize) -> Result<Vec<EventView>, CliError> {
    let mut found: Vec<EventView> = Vec::new();
    let mut cursor: Option<String> = None;
    while found.len() < count {
        let limit = u32::try_from(count - found.len()).unwrap_or(MOST).min(MOST);
        match api.events(filter, limit, cursor.as_deref()).await {
            Ok(page) => {
                found.extend(page.items);
                cursor = page.next;
            }
            // Those before were removed while these were read.
            Err(ApiError::Problem(problem)) if problem.code == "gone" => break,
            Err(error) => return Err(error.into()),
        }
        if cursor.is_none() {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// Shows events after one as they happen. A daemon that is restarted meanwhile is waited for, and asked for what came after the
/// last one that was seen.
async fn follow(api: &Api, filter: &EventFilter, mut after: u64, shown: u64, view: &View) -> Result<Exit, CliError> {
    let mut absence = Absence::default();
    let mut shown = shown;
    loop {
        match read(api, filter, &mut after, &mut shown, view).await {
            Ok(()) => absence = Absence::default(),
            Err(error) => absence.bear(error).await?,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Shows events until the stream ends or breaks off. `after` is how far was looked, `shown` the last that was shown.
async fn read(api: &Api, filter: &EventFilter, after: &mut u64, shown: &mut u64, view: &View) -> Result<(), CliError> {
    let pieces = api.follow_events(filter, *after).await?;
    tokio::pin!(pieces);
    let mut parser = Parser::default();
    while let Some(Ok(piece)) = pieces.next().await {
        for message in piece.lines().filter_map(|line| parser.line(line)) {
            match message.event.as_str() {
                "event" => {
                    let event: EventView = serde_json::from_str(&message.data)
                        .map_err(|error| CliError::failed(format!("an event can't be read: {error}")))?;
                    if event.id > *shown {
                        *shown = event.id;
                        show_one(&event, view);
                    }
                }
                "gone" => write_err("events were removed before they could be shown; these are the next ones\n"),
                _ => {}
            }
            if let Some(id) = message.id.and_then(|id| id.parse().ok()) {
                *after = id;
            }
        }
    }
    Ok(())
}

/// One event by itself: a line for people, a document for programs.
fn show_one(event: &EventView, view: &View) {
    write_out(&match view.format {
        Format::Table | Format::Wide => line(event, view),
        Format::Json => format!("{}\n", json!(event)),
        Format::Yaml => format!("---\n{}", yaml::text(&json!(event))),
        Format::Name => format!("{}\n", event.id),
    });
}

/// An event in a line.
pub fn line(event: &EventView, view: &View) -> String {
    let at = view.paint(Tone::Dim, &format!("{:.3}", event.at));
    let id = if view.wide() { format!("{:<8} ", event.id) } else { String::new() };
    let told = format!("{id}{:<28} {:<24} {}", subject(event), view.clean(&event.kind), detail(event, view));
    format!("{at} {}\n", told.trim_end())
}

/// The table of events.
pub fn text(events: &[EventView], view: &View) -> String {
    if events.is_empty() {
        return "nothing has happened yet\n".into();
    }
    let mut headers = vec!["HAPPENED", "UNIT", "EVENT", "DETAIL"];
    if view.wide() {
        headers.extend(["AT", "ID"]);
    }
    let mut table = Table::new(&headers);
    for event in events {
        let mut row = vec![
            view.ago(event.at).into(),
            subject(event).into(),
            event.kind.clone().into(),
            detail(event, view).into(),
        ];
        if view.wide() {
            row.extend([event.at.to_string().into(), event.id.to_string().into()]);
        }
        table.row(row);
    }
    table.draw(view)
}

fn subject(event: &EventView) -> String {
    event.unit.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
}

/// What an event tells, as `key=value`; what is long is cut where `wide` is not asked for.
fn detail(event: &EventView, view: &View) -> String {
    let Value::Object(data) = &event.data else { return String::new() };
    let pairs: Vec<String> = data.iter().map(|(key, value)| format!("{key}={}", word(value, view))).collect();
    let text = view.clean(&pairs.join(" ")).replace('\n', " ");
    if view.wide() || text.chars().count() <= LONGEST_DETAIL {
        return text;
    }
    text.chars().take(LONGEST_DETAIL).chain(['…']).collect()
}

fn word(value: &Value, view: &View) -> String {
    match value {
        Value::String(text) if text.contains(char::is_whitespace) => format!("{text:?}"),
        Value::String(text) if !view.wide() && text.chars().count() > LONGEST_WORD => {
            text.chars().take(LONGEST_WORD).chain(['…']).collect()
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
