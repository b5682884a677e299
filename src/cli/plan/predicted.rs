//! What a platform says would come of a plan, for people.

use std::fmt::Write as _;

use crate::cli::output::View;
use crate::cli::output::style::Tone;
use crate::domain::difference::Difference;
use crate::domain::prediction::{ASKED, Outcome, Predicted, Prediction};

/// What a platform says of each object; nothing where it was not asked, or makes just what it is told.
pub fn text(prediction: &Prediction, view: &View) -> String {
    let mut text = String::new();
    if let Some(reason) = &prediction.unpredictable {
        let label = view.paint(Tone::Warn, "  can't be predicted:");
        let _ = writeln!(text, "{label} {}", view.clean(reason));
    }
    let made = prediction.objects.iter().filter(|one| one.outcome == Outcome::New).count();
    if made > 0 {
        let _ = writeln!(text, "  {} would be made", view.paint(Tone::Good, &count(made)));
    }
    for one in prediction.objects.iter().filter(|one| one.outcome != Outcome::New) {
        object(one, view, &mut text);
    }
    text
}

fn count(objects: usize) -> String {
    format!("{objects} {}", if objects == 1 { "object" } else { "objects" })
}

fn object(one: &Predicted, view: &View, text: &mut String) {
    let name = view.clean(&one.object);
    let (tone, word, reason) = match &one.outcome {
        Outcome::New => (Tone::Good, "would be made", None),
        Outcome::Changed { .. } => (Tone::Accent, "would change", None),
        Outcome::Recreated { reason } => (Tone::Warn, "would be deleted and made again", Some(reason)),
        Outcome::Removed => (Tone::Warn, "would be removed", None),
        Outcome::Refused { reason } => (Tone::Bad, "would be refused", Some(reason)),
        Outcome::Unpredictable { reason } => (Tone::Warn, "can't be predicted", Some(reason)),
    };
    let reason = reason.map(|reason| format!(": {}", view.clean(reason))).unwrap_or_default();
    let _ = writeln!(text, "  {name} {}{reason}", view.paint(tone, word));
    if let Outcome::Changed { fields } = &one.outcome {
        // What is asked for stands among the differences.
        for field in fields.iter().filter(|field| field.effect != ASKED) {
            let _ = writeln!(text, "    {}", line(field, view));
        }
    }
}

fn line(field: &Difference, view: &View) -> String {
    let side = |tone, side: &Option<String>| {
        let one_line = |text: &String| if text.contains('\n') { "several lines".to_owned() } else { view.clean(text) };
        side.as_ref().map(|text| view.paint(tone, &one_line(text)))
    };
    let change = match (side(Tone::Bad, &field.before), side(Tone::Good, &field.after)) {
        (Some(before), Some(after)) => format!("{before} -> {after}"),
        (None, Some(after)) => format!("+ {after}"),
        (Some(before), None) => format!("- {before}"),
        (None, None) => String::new(),
    };
    format!("{}  {change}  {}", view.clean(&field.path), view.paint(Tone::Dim, &view.clean(&field.effect)))
}
