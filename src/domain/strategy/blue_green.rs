//! Blue-green: a whole new group beside the old one, looked at first, then one switch.

use std::slice;

use super::{BlueGreen, Promote};
use crate::domain::action::Which;
use crate::domain::plan::Condition;
use crate::domain::planner::{Draft, WHOLE};

/// Preview, checks, the switch with its checks, the old group's grace, the watch.
pub(crate) fn phases(draft: &mut Draft<'_>, settings: &BlueGreen) {
    let replicas = draft.desired.replicas;
    let shown = settings.preview_replicas.unwrap_or(replicas).clamp(1, replicas);
    let old = draft.base.as_ref().map_or(0, |base| base.replicas);
    let mut preview = draft.phase(format!("preview with {shown} new"), old, shown);
    preview.preview = draft.traffic(Which::Preview, shown);
    if preview.preview.is_some() && !draft.capabilities.preview {
        preview.preview = None;
        draft.approximations.push("this target has no preview route: the new version is checked without one".into());
    }
    preview.advance = settings.pre_promotion.iter().cloned().map(Condition::Analysis).collect();
    match settings.promote {
        Promote::Auto => {}
        Promote::After(span) => preview.advance.push(Condition::Pause(Some(span))),
        Promote::Manual => preview.advance.push(Condition::Pause(None)),
    }
    let testers = draft.has_testers();
    if testers {
        draft.share(&mut preview, (WHOLE, old), (0, shown));
    }
    let shown_preview = preview.preview.clone();
    draft.push(preview);
    if shown < replicas {
        let mut full = draft.phase(format!("{replicas} new beside {old} old"), old, replicas);
        full.preview = shown_preview;
        if testers {
            draft.share(&mut full, (WHOLE, old), (0, replicas));
        }
        draft.push(full);
    }
    let first = draft.phases_mut().len();
    draft.tail(settings.scale_down_delay, &settings.post_promotion, true);
    for phase in slice::from_mut(&mut draft.phases_mut()[first]) {
        phase.name = "the switch".into();
    }
}
