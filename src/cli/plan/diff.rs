//! Differences only, in the unified form that other tools read.

use std::collections::BTreeSet;

use similar::{ChangeTag, TextDiff};

use crate::api::types::UnitPlan;
use crate::cli::output::View;
use crate::cli::output::style::Tone;
use crate::cli::output::unit::whole;
use crate::domain::desired::DesiredUnit;
use crate::domain::secret::show_digest;

/// Lines around a change.
const CONTEXT: usize = 3;

/// The unified difference of all units between what is in effect and what is asked for.
pub fn text(plans: &[UnitPlan], view: &View) -> String {
    plans.iter().map(|plan| unit(plan, view)).collect()
}

fn unit(plan: &UnitPlan, view: &View) -> String {
    let before = plan.before.as_ref().map(|unit| document(unit, None)).unwrap_or_default();
    let after = plan.after.as_ref().map(|unit| document(unit, plan.before.as_ref())).unwrap_or_default();
    let mut text = String::new();
    if let (None, Some(blocked)) = (&plan.plan, &plan.blocked) {
        text.push_str(&format!("# {}: {}\n", plan.unit, view.clean(blocked).replace('\n', "\n# ")));
    }
    for told in &plan.left {
        text.push_str(&format!("# {}: left as it is: {}\n", plan.unit, view.clean(told).replace('\n', "\n# ")));
    }
    if before == after {
        return text;
    }
    let header = |unit: &Option<DesiredUnit>| match unit {
        Some(unit) => format!("{} {}", plan.unit, view.clean(&unit.version)),
        None => "/dev/null".to_owned(),
    };
    let unified = TextDiff::from_lines(before.as_str(), after.as_str())
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&header(&plan.before), &header(&plan.after))
        .to_string();
    text + &paint(&unified, view)
}

/// A desired state as the document that is compared. Secrets stand there by name and the beginning of their digest.
fn document(unit: &DesiredUnit, before: Option<&DesiredUnit>) -> String {
    let mut text = whole(unit, before);
    let known: BTreeSet<&str> = before
        .into_iter()
        .flat_map(DesiredUnit::secrets)
        .filter_map(|(_, s)| Some(s.digest.as_ref()?.as_str()))
        .collect();
    for (name, secret) in unit.secrets() {
        if let Some(digest) = &secret.digest {
            let changed = if before.is_some() && !known.contains(digest.as_str()) { ", changed" } else { "" };
            text = text.replace(digest.as_str(), &format!("secret {name} ({}{changed})", show_digest(Some(digest))));
        }
    }
    text
}

fn paint(unified: &str, view: &View) -> String {
    let mut text = String::new();
    for line in unified.lines() {
        let tone = match line.as_bytes().first() {
            _ if line.starts_with("+++") || line.starts_with("---") => Tone::Strong,
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            Some(b'@') => Tone::Accent,
            _ => Tone::Plain,
        };
        text.push_str(&view.paint(tone, &view.clean(line)));
        text.push('\n');
    }
    text
}

/// The lines that differ between two texts, with what is around them.
pub fn changed_lines(before: &str, after: &str, indent: &str, view: &View) -> String {
    let diff = TextDiff::from_lines(before, after);
    let mut text = String::new();
    for (index, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if index > 0 {
            text.push_str(&format!("{indent}...\n"));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (sign, tone) = match change.tag() {
                ChangeTag::Delete => ("-", Tone::Bad),
                ChangeTag::Insert => ("+", Tone::Good),
                ChangeTag::Equal => (" ", Tone::Plain),
            };
            let line = view.clean(change.value().trim_end_matches(['\r', '\n']));
            text.push_str(&format!("{indent}{}\n", view.paint(tone, &format!("{sign} {line}"))));
        }
    }
    text
}
