//! How units are told: the words and tones for their health, versions and groups, shared by the verbs that show them.

use super::output::View;
use super::output::style::Tone;
use super::output::table::{Cell, Table};
use crate::api::types::{GroupView, HeldView, UnitHealth, UnitStatus, VersionRef};

/// A health in words.
pub fn health_text(health: UnitHealth) -> &'static str {
    match health {
        UnitHealth::InSync => "in sync",
        UnitHealth::Progressing => "progressing",
        UnitHealth::Paused => "paused",
        UnitHealth::Held => "held",
        UnitHealth::Degraded => "degraded",
        UnitHealth::RollingBack => "rolling back",
        UnitHealth::Stuck => "stuck",
        UnitHealth::Removing => "removing",
        UnitHealth::Unknown => "unknown",
    }
}

/// What a health means.
pub fn health_tone(health: UnitHealth) -> Tone {
    match health {
        UnitHealth::InSync => Tone::Good,
        UnitHealth::Progressing | UnitHealth::Paused | UnitHealth::Held | UnitHealth::Removing => Tone::Warn,
        UnitHealth::Degraded | UnitHealth::RollingBack | UnitHealth::Stuck | UnitHealth::Unknown => Tone::Bad,
    }
}

/// The version in effect, and the one that Git asks for where it is another: `1.4.1 (1.4.2 asked for)`.
pub fn version_text(unit: &UnitStatus) -> String {
    let version = |at: &Option<VersionRef>| at.as_ref().map(|at| at.version.clone());
    match (version(&unit.effective), version(&unit.candidate)) {
        (Some(effective), Some(candidate)) if effective != candidate => {
            format!("{effective} ({candidate} asked for)")
        }
        (Some(effective), None) => format!("{effective} (not in Git)"),
        (Some(effective), _) => effective,
        (None, Some(candidate)) => format!("none ({candidate} asked for)"),
        (None, None) => "none".into(),
    }
}

/// How many instances are ready of how many that are asked for.
pub fn ready_text(unit: &UnitStatus) -> String {
    let ready: u32 = unit.groups.iter().filter(|group| !group.retiring).map(|group| group.ready).sum();
    format!("{ready}/{}", unit.replicas)
}

/// The commit's first digits, as Git prints them.
pub fn short_revision(revision: &str) -> &str {
    revision.get(..10).unwrap_or(revision)
}

/// A desired state in a line: version, commit, digest.
pub fn version_line(at: &VersionRef) -> String {
    let commit = at.revision.as_ref().map_or("", |revision| short_revision(revision.as_str()));
    format!("{:<12} {commit:<10} {}", at.version, at.rendered.short()).trim_end().to_owned()
}

/// The table of all groups and their instances.
pub fn groups(groups: &[GroupView], view: &View) -> String {
    let mut table = Table::new(&["GROUP", "VERSION", "READY", "TRAFFIC", "INSTANCE", "ADDRESS", "RESTARTS", "NOTE"]);
    for group in groups {
        let share = group.share.map_or("-".into(), |share| format!("{}%", (share * 10.0).round() / 10.0));
        let mut head =
            vec![group.group.as_str().into(), group.version.clone().into(), ready_cell(group), Cell::from(share)];
        if group.instances.is_empty() {
            head.extend(["-".into(), "-".into(), "-".into(), Cell::from(note(group, None))]);
            table.row(head);
            continue;
        }
        for instance in &group.instances {
            let mut row = std::mem::replace(&mut head, vec!["".into(), "".into(), "".into(), "".into()]);
            let tone = if instance.ready { Tone::Good } else { Tone::Warn };
            row.push(Cell::toned(tone, instance.id.clone()));
            row.push(instance.address.as_deref().unwrap_or("-").into());
            row.push(instance.restarts.to_string().into());
            row.push(note(group, instance.message.as_deref()).into());
            table.row(row);
        }
    }
    let mut text = table.draw(view);
    for one in groups.iter().flat_map(|group| &group.leaving) {
        text.push_str(&format!(
            "{} {}: {}\n",
            view.paint(Tone::Warn, "not gone yet:"),
            view.clean(&one.id),
            view.clean(&one.message)
        ));
        if let Some(remedy) = &one.remedy {
            text.push_str(&format!("  {} {}\n", view.paint(Tone::Accent, "try:"), view.clean(remedy)));
        }
    }
    text
}

fn ready_cell(group: &GroupView) -> Cell {
    let tone = if group.ready >= group.replicas { Tone::Good } else { Tone::Warn };
    Cell::toned(tone, format!("{}/{}", group.ready, group.replicas))
}

fn note(group: &GroupView, message: Option<&str>) -> String {
    let message = message.map(first_line).unwrap_or_default();
    match (group.retiring, message.is_empty()) {
        (true, true) => "being removed".into(),
        (true, false) => format!("being removed; {message}"),
        (false, _) => message.to_owned(),
    }
}

/// The first line of a text, for tables.
pub fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Why something is held, with what to do, root cause first.
pub fn held(reasons: &[HeldView], indent: &str, view: &View) -> String {
    let mut text = String::new();
    for reason in reasons {
        let kind = view.paint(Tone::Warn, &view.clean(&reason.reason));
        text.push_str(&format!("{indent}{kind}: {}\n", view.clean(&reason.message)));
        if !reason.remedy.is_empty() {
            text.push_str(&format!("{indent}  {} {}\n", view.paint(Tone::Accent, "try:"), view.clean(&reason.remedy)));
        }
    }
    text
}
