//! Plans for people.

use super::describe;
use super::diff::changed_lines;
use super::predicted;
use crate::api::types::UnitPlan;
use crate::cli::output::View;
use crate::cli::output::style::Tone;
use crate::cli::units;
use crate::domain::difference::Difference;
use crate::domain::plan::Plan;

/// All plans, and a line of totals.
pub fn text(plans: &[UnitPlan], view: &View) -> String {
    let mut text = String::new();
    for plan in plans.iter().filter(|plan| super::differs(plan) || plan.blocked.is_some() || !plan.held.is_empty()) {
        text.push_str(&unit(plan, view));
        text.push('\n');
    }
    for plan in plans {
        let left = plan.left.iter().map(|told| ("left as it is:", told));
        for (label, told) in left.chain(plan.leaving.iter().map(|told| ("not gone yet:", told))) {
            text.push_str(&format!("{}  {} {}\n", plan.unit, view.paint(Tone::Warn, label), view.clean(told)));
        }
    }
    text.push_str(&totals(plans));
    text
}

fn totals(plans: &[UnitPlan]) -> String {
    let blocked = plans.iter().filter(|plan| plan.plan.is_none() && plan.blocked.is_some()).count();
    let changing = plans.iter().filter(|plan| super::differs(plan)).count();
    let held = plans.iter().filter(|plan| !plan.held.is_empty()).count();
    let mut parts = vec![match (changing, plans.len()) {
        (_, 0) => "nothing is asked for, and nothing is there".to_owned(),
        (0, 1) => "the unit is as it should be".to_owned(),
        (0, all) if blocked == 0 => format!("all {all} units are as they should be"),
        (changing, all) => format!("{changing} of {all} {} would change", if all == 1 { "unit" } else { "units" }),
    }];
    if held > 0 {
        parts.push(format!("{held} held"));
    }
    if blocked > 0 {
        parts.push(format!("{blocked} can't be planned"));
        if changing == 0 && plans.len() == 1 {
            parts.remove(0);
        }
    }
    format!("{}\n", parts.join(", "))
}

fn unit(planned: &UnitPlan, view: &View) -> String {
    let name = view.paint(Tone::Strong, &planned.unit.to_string());
    let mut text = String::new();
    match &planned.plan {
        Some(plan) => {
            let kind = view.paint(Tone::Accent, plan.kind.name());
            let digest = planned.digest.as_ref().map_or("", |digest| digest.short());
            let digest = view.paint(Tone::Dim, &format!("plan {digest}"));
            text.push_str(&format!("{name}  {kind} {}  {digest}\n", versions(planned, view)));
            text.push_str(&differences(&plan.differences, view));
            text.push_str(&predicted::text(&plan.predicted, view));
            text.push_str(&phases(plan, view));
            let approximated = plan.approximations.iter().map(|one| ("  approximated:", one));
            for (label, told) in approximated.chain(plan.left_out.iter().map(|one| ("  left out:", one))) {
                text.push_str(&format!("{} {}\n", view.paint(Tone::Warn, label), view.clean(told)));
            }
        }
        None => text.push_str(&format!("{name}  {}\n", view.paint(Tone::Bad, "can't be planned"))),
    }
    if let Some(blocked) = &planned.blocked {
        for line in blocked.lines() {
            text.push_str(&format!("  {}\n", view.clean(line)));
        }
    }
    if !planned.held.is_empty() {
        text.push_str(&format!("  {}\n", view.paint(Tone::Warn, "would not be done now:")));
        text.push_str(&units::held(&planned.held, "    ", view));
    }
    text
}

fn versions(planned: &UnitPlan, view: &View) -> String {
    let before = planned.before.as_ref().map(|unit| unit.version.as_str());
    let after = planned.after.as_ref().map(|unit| unit.version.as_str());
    view.clean(&match (before, after) {
        (Some(before), Some(after)) if before != after => format!("{before} -> {after}"),
        (_, Some(after)) => after.to_owned(),
        (Some(before), None) => format!("{before} -> nothing"),
        (None, None) => String::new(),
    })
}

/// The differences, each with what comes of it; a text of several lines as a difference of lines.
fn differences(differences: &[Difference], view: &View) -> String {
    let widest = differences.iter().map(|difference| difference.path.chars().count()).max().unwrap_or(0).min(48);
    let mut text = String::new();
    for difference in differences {
        let path = view.clean(&difference.path);
        let effect = view.paint(Tone::Dim, &view.clean(&difference.effect));
        let sides = [&difference.before, &difference.after];
        if sides.iter().copied().flatten().any(|side| side.contains('\n')) {
            text.push_str(&format!("  {path}  {effect}\n"));
            let [before, after] = sides.map(|side| side.as_deref().unwrap_or_default());
            text.push_str(&changed_lines(before, after, "    ", view));
            continue;
        }
        let change = match (&difference.before, &difference.after) {
            (Some(before), Some(after)) => format!(
                "{} -> {}",
                view.paint(Tone::Bad, &view.clean(before)),
                view.paint(Tone::Good, &view.clean(after))
            ),
            (None, Some(after)) => view.paint(Tone::Good, &format!("+ {}", view.clean(after))),
            (Some(before), None) => view.paint(Tone::Bad, &format!("- {}", view.clean(before))),
            (None, None) => String::new(),
        };
        text.push_str(&format!("  {path:widest$}  {change}  {effect}\n"));
    }
    text
}

fn phases(plan: &Plan, view: &View) -> String {
    let mut text = String::new();
    for (number, phase) in plan.phases.iter().enumerate() {
        let name = view.paint(Tone::Strong, &view.clean(&phase.name));
        text.push_str(&format!("  {:>2}. {name}\n", number + 1));
        for line in describe::phase(plan, phase) {
            text.push_str(&format!("      {}\n", view.clean(&line)));
        }
    }
    // Phases that fail alike are told together.
    let mut told: Vec<(String, Vec<String>)> = Vec::new();
    for (number, phase) in plan.phases.iter().enumerate() {
        let failure = describe::failure(plan, phase);
        match told.iter_mut().find(|(other, _)| *other == failure) {
            Some((_, numbers)) => numbers.push((number + 1).to_string()),
            None => told.push((failure, vec![(number + 1).to_string()])),
        }
    }
    for (failure, numbers) in told {
        let phases =
            if numbers.len() == plan.phases.len() { String::new() } else { format!(" in {}", numbers.join(", ")) };
        text.push_str(&format!("  on failure{phases}: {}\n", view.clean(&failure)));
    }
    text
}
