//! What happened when, and what was proven by it.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use crate::cli::output::View;
use crate::cli::output::style::Tone;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When, in milliseconds from the start of the demo.
    pub at_ms: u64,
    /// What, in words.
    pub what: String,
}

/// Something that had to be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What had to be so.
    pub what: String,
    /// Whether it was.
    pub ok: bool,
    /// What was seen.
    pub seen: String,
}

/// How the story came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Whether every part happened.
    pub ok: bool,
    /// When the first version answered, in milliseconds from the start.
    pub first_answer_ms: Option<u64>,
    /// From the verdict over the bad version until the router sent it nothing more, in milliseconds.
    pub traffic_back_ms: Option<u64>,
    /// How long it all took, in milliseconds.
    pub took_ms: u64,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// What had to be so.
    pub checks: Vec<Check>,
}

/// Gathers events and checks, and tells them as they come where somebody reads along.
#[derive(Debug)]
pub struct Timeline {
    begun: Instant,
    began: Timestamp,
    view: Option<View>,
    /// What is measured on the way.
    pub outcome: Outcome,
}

impl Timeline {
    /// A timeline that begins at a moment, told by both clocks.
    pub fn new(begun: Instant, began: Timestamp, view: Option<View>) -> Self {
        let outcome = Outcome {
            ok: true,
            first_answer_ms: None,
            traffic_back_ms: None,
            took_ms: 0,
            events: Vec::new(),
            checks: Vec::new(),
        };
        Timeline { begun, began, view, outcome }
    }

    /// Something happened now.
    pub fn now(&mut self, what: impl Into<String>) {
        self.push(self.begun.elapsed(), what.into());
    }

    /// Something happened at a moment of the wall clock.
    pub fn at(&mut self, moment: Timestamp, what: impl Into<String>) {
        let millis = moment.as_millisecond() - self.began.as_millisecond();
        self.push(Duration::from_millis(u64::try_from(millis).unwrap_or(0)), what.into());
    }

    fn push(&mut self, at: Duration, what: String) {
        if let Some(view) = &self.view {
            let stamp = view.paint(Tone::Dim, &format!("{:7.3}s", at.as_secs_f64()));
            crate::cli::output::write_out(&format!("{stamp}  {}\n", view.clean(&what)));
        }
        self.outcome.events.push(Event { at_ms: millis(at), what });
    }

    /// Something had to be so; says whether it was.
    pub fn check(&mut self, what: impl Into<String>, ok: bool, seen: impl Into<String>) -> bool {
        let check = Check { what: what.into(), ok, seen: seen.into() };
        if let Some(view) = &self.view {
            crate::cli::output::write_out(&check.text(view));
        }
        self.outcome.ok &= ok;
        self.outcome.checks.push(check);
        ok
    }

    /// Ends it.
    pub fn finish(mut self) -> Outcome {
        self.outcome.took_ms = millis(self.begun.elapsed());
        self.outcome
    }
}

impl Check {
    /// The check for people.
    pub fn text(&self, view: &View) -> String {
        let (tone, mark) = if self.ok { (Tone::Good, "ok") } else { (Tone::Bad, "NOT SO") };
        let mark = view.paint(tone, &format!("{mark:>8}"));
        let seen = if self.seen.is_empty() { String::new() } else { format!(" ({})", self.seen) };
        format!("{mark}  {}{}\n", view.clean(&self.what), view.paint(Tone::Dim, &view.clean(&seen)))
    }
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
