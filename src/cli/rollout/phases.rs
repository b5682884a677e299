//! A rollout as text: its phases, its analyses and what it waits for.

use crate::api::types::{AnalysisView, PhaseView, RolloutSummary, RolloutView};
use crate::cli::output::View;
use crate::cli::output::style::Tone;
use crate::cli::output::table::{Cell, Table};
use crate::cli::output::time;
use crate::cli::units::short_revision;

/// A rollout in full.
pub fn text(rollout: &RolloutView, view: &View) -> String {
    let mut text = format!("{}\n", headline(&rollout.summary, view));
    if let Some(reason) = &rollout.summary.reason {
        text.push_str(&format!("  {}\n", view.clean(reason)));
    }
    let mut table = Table::new(&["", "PHASE", "ENTERED", "TOOK"]);
    for phase in &rollout.phases {
        let (mark, tone) = mark(phase);
        let took = match (phase.entered, phase.left) {
            (Some(entered), Some(left)) => time::between(entered, left),
            (Some(entered), None) => time::between(entered, view.now),
            _ => "-".into(),
        };
        let entered = phase.entered.map_or("-".into(), |at| view.ago(at));
        table.row(vec![Cell::toned(tone, mark), phase.name.clone().into(), entered.into(), took.into()]);
    }
    if !rollout.phases.is_empty() {
        text.push_str(&table.draw(view));
    }
    for analysis in &rollout.analyses {
        text.push_str(&format!("{}\n", analysis_line(analysis, view)));
    }
    if let Some(waits) = waits(rollout, view).filter(|_| !rollout.summary.is_over()) {
        text.push_str(&format!("{} {waits}\n", view.paint(Tone::Warn, "waits:")));
    }
    text
}

/// `rollout 1.4.1 -> 1.4.2, running, began 3m ago, commit 3f2a1b9c04`.
pub fn headline(summary: &RolloutSummary, view: &View) -> String {
    let kind = view.paint(Tone::Strong, &summary.kind);
    let status = view.paint(status_tone(&summary.status), status_text(&summary.status));
    let mut text = format!("{kind} {}, {status}, began {}", versions(summary, view), view.ago(summary.started));
    if let Some(ended) = summary.ended {
        text.push_str(&format!(", took {}", time::between(summary.started, ended)));
    }
    if let Some(back) = summary.traffic_back {
        text.push_str(&format!(", traffic back {}", view.ago(back)));
    }
    if let Some(revision) = &summary.revision {
        text.push_str(&format!(", commit {}", short_revision(revision.as_str())));
    }
    text
}

/// `1.4.1 -> 1.4.2`, with what is missing left out.
pub fn versions(summary: &RolloutSummary, view: &View) -> String {
    let text = match (&summary.from, &summary.to) {
        (Some(from), Some(to)) if from != to => format!("{from} -> {to}"),
        (_, Some(to)) => to.clone(),
        (Some(from), None) => format!("{from} -> nothing"),
        (None, None) => "nothing".into(),
    };
    view.clean(&text)
}

/// An analysis in a line.
pub fn analysis_line(analysis: &AnalysisView, view: &View) -> String {
    let tone = match analysis.outcome.as_str() {
        "success" => Tone::Good,
        "failure" => Tone::Bad,
        _ => Tone::Warn,
    };
    let outcome = view.paint(tone, &analysis.outcome);
    format!("analysis {}: {outcome}  {}", analysis.name, view.clean(&analysis.detail)).trim_end().to_owned()
}

/// What the present phase waits for, and until when.
pub fn waits(rollout: &RolloutView, view: &View) -> Option<String> {
    let waits = rollout.waits.as_ref().map(|waits| view.clean(waits));
    let until = rollout.until.filter(|until| until.as_millisecond() > view.now.as_millisecond() + 1_000);
    let until = until.map(|until| format!("goes on {}", view.ago(until)));
    match (waits, until) {
        (Some(waits), Some(until)) => Some(format!("{waits} ({until})")),
        (waits, until) => waits.or(until),
    }
}

/// A rollout's status in words.
pub fn status_text(status: &str) -> &str {
    match status {
        "rolledBack" => "rolled back",
        other => other,
    }
}

/// What a rollout's status means.
pub fn status_tone(status: &str) -> Tone {
    match status {
        "verified" => Tone::Good,
        "rolledBack" | "aborted" | "stopped" | "stuck" => Tone::Bad,
        "superseded" => Tone::Dim,
        _ => Tone::Warn,
    }
}

fn mark(phase: &PhaseView) -> (&'static str, Tone) {
    match phase.state.as_str() {
        "done" => ("done", Tone::Good),
        "current" => ("now", Tone::Warn),
        _ => ("-", Tone::Dim),
    }
}
